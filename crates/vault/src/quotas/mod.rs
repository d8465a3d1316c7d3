//! Rate limits: how many requests a client may make, before anybody asks who it is.
//!
//! Under `sys/quotas/`: `config` holds a [`Config`], `rate-limit/<name>` a [`Rule`] each. All rules
//! are kept in memory, indexed by what they hold for, so that a request looks into a few maps
//! whatever their number. Of the rules that hold for a request only the most specific counts: a
//! login's role, then the path, then the longest path with a `*`, then the mount, then all.
//!
//! A client is an address. What clients have used is not stored: a restart forgives.

mod paths;
mod rule;
mod table;
mod window;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use holdfast_barrier::{EntryError, View};
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

pub(crate) use self::paths::handle;
use self::rule::Rule;
use self::table::Table;
use self::window::{Left, Taken, Windows};

/// The most rules.
const MOST_RULES: usize = 10_000;
const CONFIG: &str = "config";

/// What holds for all rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    /// Paths that are never limited; a trailing `*` stands for any rest.
    exempt: Vec<String>,
    audit: bool,
    headers: bool,
}

impl Default for Config {
    /// What must answer also where clients storm.
    fn default() -> Self {
        let exempt = [
            "sys/generate-recovery-token/attempt",
            "sys/generate-recovery-token/update",
            "sys/generate-root/attempt",
            "sys/generate-root/update",
            "sys/health",
            "sys/seal-status",
            "sys/unseal",
        ];
        Self { exempt: exempt.map(str::to_owned).to_vec(), audit: false, headers: false }
    }
}

/// A rule and what its clients have used.
pub(crate) struct Limit {
    name: String,
    rule: Rule,
    windows: Windows,
}

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It goes on; its answer carries these header fields.
    Allowed(Vec<(&'static str, String)>),
    /// 429 with these header fields.
    Refused {
        headers: Vec<(&'static str, String)>,
        /// Whether the audit log is to know of it.
        is_audited: bool,
    },
}

/// All rate limits.
pub(crate) struct Quotas {
    store: View,
    /// Held over every change.
    change: Mutex<()>,
    config: ArcSwap<Config>,
    table: ArcSwap<Table>,
}

impl Quotas {
    /// Those in the store under `root`.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn load(root: &View) -> Result<Self, EntryError> {
        let store = root.sub("sys/quotas/");
        let mut table = Table::default();
        for name in store.list("rate-limit/").await? {
            if let Some(rule) = store.get_json(&rule_key(&name)).await? {
                table.insert(Limit::new(name, rule));
            }
        }
        Ok(Self {
            config: ArcSwap::from_pointee(store.get_json(CONFIG).await?.unwrap_or_default()),
            table: ArcSwap::from_pointee(table),
            store,
            change: Mutex::new(()),
        })
    }

    /// Whether a rule distinguishes the roles of logins at `mount`: then whoever asks finds out
    /// which one it is.
    pub(crate) fn knows_roles_of(&self, mount: &str) -> bool {
        let table = self.table.load();
        !table.is_empty() && table.knows_roles_of(mount)
    }

    /// Counts a request of `client` for `path`, which is below `mount`; `role` is that of a login.
    pub(crate) fn take(
        &self,
        path: &str,
        mount: &str,
        role: Option<&str>,
        client: Option<IpAddr>,
        now: Timestamp,
    ) -> Verdict {
        let table = self.table.load();
        if table.is_empty() {
            return Verdict::Allowed(Vec::new());
        }
        let Some(limit) = table.governing(path, mount, role) else {
            return Verdict::Allowed(Vec::new());
        };
        let config = self.config.load();
        if is_exempt(&config.exempt, path) {
            return Verdict::Allowed(Vec::new());
        }
        match limit.windows.take(client, &limit.rule, now) {
            Taken::Granted(left) => {
                Verdict::Allowed(if config.headers { limit.headers(left) } else { Vec::new() })
            }
            refused => {
                let mut headers = Vec::new();
                if config.headers {
                    let (wait, left) = match refused {
                        Taken::Refused { wait, left } => (wait, left),
                        Taken::Granted(left) => (0, Some(left)),
                    };
                    headers.push(("retry-after", wait.max(1).to_string()));
                    headers.extend(left.into_iter().flat_map(|left| limit.headers(left)));
                }
                Verdict::Refused { headers, is_audited: config.audit }
            }
        }
    }

    /// Forgets clients that have not asked for a while.
    pub(crate) fn tidy(&self, now: Timestamp) {
        for limit in self.table.load().all() {
            limit.windows.tidy(&limit.rule, now);
        }
    }

    /// Lets the rules of a mount follow it to another place.
    pub(crate) async fn follow(&self, from: &str, to: &str) -> Result<(), EntryError> {
        let _change = self.change.lock().await;
        let mut table = Table::clone(&self.table.load());
        let moved: Vec<_> = table.all().filter(|limit| limit.rule.mount == from).cloned().collect();
        for limit in moved {
            let mut rule = limit.rule.clone();
            rule.path = format!("{to}{}", rule.path.strip_prefix(from).unwrap_or_default());
            to.clone_into(&mut rule.mount);
            self.store.put_json(&rule_key(&limit.name), &rule).await?;
            table.remove(&limit.name);
            table.insert(Limit::new(limit.name.clone(), rule));
        }
        self.table.store(Arc::new(table));
        Ok(())
    }
}

impl Limit {
    fn new(name: String, rule: Rule) -> Arc<Self> {
        Arc::new(Self { name, rule, windows: Windows::default() })
    }

    fn headers(&self, left: Left) -> Vec<(&'static str, String)> {
        vec![
            ("x-ratelimit-limit", self.rule.rate.ceil().to_string()),
            ("x-ratelimit-remaining", left.requests.to_string()),
            ("x-ratelimit-reset", left.seconds.to_string()),
        ]
    }
}

fn rule_key(name: &str) -> String {
    format!("rate-limit/{name}")
}

fn is_exempt(exempt: &[String], path: &str) -> bool {
    exempt.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    })
}

#[cfg(test)]
mod tests;

//! Policies as stored, parsed once and kept in memory.
//!
//! `sys/policy/<name>` holds a [`PolicyRecord`]. Names are in lower case.

mod default;
mod paths;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use holdfast_barrier::View;
use holdfast_logical::Error;
use holdfast_policy::Policy;
use holdfast_types::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::error;

pub(crate) use self::paths::{PolicyStyle, detailed, handle};
use crate::core::answer::Chain;

const ROOT: &str = "root";
const DEFAULT: &str = "default";
const RESPONSE_WRAPPING: &str = "response-wrapping";

/// A policy as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PolicyRecord {
    text: String,
    /// Grows with each change, from 1.
    version: u64,
    modified: Timestamp,
    /// Changes must name the version that they replace.
    #[serde(default)]
    cas_required: bool,
    /// When it ceases to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiration: Option<Timestamp>,
}

struct Kept {
    record: PolicyRecord,
    /// None: it does not parse.
    policy: Option<Arc<Policy>>,
}

/// A policy that holds now.
pub(crate) struct Found {
    pub policy: Arc<Policy>,
    /// When it ceases to. None: never.
    pub ends_at: Option<Timestamp>,
    /// Which version it is. None for `root`, which has none.
    pub version: Option<PolicyVersion>,
}

/// One version of a policy.
pub(crate) struct PolicyVersion {
    pub name: String,
    pub version: u64,
    kept: Arc<Kept>,
}

impl PolicyVersion {
    /// The SHA-256 of its text, in hex.
    pub(crate) fn digest(&self) -> String {
        let text = self.kept.record.text.as_bytes();
        hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text))
    }
}

/// All policies.
pub(crate) struct Policies {
    store: View,
    clock: Arc<dyn Clock>,
    change: Mutex<()>,
    kept: ArcSwap<BTreeMap<String, Arc<Kept>>>,
    state: AtomicU64,
    root: Arc<Policy>,
}

impl Policies {
    /// The policies in `root`; the first call writes those that are always there.
    ///
    /// # Errors
    /// The store's. A stored policy that does not parse is named in the log, and whoever has it is
    /// denied everything: leaving it out might drop a denial.
    pub(crate) async fn load(root: &View, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let policies = Self {
            store: root.sub("sys/policy/"),
            clock,
            change: Mutex::new(()),
            kept: ArcSwap::default(),
            state: AtomicU64::new(0),
            root: Arc::new(Policy::root()),
        };
        let mut kept = BTreeMap::new();
        for name in policies.store.scan("").await? {
            let Some(record) = policies.store.get_json::<PolicyRecord>(&name).await? else {
                continue;
            };
            let policy = match Policy::parse(&name, &record.text) {
                Ok(policy) => Some(Arc::new(policy)),
                Err(failed) => {
                    error!(policy = name, error = %Chain(&failed), "a stored policy is unreadable");
                    None
                }
            };
            kept.insert(name, Arc::new(Kept { record, policy }));
        }
        policies.kept.store(Arc::new(kept));
        for (name, text) in
            [(DEFAULT, default::DEFAULT), (RESPONSE_WRAPPING, default::RESPONSE_WRAPPING)]
        {
            if !policies.kept.load().contains_key(name) {
                policies.put(name, text, None, false, None).await?;
            }
        }
        Ok(policies)
    }

    /// A number that changes with every change of a policy.
    pub(crate) fn state(&self) -> u64 {
        self.state.load(Ordering::SeqCst)
    }

    /// The policy with that name, if it is there at `now`, and when it ceases to be.
    ///
    /// # Errors
    /// 403: it is there, but does not parse.
    pub(crate) fn get(&self, name: &str, now: Timestamp) -> Result<Option<Found>, Error> {
        if name == ROOT {
            return Ok(Some(Found { policy: self.root.clone(), ends_at: None, version: None }));
        }
        let kept = self.kept.load();
        let Some(found) = kept.get(name) else { return Ok(None) };
        let ends_at = found.record.expiration;
        if ends_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        let policy = found.policy.clone().ok_or(Error::Denied)?;
        let version = PolicyVersion {
            name: name.to_owned(),
            version: found.record.version,
            kept: found.clone(),
        };
        Ok(Some(Found { policy, ends_at, version: Some(version) }))
    }

    /// Whether there is a policy with that name.
    pub(crate) fn exists(&self, name: &str) -> bool {
        name == ROOT || self.kept.load().contains_key(name)
    }

    /// All names, sorted, `root` last; wrapping's own is left out.
    fn names(&self) -> Vec<String> {
        let kept = self.kept.load();
        let names = kept.keys().filter(|name| *name != RESPONSE_WRAPPING);
        names.cloned().chain([ROOT.to_owned()]).collect()
    }

    /// Names that begin with `folder`, which ends in `/`; all, with `root`, where it is empty.
    fn names_in(&self, folder: &str) -> Vec<String> {
        match folder {
            "" => self.names(),
            _ => self.names().into_iter().filter(|name| name.starts_with(folder)).collect(),
        }
    }

    /// Writes a policy.
    ///
    /// # Errors
    /// 400 where it does not parse or `cas` is not its version.
    async fn put(
        &self,
        name: &str,
        text: &str,
        cas: Option<i64>,
        cas_required: bool,
        expiration: Option<Timestamp>,
    ) -> Result<(), Error> {
        let policy = Policy::parse(name, text)
            .map_err(|failed| Error::invalid(Chain(&failed).to_string()))?;
        let _change = self.change.lock().await;
        let old = self.kept.load().get(name).cloned();
        let version = old.as_ref().map_or(0, |old| old.record.version);
        match cas {
            // -1 means: only where there is none yet.
            Some(cas)
                if cas != i64::try_from(version).unwrap_or(0) && !(cas == -1 && version == 0) =>
            {
                return Err(Error::invalid(format!(
                    "check-and-set parameter {cas} did not match the current version {version}"
                )));
            }
            None if old.is_some_and(|old| old.record.cas_required) => {
                return Err(Error::invalid("check-and-set parameter required for this call"));
            }
            _ => {}
        }
        let record = PolicyRecord {
            text: text.to_owned(),
            version: version + 1,
            modified: self.clock.now(),
            cas_required,
            expiration,
        };
        self.store.put_json(name, &record).await?;
        let mut kept = self.kept.load().as_ref().clone();
        kept.insert(name.to_owned(), Arc::new(Kept { record, policy: Some(Arc::new(policy)) }));
        self.publish(kept);
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let _change = self.change.lock().await;
        self.store.delete(name).await?;
        let mut kept = self.kept.load().as_ref().clone();
        kept.remove(name);
        self.publish(kept);
        Ok(())
    }

    fn publish(&self, kept: BTreeMap<String, Arc<Kept>>) {
        self.kept.store(Arc::new(kept));
        // After the policies: an ACL compiled in between carries the older number, and is redone.
        self.state.fetch_add(1, Ordering::SeqCst);
    }
}

//! Identity tokens: who a token acts for, told to others as a signed JWT, as `OpenID`
//! Connect has it.
//!
//! Under `sys/identity/oidc/`: `config`, `key/<name>`, `role/<name>`, and of the provider
//! `provider/<name>`, `scope/<name>`, `assignment/<name>`, `client/<name>`.
//!
//! A key has a half that signs now and one that will next: whoever fetches the key set knows a key
//! before the first token comes that it signed. Its public half stays in the set for the key's
//! `verification_ttl` after it signed last. The set holds the keys that roles refer to.

mod config;
mod key;
mod paths;
mod provider;
mod published;
mod role;
mod template;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use holdfast_barrier::{EntryError, View};
use holdfast_keys::SigningKey;
use holdfast_types::{Clock, Random};
use tokio::sync::Mutex;

pub(super) use self::paths::handle;
use self::published::Published;

/// Private keys that are kept ready to sign.
const KEPT: u64 = 64;

/// Keys, roles and what is told of them.
pub(crate) struct Oidc {
    store: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Where clients reach this server, such as `https://vault.example:8200`. Empty: not known.
    api_addr: String,
    /// Held over each change, and over what is read to be published.
    change: Mutex<()>,
    published: ArcSwapOption<Published>,
    /// By their ids.
    ready: moka::sync::Cache<String, Arc<SigningKey>>,
}

impl Oidc {
    pub(super) fn new(
        identity: &View,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        api_addr: &str,
    ) -> Self {
        Self {
            store: identity.sub("oidc/"),
            clock,
            random,
            api_addr: api_addr.trim_end_matches('/').to_owned(),
            change: Mutex::new(()),
            published: ArcSwapOption::empty(),
            ready: moka::sync::Cache::new(KEPT),
        }
    }

    /// Where clients reach this server; empty where that is not known.
    pub(crate) fn api_addr(&self) -> &str {
        &self.api_addr
    }

    /// Whether the `kind` of that name is there.
    pub(super) async fn exists(&self, kind: &str, name: &str) -> Result<bool, EntryError> {
        let stored = self.store.get(&format!("{kind}/{name}")).await?;
        let always = [("key", key::DEFAULT), ("provider", key::DEFAULT)];
        Ok(stored.is_some() || always.contains(&(kind, name)))
    }
}

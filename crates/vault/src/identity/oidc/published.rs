//! The key set, as everybody may fetch it: made once per change.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_keys::Jwks;
use holdfast_logical::Error;
use holdfast_types::Timestamp;
use serde_json::{Value, json};

use super::Oidc;

/// The public halves of all keys that roles refer to.
pub(super) struct Published {
    /// `{"keys": [...]}`
    pub(super) document: Value,
    /// The same, to verify with.
    pub(super) keys: Jwks,
    /// When one of them ceases to verify.
    stale_at: Option<Timestamp>,
}

impl Oidc {
    /// The key set as it is now.
    pub(super) async fn published(&self) -> Result<Arc<Published>, Error> {
        let now = self.clock.now();
        let is_fresh = |set: &Arc<Published>| set.stale_at.is_none_or(|at| at > now);
        if let Some(set) = self.published.load_full().filter(is_fresh) {
            return Ok(set);
        }
        // No change comes between the reading and the keeping.
        let _steady = self.change.lock().await;
        if let Some(set) = self.published.load_full().filter(is_fresh) {
            return Ok(set);
        }
        let mut names = BTreeSet::new();
        for role in self.store.list("role/").await? {
            names.extend(self.role(&role).await?.map(|role| role.key));
        }
        let mut keys = Vec::new();
        let mut stale_at: Option<Timestamp> = None;
        for name in names {
            let Some(key) = self.key(&name).await? else { continue };
            keys.extend(key.current.into_iter().chain(key.next).map(|half| half.jwk));
            for old in key.retired.into_iter().filter(|old| old.until > now) {
                stale_at = stale_at.into_iter().chain([old.until]).min();
                keys.push(old.jwk);
            }
        }
        let document = json!({ "keys": keys });
        let keys = Jwks::parse(document.to_string().as_bytes())
            .map_err(|error| Error::internal("publish the key set", error))?;
        let set = Arc::new(Published { document, keys, stale_at });
        self.published.store(Some(set.clone()));
        Ok(set)
    }
}

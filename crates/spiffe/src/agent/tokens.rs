//! JWT-SVIDs, kept while they are young.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_keys::SignedToken;
use holdfast_types::{Clock, Random, Timestamp};
use serde_json::Value;

use super::svids::{half_life, is_same, was_before};
use crate::{Bundle, Entry, JwtSvid, MintError, Source};

/// So many tokens are kept; then the old ones go, or all of them.
const KEPT: usize = 8192;

/// Which token: of which entry, for which audiences in whatever order.
type Key = (String, BTreeSet<String>);

/// All tokens that are given out again.
pub(super) struct Tokens {
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    kept: Mutex<HashMap<Key, Kept>>,
}

struct Kept {
    /// Another entry may come in its place, with the same id and as few changes.
    entry: Arc<Entry>,
    token: Arc<JwtSvid>,
    key_id: Option<String>,
    asked: Timestamp,
    until: Timestamp,
}

impl Tokens {
    /// An empty store.
    pub(super) fn new(
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self { source, clock, random, kept: Mutex::default() }
    }

    /// A token of `entry` for `audiences`, with at least about half of its life before it, by an
    /// authority of `bundle`.
    ///
    /// # Errors
    /// The server does not sign one.
    pub(super) async fn get(
        &self,
        entry: &Arc<Entry>,
        audiences: &[String],
        bundle: &Bundle,
    ) -> Result<Arc<JwtSvid>, MintError> {
        let now = self.clock.now();
        let key = (entry.id.clone(), audiences.iter().cloned().collect());
        if let Some(kept) = self.lock().get(&key)
            && is_same(&kept.entry, entry)
            && was_before(kept.asked, now)
            && now < kept.until
            && is_by(kept.key_id.as_deref(), bundle)
        {
            return Ok(kept.token.clone());
        }
        let token = Arc::new(self.source.mint_jwt(&entry.id, audiences).await?);
        let signed = SignedToken::parse(token.token.expose()).ok();
        let subject = signed.as_ref().and_then(|signed| signed.claims().ok()?.remove("sub"));
        // The server signs what the entry says by now, which may be for others than it was.
        if subject.as_ref().and_then(Value::as_str) != Some(entry.spiffe_id.as_str()) {
            return Err(MintError::NoEntry(entry.id.clone()));
        }
        let key_id = signed.and_then(|signed| signed.key_id);
        let until = half_life(now, token.expires_at, &*self.random);
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.retain(|_, kept| now < kept.until);
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        let entry = entry.clone();
        kept.insert(key, Kept { entry, token: token.clone(), key_id, asked: now, until });
        Ok(token)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the bundle still has the key of that name, untainted.
fn is_by(key_id: Option<&str>, bundle: &Bundle) -> bool {
    let Some(key_id) = key_id else { return false };
    let is_it = |key: &serde_json::Map<String, Value>| {
        key.get("kid").and_then(|kid| kid.as_str()) == Some(key_id)
    };
    bundle.jwt_authorities.iter().any(is_it) && !bundle.taints_key(key_id)
}

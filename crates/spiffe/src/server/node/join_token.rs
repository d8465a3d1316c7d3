//! Tokens by which one agent may join, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_barrier::{Batch, EntryError, View};
use holdfast_types::{Clock, Random, SecretString, SpiffeId, Timestamp, TrustDomain};
use serde::{Deserialize, Serialize};

use super::attest::Attested;
use super::nodes::hash;
use super::{NodeError, whole};

const MAX_TOKENS: usize = 10_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    expires: Timestamp,
    alias: Option<SpiffeId>,
}

/// The tokens that were made and not used.
pub(crate) struct JoinTokens {
    store: View,
    trust_domain: TrustDomain,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// By the SHA-256 of the token.
    known: Mutex<BTreeMap<String, Token>>,
    changing: tokio::sync::Mutex<()>,
}

impl JoinTokens {
    /// Reads what is stored.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn open(
        store: View,
        trust_domain: TrustDomain,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, EntryError> {
        let mut known = BTreeMap::new();
        for name in store.scan("token/").await? {
            if let Some(token) = store.get_json::<Token>(&format!("token/{name}")).await? {
                known.insert(name, token);
            }
        }
        let (known, changing) = (Mutex::new(known), tokio::sync::Mutex::new(()));
        Ok(Self { store, trust_domain, clock, random, known, changing })
    }

    /// A token by which one agent may join, once.
    ///
    /// # Errors
    /// There are too many, or the store fails.
    pub(crate) async fn make(
        &self,
        ttl: Duration,
        alias: Option<SpiffeId>,
    ) -> Result<(SecretString, Timestamp), NodeError> {
        let _changing = self.changing.lock().await;
        if self.known().len() >= MAX_TOKENS {
            return Err(NodeError::Full);
        }
        let token = SecretString::new(self.random.base62(32));
        let expires = whole(self.clock.now() + ttl);
        let (name, record) = (hash(token.expose().as_bytes()), Token { expires, alias });
        self.store.put_json(&format!("token/{name}"), &record).await?;
        self.known().insert(name, record);
        Ok((token, expires))
    }

    /// Uses up a token: whatever comes of it, it is not taken again.
    ///
    /// # Errors
    /// It is no token, or the store fails.
    pub(crate) async fn redeem(
        &self,
        token: &SecretString,
        now: Timestamp,
    ) -> Result<Attested, NodeError> {
        let _changing = self.changing.lock().await;
        // Looked up by its hash: the time tells nothing of tokens that there are.
        let name = hash(token.expose().as_bytes());
        let record = self.known().get(&name).cloned().ok_or(NodeError::Token)?;
        self.store.delete(&format!("token/{name}")).await?;
        self.known().remove(&name);
        if record.expires <= now {
            return Err(NodeError::Token);
        }
        // Not the token itself, as it stands in logs and certificates from here on.
        let path = format!("/spire/agent/join_token/{}", self.random.uuid());
        let agent = self.trust_domain.member(&path).map_err(|_| NodeError::Unknown)?;
        Ok(Attested { agent, kind: "join_token", selectors: BTreeSet::new(), alias: record.alias })
    }

    /// Forgets tokens that ended.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn expire(&self) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        let now = self.clock.now();
        let names: Vec<_> = {
            let known = self.known();
            let over = known.iter().filter(|(_, token)| token.expires <= now);
            over.map(|(name, _)| name.clone()).collect()
        };
        if names.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        names.iter().for_each(|name| batch.delete(format!("token/{name}")));
        self.store.commit(batch).await?;
        let mut known = self.known();
        names.iter().for_each(|name| drop(known.remove(name)));
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Token>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

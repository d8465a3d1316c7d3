//! Tokens: who may ask, for how long, and what dies with them.
//!
//! Under `sys/token/`:
//!
//! | key | value |
//! |---|---|
//! | `id/<hash>` | the [`TokenEntry`] |
//! | `accessor/<hash of the accessor>` | [`AccessorEntry`] |
//! | `parent/<hash>/<child's hash>` | empty: finds the children |
//! | `doomed/<hash>` | empty: revoked, to be cleared away |
//! | `role/<name>` | a token role |
//! | `salt`, `batch-key/<number>` | 32 random bytes each |
//!
//! **Invariant**: a child, or a lease, is written only under its parent's shared lock and after
//! the parent was seen live there; a token is marked as doomed under the same lock, exclusively.
//! So nothing is hung on a token after its revocation has begun to look for what hangs on it.

mod batch;
mod cache;
mod create;
mod entry;
mod hash;
mod login;
mod order;
pub(crate) mod params;
mod paths;
mod renew;
mod revoke;
mod roles;
pub(crate) mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use holdfast_barrier::{Batch, EntryError, KeyLocks, View};
use holdfast_logical::{Error, TokenKind};
use holdfast_types::{Clock, Random, SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::batch::BatchSealer;
use self::cache::Cache;
pub(crate) use self::entry::{Login, Token, TokenEntry, root_entry};
use self::hash::Hasher;
pub(crate) use self::hash::TokenHash;
pub(crate) use self::login::{LoggedIn, LoginRequest, create_login};
pub(crate) use self::paths::{exists, handle, special_paths};
pub(crate) use self::revoke::{finish_revocations, revoke_tree};
use crate::leases::Leases;

const STRIPES: usize = 256;

/// Where an accessor leads.
#[derive(Serialize, Deserialize)]
struct AccessorEntry {
    accessor: String,
    token: TokenHash,
}

/// All tokens.
pub(crate) struct Tokens {
    store: View,
    hasher: Hasher,
    batch: BatchSealer,
    cache: Cache,
    locks: Vec<RwLock<()>>,
    /// Held while a token of its maker's own choice is made.
    chosen: KeyLocks,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A token that was just made.
pub(crate) struct Created {
    /// The token itself: this is the only time it is seen.
    pub token: SecretString,
    /// None for a batch token.
    pub hash: Option<TokenHash>,
    pub entry: TokenEntry,
}

/// What came of taking one use off a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It may be used, and again.
    Granted,
    /// It may be used, this one time: it is to be revoked once the request is answered.
    Last,
    /// It was used up, or revoked, in the meantime.
    Refused,
}

impl Tokens {
    /// The tokens under `root`; the first call makes their salt.
    pub(crate) async fn load(
        root: &View,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let store = root.sub("sys/token/");
        Ok(Self {
            hasher: Hasher::load(&store, &*random).await?,
            batch: BatchSealer::load(&store, &*random).await?,
            cache: Cache::new(),
            chosen: KeyLocks::new(),
            locks: (0..STRIPES).map(|_| RwLock::new(())).collect(),
            store,
            clock,
            random,
        })
    }

    /// Makes the key of the batch tokens to come.
    pub(crate) async fn rotate_batch_key(&self) -> Result<(), Error> {
        self.batch.rotate(&*self.random).await
    }

    /// The hash of a token.
    pub(crate) fn hash(&self, token: &str) -> TokenHash {
        self.hasher.token(token)
    }

    /// The live token `token`. None: there is none, or it has expired or was revoked.
    pub(crate) async fn lookup(&self, token: &str) -> Result<Option<Arc<Token>>, EntryError> {
        if BatchSealer::is_batch(token) {
            return self.lookup_batch(token).await;
        }
        self.by_hash(self.hash(token)).await
    }

    /// The live service token with that hash.
    pub(crate) async fn by_hash(&self, hash: TokenHash) -> Result<Option<Arc<Token>>, EntryError> {
        let token = match self.cache.get(hash) {
            Ok(token) => token,
            Err(ticket) => {
                let Some(entry) = self.read(hash).await? else { return Ok(None) };
                let token = Token::new(hash, entry);
                self.cache.keep(&ticket, &token);
                token
            }
        };
        Ok(Some(token).filter(|token| token.is_live(&*self.clock)))
    }

    async fn lookup_batch(&self, token: &str) -> Result<Option<Arc<Token>>, EntryError> {
        let Some(entry) = self.batch.open(token) else { return Ok(None) };
        // A batch token is stored nowhere, so its parent's death is all that can end it early.
        if let Some(parent) = entry.parent
            && self.by_hash(parent).await?.is_none()
        {
            return Ok(None);
        }
        let token = Token::new(self.hash(token), entry);
        Ok(Some(token).filter(|token| token.is_live(&*self.clock)))
    }

    /// The live token that an accessor names.
    pub(crate) async fn by_accessor(
        &self,
        accessor: &str,
    ) -> Result<Option<Arc<Token>>, EntryError> {
        let key = format!("accessor/{}", self.hasher.accessor(accessor));
        match self.store.get_json::<AccessorEntry>(&key).await? {
            Some(entry) => self.by_hash(entry.token).await,
            None => Ok(None),
        }
    }

    /// The accessors of all stored tokens.
    pub(crate) async fn accessors(&self) -> Result<Vec<String>, EntryError> {
        let mut accessors = Vec::new();
        for name in self.store.list("accessor/").await? {
            let entry = self.store.get_json::<AccessorEntry>(&format!("accessor/{name}")).await?;
            accessors.extend(entry.map(|entry| entry.accessor));
        }
        Ok(accessors)
    }

    /// Takes one use off `token`.
    pub(crate) async fn spend(&self, token: &Token) -> Result<Use, EntryError> {
        if token.entry.uses.is_none() {
            return Ok(Use::Granted);
        }
        let _lock = self.lock(token.hash).await;
        let Some(mut entry) = self.read(token.hash).await? else { return Ok(Use::Refused) };
        let Some(uses) = entry.uses.filter(|_| entry.is_live(self.clock.now())) else {
            return Ok(Use::Refused);
        };
        entry.uses = Some(uses - 1);
        self.store.put_json(&format!("id/{}", token.hash), &entry).await?;
        self.cache.forget(token.hash);
        Ok(if uses == 1 { Use::Last } else { Use::Granted })
    }

    /// Holds the token as it is: nobody revokes it until the guard is dropped. None: it is not live.
    pub(crate) async fn hold(
        &self,
        hash: TokenHash,
    ) -> Result<Option<RwLockReadGuard<'_, ()>>, EntryError> {
        let guard = self.locks[hash.stripe(STRIPES)].read().await;
        let entry = match self.cache.get(hash) {
            Ok(token) => Some(token),
            Err(_) => self.read(hash).await?.map(|entry| Token::new(hash, entry)),
        };
        // A use that was just taken off counts: the last use may still make what it asks for.
        let live = entry.is_some_and(|token| {
            let now = self.clock.now();
            !token.entry.doomed && token.entry.expires_at.is_none_or(|end| end > now)
        });
        Ok(live.then_some(guard))
    }

    /// Writes `entry` as a new token, with `extra` (full keys) in the same commit.
    ///
    /// # Errors
    /// 400 where `id` is taken, or the parent is gone; else the store's.
    pub(crate) async fn create(
        &self,
        leases: &Leases,
        mut entry: TokenEntry,
        id: Option<&str>,
        extra: Batch,
    ) -> Result<Created, Error> {
        let parent =
            match entry.parent {
                None => None,
                Some(parent) => Some(self.hold(parent).await?.ok_or_else(|| {
                    Error::invalid("parent token lookup failed: no parent found")
                })?),
            };
        if entry.kind == TokenKind::Batch {
            let token = self.batch.seal(&entry)?;
            if !extra.is_empty() {
                leases.commit(extra).await?;
            }
            return Ok(Created { token, hash: None, entry });
        }
        let token = SecretString::new(match id {
            Some(id) => id.to_owned(),
            None => format!("s.{}", self.random.base62(24)),
        });
        let hash = self.hash(token.expose());
        // Two that choose the same at once: the second finds what the first wrote.
        let _alone = match id {
            Some(_) => Some(self.chosen.lock(&hash.to_string()).await),
            None => None,
        };
        if id.is_some() && self.read(hash).await?.is_some() {
            return Err(Error::invalid("cannot create a token with a duplicate ID"));
        }
        entry.accessor = self.random.base62(24);

        let mut batch = Batch::new();
        self.store.batch_json(&mut batch, &format!("id/{hash}"), &entry)?;
        let accessor = AccessorEntry { accessor: entry.accessor.clone(), token: hash };
        let accessor_key = format!("accessor/{}", self.hasher.accessor(&entry.accessor));
        self.store.batch_json(&mut batch, &accessor_key, &accessor)?;
        if let Some(parent) = entry.parent {
            batch.put(format!("parent/{parent}/{hash}"), Vec::new());
        }
        let mut batch = self.store.absolute(batch);
        if let Some(expires_at) = entry.expires_at {
            leases.add_token(&mut batch, &entry.lease_id(hash), hash, expires_at)?;
        }
        batch.append(extra);
        leases.commit(batch).await?;
        self.cache.forget(hash);
        drop(parent);
        Ok(Created { token, hash: Some(hash), entry })
    }

    /// When the token ends: far in the past where it was revoked already. None: it is gone.
    pub(crate) async fn ends_at(&self, hash: TokenHash) -> Result<Option<Timestamp>, EntryError> {
        let Some(entry) = self.read(hash).await? else { return Ok(None) };
        let end = entry.expires_at.unwrap_or(Timestamp::MAX);
        Ok(Some(if entry.doomed { Timestamp::UNIX_EPOCH } else { end }))
    }

    /// The entry of a token that need not be live any more.
    pub(crate) async fn entry(&self, hash: TokenHash) -> Result<Option<TokenEntry>, EntryError> {
        self.read(hash).await
    }

    /// What a batch token carries, live or not. None: it is none, or not one of ours.
    pub(crate) fn open_batch(&self, token: &str) -> Option<TokenEntry> {
        BatchSealer::is_batch(token).then(|| self.batch.open(token))?
    }

    /// The stored entry, live or not.
    async fn read(&self, hash: TokenHash) -> Result<Option<TokenEntry>, EntryError> {
        self.store.get_json(&format!("id/{hash}")).await
    }

    async fn lock(&self, hash: TokenHash) -> RwLockWriteGuard<'_, ()> {
        self.locks[hash.stripe(STRIPES)].write().await
    }
}

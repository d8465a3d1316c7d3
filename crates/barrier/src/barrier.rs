//! The barrier: encrypted entries over any storage, sealed or unsealed while the server runs.

mod initialize;
mod rekey;
mod unseal;
mod whole;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use holdfast_types::{Clock, Random};
use zeroize::Zeroizing;

pub use initialize::{InitializeError, Initialized};
pub use rekey::{NewShares, QuorumError};
pub use unseal::UnsealError;
use whole::Whole;

use crate::entries::names;
use crate::keyring::{Due, KEYRING_PATH, Keyring};
use crate::physical::Write;
use crate::root_key::RootKey;
use crate::seal::{SEAL_PATH, StoredSeal};
use crate::{
    Batch, Change, Entries, EntryError, KeyStatus, Physical, SealConfig, SharePlan, ShareProgress,
};

/// Encrypted storage behind a seal.
pub struct Barrier {
    physical: Arc<dyn Physical>,
    seal: SealConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The keys while unsealed.
    unlocked: Arc<ArcSwapOption<Unlocked>>,
    whole: Arc<Whole>,
    state: Mutex<State>,
    /// Held by whatever changes the keys or the seal, from reading them to storing them.
    changing: tokio::sync::Mutex<()>,
}

/// The keys of an unsealed barrier.
struct Unlocked {
    keyring: Keyring,
    root: Arc<RootKey>,
}

struct State {
    /// None until the store is initialised.
    stored: Option<StoredSeal>,
    progress: ShareProgress,
}

/// What `sys/seal-status` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealStatus {
    /// `shamir` or `static`.
    pub kind: &'static str,
    /// Whether the store has been initialised.
    pub initialized: bool,
    /// Whether entries cannot be read.
    pub sealed: bool,
    /// How many shares are needed; 0 before initialisation, and without recovery shares.
    pub threshold: u8,
    /// How many shares there are; 0 as above.
    pub shares: u8,
    /// How many are in.
    pub progress: usize,
    /// The attempt under way, or empty.
    pub nonce: String,
    /// Whether the shares are recovery shares, which do not unseal.
    pub recovery_seal: bool,
    /// Whether the root key is locked into memory; false while sealed, and where the system does
    /// not allow it.
    pub memory_locked: bool,
}

impl Barrier {
    /// A sealed barrier over `physical`.
    ///
    /// # Errors
    /// The storage fails, or what it holds about the seal is damaged.
    pub async fn open(
        physical: Arc<dyn Physical>,
        seal: SealConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, EntryError> {
        let stored = match physical.get(SEAL_PATH).await? {
            Some(bytes) => Some(StoredSeal::decode(&bytes).ok_or_else(|| damaged(SEAL_PATH))?),
            None => None,
        };
        Ok(Self {
            physical,
            seal,
            clock,
            random,
            unlocked: Arc::default(),
            whole: Arc::new(Whole::new()),
            state: Mutex::new(State { stored, progress: ShareProgress::new() }),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    /// The storage underneath.
    pub fn physical(&self) -> &Arc<dyn Physical> {
        &self.physical
    }

    /// Where unsealing stands.
    pub fn seal_status(&self) -> SealStatus {
        let unlocked = self.unlocked.load();
        let state = self.state();
        SealStatus {
            kind: self.seal.kind(),
            initialized: state.stored.is_some(),
            sealed: unlocked.is_none(),
            threshold: state.stored.as_ref().map_or(0, |stored| stored.threshold),
            shares: state.stored.as_ref().map_or(0, |stored| stored.shares),
            progress: state.progress.count(),
            nonce: state.progress.nonce().to_owned(),
            recovery_seal: matches!(self.seal, SealConfig::Static { .. }),
            memory_locked: unlocked.as_ref().is_some_and(|unlocked| unlocked.root.is_locked()),
        }
    }

    /// Whether entries cannot be read.
    pub fn is_sealed(&self) -> bool {
        self.unlocked.load().is_none()
    }

    /// The shares that prove a quorum: of the seal key, or of the recovery key. None before
    /// initialisation, and where there are no recovery shares.
    pub fn share_plan(&self) -> Option<SharePlan> {
        self.state().stored.as_ref().and_then(StoredSeal::plan)
    }

    /// Forgets the keys. Calls under way finish; their keys are wiped when the last one has.
    pub fn seal(&self) {
        self.unlocked.store(None);
        self.state().progress.reset();
    }

    /// Seals, and stops the storage cleanly.
    ///
    /// # Errors
    /// The storage could not be stopped cleanly; what was acknowledged is safe nevertheless.
    pub async fn close(&self) -> Result<(), EntryError> {
        self.seal();
        // What is wrong is told by the storage.
        let _ = self.whole.known().await;
        Ok(self.physical.close().await?)
    }

    /// The newest encryption key.
    ///
    /// # Errors
    /// Sealed.
    pub fn key_status(&self) -> Result<KeyStatus, EntryError> {
        Ok(self.unlocked()?.keyring.status())
    }

    /// Starts a new term: later writes take a new key, and what is stored stays as it is.
    ///
    /// # Errors
    /// Sealed, or the storage fails; the term is as before then.
    pub async fn rotate(&self) -> Result<KeyStatus, EntryError> {
        let changing = self.changing.lock().await;
        let next = self.unlocked()?.keyring.rotated(&*self.random, self.clock.now());
        self.install(next.noted_further(0)).await?;
        drop(changing);
        self.key_status()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unlocked(&self) -> Result<Arc<Unlocked>, EntryError> {
        self.unlocked.load_full().ok_or(EntryError::Sealed)
    }

    /// The keys, with room in the count for encrypting `count` values.
    async fn unlocked_for(&self, count: usize) -> Result<Arc<Unlocked>, EntryError> {
        loop {
            let unlocked = self.unlocked()?;
            if unlocked.keyring.reserve(count).is_ok() {
                return Ok(unlocked);
            }
            let _changing = self.changing.lock().await;
            // Whoever held the lock may have made room.
            let unlocked = self.unlocked()?;
            match unlocked.keyring.reserve(count) {
                Ok(()) => return Ok(unlocked),
                Err(Due::Note) => self.install(unlocked.keyring.noted_further(count)).await?,
                Err(Due::Rotate) => {
                    let next = unlocked.keyring.rotated(&*self.random, self.clock.now());
                    self.install(next.noted_further(count)).await?;
                }
            }
        }
    }

    /// Stores a changed keyring, then uses it. The caller holds `changing`.
    async fn install(&self, keyring: Keyring) -> Result<(), EntryError> {
        let root = self.unlocked()?.root.clone();
        self.physical.commit(vec![keyring_write(&keyring, &root, &*self.random)]).await?;
        self.switch(Unlocked { keyring, root })
    }

    /// Uses other keys, unless the barrier was sealed meanwhile.
    fn switch(&self, next: Unlocked) -> Result<(), EntryError> {
        let next = Some(Arc::new(next));
        let before = self.unlocked.rcu(|current| current.as_ref().and(next.clone()));
        before.map(|_| ()).ok_or(EntryError::Sealed)
    }
}

#[async_trait]
impl Entries for Barrier {
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        let unlocked = self.unlocked()?;
        check_key(key)?;
        let Some(envelope) = self.physical.get(key).await? else {
            return self.whole.absent(key).await.map(|()| None);
        };
        let plain = unlocked.keyring.decrypt(key, envelope).map_err(|_| damaged(key))?;
        Ok(Some(plain))
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        self.unlocked()?;
        match self.core_below(prefix).await? {
            Some(keys) => Ok(names(keys.iter().map(String::as_str), after, limit)),
            None => Ok(self.physical.list_page(prefix, after, limit).await?),
        }
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.unlocked()?;
        match self.core_below(prefix).await? {
            Some(keys) => Ok(keys),
            None => Ok(self.physical.scan(prefix).await?),
        }
    }

    async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        let puts = batch.0.iter().filter(|change| matches!(change, Change::Put(..))).count();
        let unlocked = self.unlocked_for(puts).await?;
        let writes = encrypt(&unlocked.keyring, batch, &*self.random)?;
        if writes.is_empty() {
            return Ok(());
        }
        Ok(self.physical.commit(writes).await?)
    }
}

/// The writes that store `batch`; its place in the count of encryptions is reserved.
fn encrypt(keyring: &Keyring, batch: Batch, random: &dyn Random) -> Result<Vec<Write>, EntryError> {
    let writes = batch.0.into_iter().map(|change| {
        let (key, value) = match change {
            Change::Put(key, plain) => {
                let envelope = keyring.encrypt(&key, &plain, random);
                (key, Some(envelope))
            }
            Change::Delete(key) => (key, None),
        };
        check_key(&key)?;
        Ok(Write { mark: keyring.mark(&key), key, value })
    });
    writes.collect()
}

/// The write that stores the keyring itself.
fn keyring_write(keyring: &Keyring, root: &RootKey, random: &dyn Random) -> Write {
    Write {
        key: KEYRING_PATH.to_owned(),
        value: Some(keyring.seal(root, random)),
        mark: keyring.mark(KEYRING_PATH),
    }
}

/// The write that stores what a sealed server must know.
fn seal_write(keyring: &Keyring, stored: &StoredSeal) -> Write {
    Write { key: SEAL_PATH.to_owned(), value: Some(stored.encode()), mark: keyring.mark(SEAL_PATH) }
}

fn damaged(key: &str) -> EntryError {
    EntryError::Damaged { key: key.to_owned() }
}

/// The barrier's own two entries are not to be read as values, nor overwritten.
fn check_key(key: &str) -> Result<(), EntryError> {
    if key == KEYRING_PATH || key == SEAL_PATH {
        return Err(EntryError::Storage(format!("{key:?} belongs to the barrier itself").into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

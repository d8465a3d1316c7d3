//! From shares, or from the configured key, to the keyring.

use std::path::Path;
use std::sync::Arc;

use holdfast_types::{Random, SecretBytes};

use super::whole::Rest;
use super::{Barrier, SealStatus, Unlocked, damaged, seal_write};
use crate::keyring::{KEYRING_PATH, Keyring, KeyringError};
use crate::physical::{PhysicalError, Sqlite};
use crate::root_key::RootKey;
use crate::seal::{SEAL_PATH, StoredSeal, combine_shares};
use crate::{EntryError, SealConfig, ShareError};

/// Why the barrier stays sealed.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// There is nothing to unseal yet.
    #[error("Vault is not initialized")]
    NotInitialized,
    /// A share, or what all of them give together, is not right. The attempt starts over when a
    /// whole threshold was wrong.
    #[error("invalid key")]
    Share(#[from] ShareError),
    /// The configuration names another kind of seal than the store was initialised with.
    #[error(
        "the store was initialized with seal {stored:?}, the configuration says {configured:?}"
    )]
    OtherSeal {
        /// The store's.
        stored: String,
        /// The configuration's.
        configured: &'static str,
    },
    /// Shares do not open a static seal, and nothing but shares opens Shamir's.
    #[error("seal {0:?} is not opened this way")]
    OtherWay(&'static str),
    /// Neither of the configured keys is the one that the root key is wrapped with.
    #[error(
        "the root key is wrapped with the static key {wanted:?}; configured are {configured:?}"
    )]
    OtherKey {
        /// The key that is needed.
        wanted: String,
        /// Those that there are.
        configured: Vec<String>,
    },
    /// The static key has the right name and is another key.
    #[error("the static key {0:?} does not open the root key: it is another key of that name")]
    WrongKey(String),
    /// Entries vanished, or were renamed or added, behind the server's back.
    #[error(
        "the store does not hold the entries that were last written to it ({found} are there): it \
         was damaged or tampered with; restore it from a backup"
    )]
    KeySet {
        /// How many keys there are now.
        found: usize,
    },
    /// The keyring's contents make no sense, although they authenticate.
    #[error("read the keyring: {0}")]
    Keyring(String),
    /// The storage failed, or a part of it that unsealing needs is damaged.
    #[error("unseal the store")]
    Entry(#[from] EntryError),
}

impl SealConfig {
    /// Tries the seal on the store at `path`, without a barrier and as [`Sqlite::peek`] reads: unwraps
    /// the root key that is stored, or a new one where none is found. Gives whether one was found.
    ///
    /// # Errors
    /// What unsealing would fail with; [`UnsealError::OtherWay`] for Shamir's seal.
    pub fn try_on(&self, path: Option<&Path>, random: &dyn Random) -> Result<bool, UnsealError> {
        let read = |path| Sqlite::peek(path, SEAL_PATH).map_err(PhysicalError::failed);
        let stored = path.map(read).transpose().map_err(EntryError::from)?.flatten();
        let found = stored.is_some();
        let stored = match (stored, self) {
            (Some(bytes), _) => StoredSeal::decode(&bytes).ok_or_else(|| damaged(SEAL_PATH))?,
            (None, Self::Shamir) => return Err(UnsealError::OtherWay(self.kind())),
            (None, Self::Static { current, .. }) => {
                let root = RootKey::generate(random);
                let (kind, id) = (self.kind(), &current.id);
                StoredSeal::wrap(kind, None, id, current.expose(), &root, random)
            }
        };
        self.fits(&stored)?;
        self.open_root(&stored)?;
        Ok(found)
    }

    /// Whether the store was initialised with this kind of seal.
    fn fits(&self, stored: &StoredSeal) -> Result<(), UnsealError> {
        if stored.kind == self.kind() {
            return Ok(());
        }
        Err(UnsealError::OtherSeal { stored: stored.kind.clone(), configured: self.kind() })
    }

    /// The root key, and whether it was wrapped with the current key.
    fn open_root(&self, stored: &StoredSeal) -> Result<(RootKey, bool), UnsealError> {
        let Self::Static { current, previous } = self else {
            return Err(UnsealError::OtherWay(self.kind()));
        };
        let keys = || [Some(current), previous.as_ref()].into_iter().flatten();
        let key = keys().find(|key| key.id == stored.key_id).ok_or_else(|| {
            let configured = keys().map(|key| key.id.clone()).collect();
            UnsealError::OtherKey { wanted: stored.key_id.clone(), configured }
        })?;
        let root = stored
            .unwrap_root(key.expose())
            .map_err(|_| UnsealError::WrongKey(stored.key_id.clone()))?;
        Ok((root, stored.key_id == current.id))
    }
}

impl Barrier {
    /// Takes one share; the last one needed unseals. A share that is already in changes nothing,
    /// and neither does any share when the barrier is already unsealed.
    ///
    /// # Errors
    /// See [`UnsealError`].
    pub async fn unseal(&self, share: SecretBytes) -> Result<SealStatus, UnsealError> {
        let _changing = self.changing.lock().await;
        let stored = self.stored_seal()?;
        if !self.is_sealed() {
            return Ok(self.seal_status());
        }
        if !matches!(self.seal, SealConfig::Shamir) {
            return Err(UnsealError::OtherWay(self.seal.kind()));
        }
        let plan = stored.plan().ok_or_else(|| damaged(SEAL_PATH))?;
        let submitted = self.state().progress.submit(share, plan.threshold(), &*self.random)?;
        if let Some(shares) = submitted {
            let seal_key = combine_shares(&shares, plan)?;
            let root = stored.unwrap_root(&seal_key).map_err(|_| ShareError::Wrong)?;
            self.unlock(root).await?;
        }
        Ok(self.seal_status())
    }

    /// Forgets the shares that are in.
    pub fn reset_unseal(&self) -> SealStatus {
        self.state().progress.reset();
        self.seal_status()
    }

    /// Unseals with the configured key. If the root key was wrapped with the previous one, wraps it
    /// with the current one.
    ///
    /// # Errors
    /// See [`UnsealError`].
    pub async fn auto_unseal(&self) -> Result<SealStatus, UnsealError> {
        let _changing = self.changing.lock().await;
        let stored = self.stored_seal()?;
        if !self.is_sealed() {
            return Ok(self.seal_status());
        }
        let (root, is_current) = self.seal.open_root(&stored)?;
        self.unlock(root).await?;
        if !is_current {
            self.wrap_with_current(&stored).await?;
        }
        Ok(self.seal_status())
    }

    /// What is stored about the seal, if it fits the configuration.
    fn stored_seal(&self) -> Result<StoredSeal, UnsealError> {
        let stored = self.state().stored.clone().ok_or(UnsealError::NotInitialized)?;
        self.seal.fits(&stored)?;
        Ok(stored)
    }

    /// Reads the keyring with `root`, checks that all entries are there, and unseals.
    async fn unlock(&self, root: RootKey) -> Result<(), UnsealError> {
        let envelope = self.physical.get(KEYRING_PATH).await.map_err(EntryError::from)?;
        let envelope = envelope.ok_or_else(|| damaged(KEYRING_PATH))?;
        let keyring = Keyring::open(&root, envelope).map_err(|error| match error {
            KeyringError::NotAuthentic => UnsealError::Entry(damaged(KEYRING_PATH)),
            other => UnsealError::Keyring(other.to_string()),
        })?;
        let marker = keyring.marker();
        let rest = self.count_keys(&marker).await?;
        self.unlocked.store(Some(Arc::new(Unlocked { keyring, root: Arc::new(root) })));
        if rest == Rest::Beside {
            self.count_beside(marker);
        }
        Ok(())
    }

    /// Wraps the root key with the static seal's current key.
    async fn wrap_with_current(&self, stored: &StoredSeal) -> Result<(), UnsealError> {
        let SealConfig::Static { current, .. } = &self.seal else { return Ok(()) };
        let unlocked = self.unlocked()?;
        let wrapped = StoredSeal::wrap(
            "static",
            stored.plan(),
            &current.id,
            current.expose(),
            &unlocked.root,
            &*self.random,
        );
        let write = seal_write(&unlocked.keyring, &wrapped);
        self.physical.commit(vec![write]).await.map_err(EntryError::from)?;
        self.state().stored = Some(wrapped);
        Ok(())
    }
}

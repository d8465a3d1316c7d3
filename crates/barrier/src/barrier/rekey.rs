//! New shares, and proof that a quorum of the present ones stands behind a request.

use std::sync::Arc;

use holdfast_types::{Random, SecretBytes, constant_time_eq};
use zeroize::Zeroizing;

use super::initialize::RECOVERY_KEY_PATH;
use super::{Barrier, Unlocked, encrypt, keyring_write, seal_write};
use crate::root_key::{RootKey, random_key};
use crate::seal::{StoredSeal, combine_shares, make_shares};
use crate::{Batch, Entries, EntryError, SealConfig, ShareError, SharePlan};

/// Why shares do not prove a quorum.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// There are no shares: a static seal was initialised without a recovery key.
    #[error("there are no recovery shares")]
    NoShares,
    /// They are not a quorum of the right ones.
    #[error("invalid key")]
    Share(#[from] ShareError),
    /// Sealed, or the storage failed.
    #[error("check the shares")]
    Entry(#[from] EntryError),
}

/// Shares of a new key, which are not in use yet.
pub struct NewShares {
    key: Zeroizing<[u8; 32]>,
    plan: SharePlan,
    shares: Vec<SecretBytes>,
}

impl NewShares {
    /// Makes a key and its shares.
    pub fn generate(plan: SharePlan, random: &dyn Random) -> Self {
        let key = random_key(random);
        let shares = make_shares(&key, plan, random);
        Self { key, plan, shares }
    }

    /// How many there are, and how many are needed.
    pub fn plan(&self) -> SharePlan {
        self.plan
    }

    /// The shares, for their holders.
    pub fn shares(&self) -> &[SecretBytes] {
        &self.shares
    }

    /// Whether `shares`, as [`crate::ShareProgress::submit`] gave them back, are a quorum of these.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&self, shares: &[SecretBytes]) -> Result<(), ShareError> {
        let key = combine_shares(shares, self.plan)?;
        if constant_time_eq(&*key, &*self.key) { Ok(()) } else { Err(ShareError::Wrong) }
    }
}

impl Barrier {
    /// Whether `shares`, as [`crate::ShareProgress::submit`] gave them back, are a quorum: of the
    /// seal key (Shamir), or of the recovery key (static). This is what making a root token and
    /// rekeying ask for.
    ///
    /// # Errors
    /// They are not, or the barrier is sealed.
    pub async fn check_quorum(&self, shares: &[SecretBytes]) -> Result<(), QuorumError> {
        let unlocked = self.unlocked()?;
        let stored = self.state().stored.clone().ok_or(EntryError::Sealed)?;
        let plan = stored.plan().ok_or(QuorumError::NoShares)?;
        let key = combine_shares(shares, plan)?;
        let right = match self.seal {
            SealConfig::Shamir => {
                let root = stored.unwrap_root(&key).map_err(|_| ShareError::Wrong)?;
                constant_time_eq(root.expose(), unlocked.root.expose())
            }
            SealConfig::Static { .. } => {
                let recovery_key = self.get(RECOVERY_KEY_PATH).await?;
                recovery_key.is_some_and(|recovery_key| constant_time_eq(&recovery_key, &*key))
            }
        };
        if right { Ok(()) } else { Err(ShareError::Wrong.into()) }
    }

    /// Takes new shares into use; those before open nothing any more once this returns. With
    /// Shamir's seal the root key is a new one too. The caller has checked a quorum.
    ///
    /// # Errors
    /// Sealed, or the storage failed; the old shares stay good then.
    pub async fn rekey(&self, new: &NewShares) -> Result<(), EntryError> {
        let _changing = self.changing.lock().await;
        let unlocked = self.unlocked()?;
        let random = &*self.random;
        let plan = new.plan;
        let (stored, root, mut writes) = match &self.seal {
            SealConfig::Shamir => {
                let root = Arc::new(RootKey::generate(random));
                let stored = StoredSeal::wrap("shamir", Some(plan), "", &new.key, &root, random);
                let keyring = keyring_write(&unlocked.keyring, &root, random);
                (stored, root, vec![keyring])
            }
            SealConfig::Static { current, .. } => {
                let root = unlocked.root.clone();
                let key = current.expose();
                let stored =
                    StoredSeal::wrap("static", Some(plan), &current.id, key, &root, random);
                let mut batch = Batch::new();
                batch.put(RECOVERY_KEY_PATH, new.key.to_vec());
                (stored, root, encrypt(&unlocked.keyring, batch, random)?)
            }
        };
        writes.push(seal_write(&unlocked.keyring, &stored));
        self.physical.commit(writes).await?;
        self.state().stored = Some(stored);
        self.switch(Unlocked { keyring: unlocked.keyring.copy(), root })?;
        Ok(())
    }

    /// A new root key under the same seal. False, and nothing done: the key of a Shamir seal is not
    /// kept in memory, so its root key can only be replaced with its shares.
    ///
    /// # Errors
    /// Sealed, or the storage failed; the old root key stays in use then.
    pub async fn rotate_root(&self) -> Result<bool, EntryError> {
        let SealConfig::Static { current, .. } = &self.seal else { return Ok(false) };
        let _changing = self.changing.lock().await;
        let unlocked = self.unlocked()?;
        let random = &*self.random;
        let plan = self.state().stored.as_ref().and_then(StoredSeal::plan);
        let root = Arc::new(RootKey::generate(random));
        let stored = StoredSeal::wrap("static", plan, &current.id, current.expose(), &root, random);
        let keyring = keyring_write(&unlocked.keyring, &root, random);
        let seal = seal_write(&unlocked.keyring, &stored);
        self.physical.commit(vec![keyring, seal]).await?;
        self.state().stored = Some(stored);
        self.switch(Unlocked { keyring: unlocked.keyring.copy(), root })?;
        Ok(true)
    }
}

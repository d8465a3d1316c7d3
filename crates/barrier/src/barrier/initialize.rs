//! The first keys of a store.

use holdfast_types::SecretBytes;

use super::{Barrier, encrypt, keyring_write, seal_write};
use crate::keyring::Keyring;
use crate::root_key::{RootKey, random_key};
use crate::seal::{StoredSeal, make_shares};
use crate::{Batch, EntryError, SealConfig, SharePlan};

/// Where the recovery key of a static seal is stored, behind the barrier.
pub(super) const RECOVERY_KEY_PATH: &str = "core/recovery-key";

/// What initialisation hands out, once.
#[derive(Debug)]
pub struct Initialized {
    /// Of the seal key (Shamir), or of the recovery key (static; may be none).
    pub shares: Vec<SecretBytes>,
}

/// Why a store was not initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitializeError {
    /// It has keys already.
    #[error("Vault is already initialized")]
    Already,
    /// A Shamir seal without shares could never be opened.
    #[error("invalid seal configuration: shares must be at least one")]
    NoShares,
    /// The storage failed; nothing is initialised.
    #[error("initialize the store")]
    Entry(#[from] EntryError),
}

impl Barrier {
    /// Makes the keys and writes them together with `entries`, in one commit: after a crash all of
    /// it is there, or the store is still not initialised. The barrier stays sealed.
    ///
    /// `plan` is for shares of the seal key, or, with a static seal, of the recovery key, which
    /// may be left out.
    ///
    /// # Errors
    /// Nothing is initialised then.
    pub async fn initialize(
        &self,
        plan: Option<SharePlan>,
        mut entries: Batch,
    ) -> Result<Initialized, InitializeError> {
        let _changing = self.changing.lock().await;
        if self.state().stored.is_some() {
            return Err(InitializeError::Already);
        }
        let random = &*self.random;
        let root = RootKey::generate(random);
        let (stored, shares) = match (&self.seal, plan) {
            (SealConfig::Shamir, None) => return Err(InitializeError::NoShares),
            (SealConfig::Shamir, Some(plan)) => {
                let seal_key = random_key(random);
                let stored = StoredSeal::wrap("shamir", Some(plan), "", &seal_key, &root, random);
                (stored, make_shares(&seal_key, plan, random))
            }
            (SealConfig::Static { current, .. }, plan) => {
                let key = current.expose();
                let stored = StoredSeal::wrap("static", plan, &current.id, key, &root, random);
                let shares = plan.map_or_else(Vec::new, |plan| {
                    let recovery_key = random_key(random);
                    entries.put(RECOVERY_KEY_PATH, recovery_key.to_vec());
                    make_shares(&recovery_key, plan, random)
                });
                (stored, shares)
            }
        };

        let keyring = Keyring::generate(random, self.clock.now()).noted_further(entries.0.len());
        // Cannot fail: a step more than these entries has just been noted.
        let _ = keyring.reserve(entries.0.len());
        let mut writes = encrypt(&keyring, entries, random)?;
        writes.push(keyring_write(&keyring, &root, random));
        writes.push(seal_write(&keyring, &stored));
        self.physical.commit(writes).await.map_err(EntryError::from)?;
        self.state().stored = Some(stored);
        Ok(Initialized { shares })
    }
}

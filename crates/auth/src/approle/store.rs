//! Where things are stored, and how they are found again without being named.

use aws_lc_rs::hmac;
use holdfast_barrier::Batch;
use holdfast_logical::Error;
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};

use super::AppRole;
use super::role::Role;
use super::secret_id::SecretId;

const SALT: &str = "salt";

/// Role ids and secret ids are not longer than this, in bytes.
const MAX_ID: usize = 4096;

/// Whose an accessor is.
#[derive(Serialize, Deserialize)]
pub(super) struct AccessorEntry {
    pub(super) role: String,
    pub(super) secret_id_hmac: String,
}

/// A fresh key for HMACs: 256 bits in hex.
pub(super) fn fresh_key(random: &dyn holdfast_types::Random) -> SecretString {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    random.fill(&mut *bytes);
    SecretString::new(hex::encode(*bytes))
}

/// HMAC-SHA256 of `value` under `key`, in hex.
pub(super) fn hmac(key: &SecretString, value: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    hex::encode(hmac::sign(&key, value.as_bytes()))
}

/// Refuses ids of absurd length before anything is computed of them.
pub(super) fn check_id_length(name: &str, value: &str) -> Result<(), Error> {
    if value.len() <= MAX_ID {
        return Ok(());
    }
    Err(Error::invalid(format!("{name}: value is longer than maximum of {MAX_ID} bytes")))
}

pub(super) fn role_entry(name: &str) -> String {
    format!("role/{name}")
}

pub(super) fn secret_id_entry(role: &str, hmac: &str) -> String {
    format!("secret-id/{role}/{hmac}")
}

impl AppRole {
    /// Reads the mount's salt, or makes it at the first start.
    pub(super) async fn load_salt(&self) -> Result<(), Error> {
        let salt = match self.storage.get_json(SALT).await? {
            Some(salt) => salt,
            None => {
                let salt = fresh_key(&*self.random);
                self.storage.put_json(SALT, &salt).await?;
                salt
            }
        };
        let _ = self.salt.set(salt);
        Ok(())
    }

    pub(super) fn role_id_entry(&self, role_id: &str) -> Result<String, Error> {
        Ok(format!("role-id/{}", hmac(self.salt()?, role_id)))
    }

    pub(super) fn accessor_entry(&self, accessor: &str) -> Result<String, Error> {
        Ok(format!("accessor/{}", hmac(self.salt()?, accessor)))
    }

    pub(super) async fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.storage.get_json(&role_entry(name)).await?)
    }

    /// The name of the role with this id.
    pub(super) async fn role_named_by(&self, role_id: &str) -> Result<Option<String>, Error> {
        Ok(self.storage.get_json(&self.role_id_entry(role_id)?).await?)
    }

    pub(super) async fn secret_id(
        &self,
        role: &str,
        hmac: &str,
    ) -> Result<Option<SecretId>, Error> {
        Ok(self.storage.get_json(&secret_id_entry(role, hmac)).await?)
    }

    pub(super) async fn accessor(&self, accessor: &str) -> Result<Option<AccessorEntry>, Error> {
        Ok(self.storage.get_json(&self.accessor_entry(accessor)?).await?)
    }

    /// Adds the removal of a secret id and its accessor.
    pub(super) fn forget(
        &self,
        batch: &mut Batch,
        role: &str,
        hmac: &str,
        secret_id: &SecretId,
    ) -> Result<(), Error> {
        batch.delete(secret_id_entry(role, hmac));
        batch.delete(self.accessor_entry(&secret_id.accessor)?);
        Ok(())
    }

    fn salt(&self) -> Result<&SecretString, Error> {
        self.salt.get().ok_or_else(|| Error::internal("find the mount's salt", "not started"))
    }
}

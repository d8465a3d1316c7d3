//! What opens the barrier: shares held by people, or a key from the configuration.
//!
//! Both give a *seal key*, which wraps the root key; the wrapped root key lies in the clear part
//! of the store at [`SEAL_PATH`], beside what is needed to ask for the right shares.

pub(crate) mod shamir;
mod shares;
mod stored;

use holdfast_types::{Secret, SecretBytes};
use zeroize::{Zeroize, Zeroizing};

pub use shamir::ShamirError;
pub use shares::{ShareError, SharePlan, SharePlanError, ShareProgress};
pub(crate) use shares::{combine_shares, make_shares};
pub(crate) use stored::{SEAL_PATH, StoredSeal};

/// How this server is unsealed, from its configuration.
#[derive(Debug)]
pub enum SealConfig {
    /// By a threshold of Shamir shares.
    Shamir,
    /// By a key that the configuration names (OpenBao's seal "static").
    Static {
        /// The key that the root key is wrapped with.
        current: StaticKey,
        /// The key before it: a root key still wrapped with this one is wrapped anew at unseal.
        previous: Option<StaticKey>,
    },
}

impl SealConfig {
    /// The kind, as the API names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Shamir => "shamir",
            Self::Static { .. } => "static",
        }
    }
}

/// A named 256-bit key.
#[derive(Debug)]
pub struct StaticKey {
    /// `current_key_id`.
    pub id: String,
    key: Secret<[u8; 32]>,
}

/// A static seal's key is not 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a static seal's key is 32 bytes, as they are, in hex, or in base64")]
pub struct StaticKeyError;

impl StaticKey {
    /// Reads a key: 32 raw bytes, or the hex or base64 form of 32 bytes with white space around it.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(id: impl Into<String>, text: &SecretBytes) -> Result<Self, StaticKeyError> {
        use base64::Engine as _;
        use base64::prelude::BASE64_STANDARD;

        let bytes = text.expose();
        let trimmed = bytes.trim_ascii();
        let mut key = Zeroizing::new([0; 32]);
        if let Ok(raw) = <&[u8; 32]>::try_from(bytes.as_slice()) {
            key.copy_from_slice(raw);
        } else if hex::decode_to_slice(trimmed, &mut *key).is_err() {
            // The decoder wants room for a whole last group of three bytes.
            let mut buffer = Zeroizing::new([0; 33]);
            match BASE64_STANDARD.decode_slice(trimmed, &mut *buffer) {
                Ok(32) => key.copy_from_slice(&buffer[..32]),
                _ => return Err(StaticKeyError),
            }
        }
        let parsed = Self { id: id.into(), key: Secret::new(*key) };
        key.zeroize();
        Ok(parsed)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.key.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_key_is_read_in_three_forms() {
        let key: Vec<u8> = (100..132).collect();
        let hex = hex::encode(&key);
        let base64 = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=";
        for text in [&key[..], hex.as_bytes(), base64.as_bytes(), format!(" {hex}\n").as_bytes()] {
            let parsed = StaticKey::parse("k", &SecretBytes::new(text.to_vec())).unwrap();
            assert_eq!(parsed.expose().as_slice(), key);
        }
        for text in ["", "abcd", &hex[2..], &base64[4..]] {
            let parsed = StaticKey::parse("k", &SecretBytes::new(text.as_bytes().to_vec()));
            assert_eq!(parsed.err(), Some(StaticKeyError), "{text:?}");
        }
    }
}

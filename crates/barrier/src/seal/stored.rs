//! What lies in the clear part of the store, so that a sealed server knows how to open it.
//!
//! ```text
//! SHA-256 of the JSON (32 bytes) | JSON of [`StoredSeal`]
//! ```
//!
//! The digest tells rot from a wrong key. Against a forger, everything but the wrapped key is
//! authenticated with it: it is the associated data of the wrapping.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use holdfast_types::Random;
use serde::{Deserialize, Serialize};

use super::SharePlan;
use crate::envelope::{NotAuthentic, ValueKey};
use crate::keyring::ROOT_TERM;
use crate::root_key::RootKey;

/// Where it is stored.
pub(crate) const SEAL_PATH: &str = "core/seal";

const DIGEST_LENGTH: usize = 32;

/// The seal of an initialised store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredSeal {
    /// `shamir` or `static`.
    pub(crate) kind: String,
    /// The shares of the seal key, or, with a static seal, of the recovery key; 0 of 0 for none.
    pub(crate) shares: u8,
    /// How many of them are needed.
    pub(crate) threshold: u8,
    /// The static seal's key.
    pub(crate) key_id: String,
    /// The root key, wrapped with the seal key; an envelope in base64.
    root_key: String,
}

impl StoredSeal {
    /// Wraps `root` with `seal_key`.
    pub(crate) fn wrap(
        kind: &str,
        plan: Option<SharePlan>,
        key_id: &str,
        seal_key: &[u8; 32],
        root: &RootKey,
        random: &dyn Random,
    ) -> Self {
        let mut seal = Self {
            kind: kind.to_owned(),
            shares: plan.map_or(0, SharePlan::shares),
            threshold: plan.map_or(0, SharePlan::threshold),
            key_id: key_id.to_owned(),
            root_key: String::new(),
        };
        let cipher = ValueKey::new(seal_key);
        let envelope = cipher.seal(ROOT_TERM, &seal.bound_to(), root.expose(), random);
        seal.root_key = BASE64_STANDARD.encode(envelope);
        seal
    }

    /// The root key, if `seal_key` is the right one.
    pub(crate) fn unwrap_root(&self, seal_key: &[u8; 32]) -> Result<RootKey, NotAuthentic> {
        let envelope = BASE64_STANDARD.decode(&self.root_key).map_err(|_| NotAuthentic)?;
        let root = ValueKey::new(seal_key).open(&self.bound_to(), envelope)?;
        RootKey::from_slice(&root).ok_or(NotAuthentic)
    }

    /// The shares that there are of the seal key, or of the recovery key.
    pub(crate) fn plan(&self) -> Option<SharePlan> {
        SharePlan::new(self.shares.into(), self.threshold.into()).ok()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("text and numbers are JSON");
        let mut bytes = digest::digest(&digest::SHA256, &json).as_ref().to_vec();
        bytes.extend_from_slice(&json);
        bytes
    }

    /// Reads what [`StoredSeal::encode`] wrote; nothing if it was damaged since.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (expected, json) = bytes.split_at_checked(DIGEST_LENGTH)?;
        if digest::digest(&digest::SHA256, json).as_ref() != expected {
            return None;
        }
        serde_json::from_slice(json).ok()
    }

    fn bound_to(&self) -> String {
        let Self { kind, shares, threshold, key_id, root_key: _ } = self;
        format!("{SEAL_PATH} {kind} {threshold}/{shares} {key_id}")
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemRandom;

    use super::*;

    fn stored() -> StoredSeal {
        let root = RootKey::from_slice(&[5; 32]).unwrap();
        let plan = SharePlan::new(5, 3).ok();
        StoredSeal::wrap("shamir", plan, "", &[6; 32], &root, &SystemRandom)
    }

    #[test]
    fn only_the_seal_key_gives_the_root_key() {
        let decoded = StoredSeal::decode(&stored().encode()).unwrap();
        assert_eq!(decoded.plan(), SharePlan::new(5, 3).ok());
        assert_eq!(decoded.unwrap_root(&[6; 32]).unwrap().expose(), &[5; 32]);
        assert!(decoded.unwrap_root(&[7; 32]).is_err());
    }

    #[test]
    fn nothing_beside_the_key_can_be_forged() {
        for forge in [
            (|seal| seal.threshold = 1) as fn(&mut StoredSeal),
            |seal| seal.shares = 4,
            |seal| seal.kind = "static".to_owned(),
            |seal| seal.key_id = "k".to_owned(),
        ] {
            let mut seal = stored();
            forge(&mut seal);
            assert!(seal.unwrap_root(&[6; 32]).is_err(), "{seal:?}");
        }
    }

    #[test]
    fn rot_is_told_from_a_wrong_key() {
        let bytes = stored().encode();
        for index in 0..bytes.len() {
            let mut rotten = bytes.clone();
            rotten[index] ^= 1;
            assert!(StoredSeal::decode(&rotten).is_none(), "byte {index}");
        }
        assert!(StoredSeal::decode(&bytes[..20]).is_none());
    }
}

//! Making keys without keeping others waiting.

use std::sync::Arc;
use std::time::Duration;

use holdfast_keys::x509::{Curve, KeyAlgorithm, PrivateKey};
use holdfast_logical::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error::failed;

/// RSA keys that are made at the same time, each on a thread of its own. More would only take the
/// processors from everyone else.
const AT_ONCE: usize = 2;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes keys.
pub(super) struct Generator(Arc<Semaphore>);

impl Default for Generator {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Generator {
    /// Makes a key. RSA keys are made on a thread of their own, a few at a time.
    ///
    /// # Errors
    /// Too many wait already.
    pub(super) async fn generate(&self, algorithm: KeyAlgorithm) -> Result<PrivateKey, Error> {
        let failed = failed("make a key");
        if !matches!(algorithm, KeyAlgorithm::Rsa(_)) {
            return PrivateKey::generate(algorithm).map_err(failed);
        }
        let Ok(Ok(turn)) = timeout(PATIENCE, self.0.clone().acquire_owned()).await else {
            return Err(Error::Busy("too many keys are being made; try again later".to_owned()));
        };
        let made = tokio::task::spawn_blocking(move || {
            let key = PrivateKey::generate(algorithm);
            drop(turn);
            key
        });
        made.await.map_err(|error| Error::internal("make a key", error))?.map_err(failed)
    }
}

/// A kind of key by its name and size, with the defaults filled in.
///
/// # Errors
/// What the client reads.
pub(super) fn key_algorithm(kind: &str, bits: i64) -> Result<KeyAlgorithm, Error> {
    let bits = checked_bits(kind, bits).map_err(Error::invalid)?;
    match (kind, bits) {
        ("ed25519", _) => Ok(KeyAlgorithm::Ed25519),
        ("ec", 256) => Ok(KeyAlgorithm::Ec(Curve::P256)),
        ("ec", 384) => Ok(KeyAlgorithm::Ec(Curve::P384)),
        ("ec", 521) => Ok(KeyAlgorithm::Ec(Curve::P521)),
        ("rsa", bits) => Ok(KeyAlgorithm::Rsa(bits as u32)),
        ("any", _) => Err(Error::invalid("unknown key type: any")),
        // P-224, which a role may name, but which our cryptography does not have.
        (_, bits) => Err(Error::invalid(format!("EC keys of {bits} bits are not supported"))),
    }
}

/// The size of a key with the default filled in.
///
/// # Errors
/// A kind or a size that is none.
pub(super) fn checked_bits(kind: &str, bits: i64) -> Result<i64, String> {
    let default = match kind {
        "rsa" => 2048,
        "ec" => 256,
        _ => 0,
    };
    let bits = if bits == 0 { default } else { bits };
    match (kind, bits) {
        ("rsa", ..2048) => {
            Err(format!("RSA keys < 2048 bits are unsafe and not supported: got {bits}"))
        }
        ("rsa", 2048 | 3072 | 4096 | 8192) | ("ec", 224 | 256 | 384 | 521) => Ok(bits),
        ("rsa", _) => Err(format!("unsupported bit length for RSA key: {bits}")),
        ("ec", _) => Err(format!("unsupported bit length for EC key: {bits}")),
        ("any" | "ed25519", _) => Ok(bits),
        _ => Err(format!("unknown key type {kind}")),
    }
}

/// The size of the hash in signatures with the default filled in.
///
/// # Errors
/// A size that is none.
pub(super) fn checked_signature_bits(kind: &str, bits: i64) -> Result<i64, String> {
    match (kind, bits) {
        ("ec", _) => Ok(bits),
        ("rsa", 0) => Ok(256),
        ("any" | "ed25519", _) => Ok(0),
        (_, 256 | 384 | 512) => Ok(bits),
        _ => Err(format!("unsupported hash signature algorithm: {bits}")),
    }
}

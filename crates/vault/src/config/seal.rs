//! `seal "shamir"` and `seal "static"`.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_barrier::{SealConfig, StaticKey, StaticKeyError};
use holdfast_hcl::{Block, Problems};
use holdfast_types::SecretBytes;
use zeroize::Zeroizing;

use super::ConfigError;

/// The length of a static seal's key.
const KEY_LENGTH: usize = 32;

/// What opens the barrier.
#[derive(Debug)]
pub enum SealSettings {
    /// Operators, with shares of a key.
    Shamir,
    /// A key that is there at the start.
    Static {
        /// What new seals are made with.
        current: SealKey,
        /// What an older one may have been made with.
        previous: Option<SealKey>,
    },
}

impl SealSettings {
    /// The barrier's view of it.
    ///
    /// # Errors
    /// A key that is none.
    pub fn barrier(&self) -> Result<SealConfig, StaticKeyError> {
        let key = |key: &SealKey| StaticKey::parse(key.id.clone(), &key.key);
        let Self::Static { current, previous } = self else { return Ok(SealConfig::Shamir) };
        let previous = previous.as_ref().map(key).transpose()?;
        Ok(SealConfig::Static { current: key(current)?, previous })
    }
}

/// A key of 32 bytes and its permanent name.
#[derive(Debug, Clone)]
pub struct SealKey {
    /// Its name.
    pub id: String,
    /// The key.
    pub key: SecretBytes,
}

/// A seal as the operator wrote it.
#[derive(Debug)]
pub(super) enum SealFile {
    Shamir,
    Static {
        current_key_id: Option<String>,
        current_key: Option<Zeroizing<String>>,
        previous_key_id: Option<String>,
        previous_key: Option<Zeroizing<String>>,
    },
}

impl SealFile {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        match block.labels[..] {
            ["shamir"] => {
                block.settings(problems).finish();
                Some(Self::Shamir)
            }
            ["static"] => {
                let mut settings = block.settings(problems);
                let this = Self::Static {
                    current_key_id: settings.string("current_key_id"),
                    current_key: settings.string("current_key").map(Zeroizing::new),
                    previous_key_id: settings.string("previous_key_id"),
                    previous_key: settings.string("previous_key").map(Zeroizing::new),
                };
                if settings.bool("disabled") == Some(true) {
                    settings.refuse("disabled", "moving to another kind of seal is not supported");
                }
                settings.finish();
                Some(this)
            }
            _ => {
                let expected = "expected \"shamir\" or \"static\" as its type";
                problems.add(block.position, "seal", expected);
                None
            }
        }
    }

    pub(super) fn resolve(
        self,
        problems: &mut ConfigError,
        warnings: &mut Vec<String>,
    ) -> Option<SealSettings> {
        let Self::Static { current_key_id, current_key, previous_key_id, previous_key } = self
        else {
            return Some(SealSettings::Shamir);
        };
        let previous = match (previous_key_id, previous_key) {
            (None, None) => Ok(None),
            (id, key) => seal_key("previous", id, key, warnings).map(Some),
        };
        let current = seal_key("current", current_key_id, current_key, warnings);
        match (current, previous) {
            (Ok(current), Ok(previous)) => Some(SealSettings::Static { current, previous }),
            (current, previous) => {
                let messages = [current.err(), previous.err()];
                messages.into_iter().flatten().for_each(|message| problems.add(message));
                None
            }
        }
    }
}

fn seal_key(
    which: &str,
    id: Option<String>,
    key: Option<Zeroizing<String>>,
    warnings: &mut Vec<String>,
) -> Result<SealKey, String> {
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| format!("seal.static.{which}_key_id: is missing"))?;
    let key = key.ok_or_else(|| format!("seal.static.{which}_key: is missing"))?;
    let bytes =
        key_bytes(&key, warnings).map_err(|reason| format!("seal.static.{which}_key: {reason}"))?;
    Ok(SealKey { id, key: bytes })
}

/// The key itself, or where it says to look: `file:///path` or `env://NAME`. Reasons never quote
/// the value.
fn key_bytes(text: &str, warnings: &mut Vec<String>) -> Result<SecretBytes, String> {
    let wrong = "is no key: expected 32 bytes, in base64 or hexadecimal";
    if let Some(path) = text.strip_prefix("file://") {
        let bytes =
            std::fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
        let bytes = Zeroizing::new(bytes);
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            warnings.push(format!(
                "{path}, which opens every secret, can be read by others (mode {:o})",
                mode & 0o777
            ));
        }
        if bytes.len() == KEY_LENGTH {
            return Ok(SecretBytes::new(bytes.to_vec()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| format!("{path} {wrong}"))?;
        return decode(text.trim()).ok_or_else(|| format!("{path} {wrong}"));
    }
    if let Some(name) = text.strip_prefix("env://") {
        let value = std::env::var(name)
            .map(Zeroizing::new)
            .map_err(|_| format!("the environment variable {name} is not set"))?;
        return decode(value.trim()).ok_or_else(|| format!("the variable {name} {wrong}"));
    }
    decode(text).ok_or_else(|| wrong.to_owned())
}

fn decode(text: &str) -> Option<SecretBytes> {
    let bytes = hex::decode(text).or_else(|_| STANDARD.decode(text)).ok()?;
    let bytes = SecretBytes::new(bytes);
    (bytes.expose().len() == KEY_LENGTH).then_some(bytes)
}

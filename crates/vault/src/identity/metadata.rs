//! What metadata may be: as much as OpenBao takes, in its words.

use holdfast_logical::Error;

use super::record::Metadata;
use crate::core::answer::one_error;

const PAIRS: usize = 64;
const KEY: usize = 128;
const VALUE: usize = 512;

/// Checks the metadata of an entity or a group (`of`).
///
/// # Errors
/// 400 with the first rule broken; OpenBao says the same with 500.
pub(super) fn check(of: &str, metadata: &Metadata) -> Result<(), Error> {
    let refuse = |why: String| Err(one_error(400, &format!("invalid {of} metadata: {why}")));
    if metadata.len() > PAIRS {
        return refuse(format!(
            "metadata cannot contain more than {PAIRS} key/value pairs, provided {}",
            metadata.len()
        ));
    }
    for (key, value) in metadata {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let problem = if key.is_empty() {
            "key cannot be blank".to_owned()
        } else if !key.chars().all(plain) {
            "key contains invalid characters".to_owned()
        } else if key.len() > KEY {
            format!("key is too long (limit: {KEY} characters)")
        } else if value.len() > VALUE {
            format!("value is too long (limit: {VALUE} characters)")
        } else {
            continue;
        };
        return refuse(format!("failed to load metadata pair ({key:?}, {value:?}): {problem}"));
    }
    Ok(())
}

/// Checks the metadata that operators give an alias.
///
/// # Errors
/// As [`check`].
pub(super) fn check_custom(metadata: &Metadata) -> Result<(), Error> {
    let refuse =
        |why: String| Err(one_error(400, &format!("custom_metadata validation failed: {why}")));
    if metadata.len() > PAIRS {
        return refuse(format!(
            "payload must contain at most {PAIRS} keys, provided {}",
            metadata.len()
        ));
    }
    for (key, value) in metadata {
        if key.is_empty() || key.len() > KEY {
            return refuse(format!(
                "length of key {key:?} is {} but must be 0 < len(key) <= {KEY}",
                key.len()
            ));
        }
        if value.is_empty() || value.len() > VALUE {
            return refuse(format!(
                "length of value for key {key:?} is {} but must be 0 < len(value) <= {VALUE}",
                value.len()
            ));
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            let (what, text) = if key.chars().any(char::is_control) {
                ("key", key)
            } else {
                ("value for key", key)
            };
            return refuse(format!("{what} {text:?} contains unprintable characters"));
        }
    }
    Ok(())
}

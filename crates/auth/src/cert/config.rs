//! `config`: what holds for all logins.

use holdfast_logical::{Error, Fields};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const MAX_CACHE: i64 = 100_000;

/// What an operator wrote, checked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// Whether a renewal does without the certificate that logged in.
    pub(super) disable_binding: bool,
    /// Whether a login's metadata becomes its alias's, too.
    pub(super) enable_identity_alias_metadata: bool,
    /// Kept and printed, without effect: OCSP is not supported.
    ocsp_cache_size: i64,
}

impl Config {
    /// Takes over the fields of a request; those that are missing stay.
    pub(super) fn update(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        if let Some(flag) = fields.bool("disable_binding")? {
            self.disable_binding = flag;
        }
        if let Some(flag) = fields.bool("enable_identity_alias_metadata")? {
            self.enable_identity_alias_metadata = flag;
        }
        if let Some(size) = fields.integer("ocsp_cache_size")? {
            if !(2..=MAX_CACHE).contains(&size) {
                return Err(Error::invalid(format!(
                    "invalid cache size, must be >= 2 and <= {MAX_CACHE}"
                )));
            }
            self.ocsp_cache_size = size;
        }
        Ok(())
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        json!({
            "disable_binding": self.disable_binding,
            "enable_identity_alias_metadata": self.enable_identity_alias_metadata,
            "ocsp_cache_size": self.ocsp_cache_size,
        })
    }
}

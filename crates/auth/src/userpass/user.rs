//! A user: a password, and what tokens it gives.

use holdfast_logical::{Error, Fields};
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::token_params::{OldName, RoleTokens};

/// The names from before `token_*` that this method takes.
const OLD_NAMES: &[OldName] =
    &[OldName::Policies, OldName::Ttl, OldName::MaxTtl, OldName::BoundCidrs];

/// A user as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct User {
    /// bcrypt, in its usual form of 60 characters.
    pub(super) password_hash: SecretString,
    pub(super) tokens: RoleTokens,
}

impl User {
    /// Takes over the fields of a request but the password; those that are missing stay.
    pub(super) fn update(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        self.tokens.update(fields, OLD_NAMES)
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        let mut data = Map::new();
        self.tokens.print(&mut data);
        Value::Object(data)
    }
}

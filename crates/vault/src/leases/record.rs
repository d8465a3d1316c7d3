//! What is stored of a lease, and under which keys.

use aws_lc_rs::digest;
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

use crate::tokens::TokenHash;

/// What lies under `id/<lease id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stored {
    /// The lease of something that a backend made.
    Secret(LeaseRecord),
    /// The life of a token, whose entry has the rest.
    Token(TokenHash),
}

/// The lease of something that a backend made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    /// The token that it dies with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<TokenHash>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it is looked at next: its end, or later where revoking has failed before.
    pub due_at: Timestamp,
    /// The life that it was first given, and is given again by a renewal without increment.
    pub ttl: Duration,
    /// The longest life with renewals. Zero: the mount's limit holds.
    #[serde(default)]
    pub max_ttl: Duration,
    /// No renewal goes past this: the end of the batch token that asked for it. None: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_by: Option<Timestamp>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// When it last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renewal: Option<Timestamp>,
    /// What the backend needs.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub internal: Value,
    /// How often revoking has failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Why revoking was given up: it is irrevocable, until an operator acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where the lease `id` is stored.
pub(super) fn id_key(id: &str) -> String {
    format!("id/{id}")
}

/// Where it is found by its time: keys sort by it. Times before 1970 count as 1970.
pub(super) fn due_key(id: &str, at: Timestamp) -> String {
    format!("{}-{}", due_prefix(at), short_hash(id))
}

/// What all keys of leases that are due by `at` sort below, or begin with.
pub(super) fn due_prefix(at: Timestamp) -> String {
    format!("due/{:016x}", at.as_millisecond().max(0))
}

/// Where it is found by the token that it dies with.
pub(super) fn owner_key(owner: TokenHash, id: &str) -> String {
    format!("owner/{owner}/{}", short_hash(id))
}

/// Where it is found when revoking was given up.
pub(super) fn given_up_key(id: &str) -> String {
    format!("given-up/{}", short_hash(id))
}

/// 32 hex digits of the id's SHA-256: ids hold slashes, which would make folders.
fn short_hash(id: &str) -> String {
    hex::encode(&digest::digest(&digest::SHA256, id.as_bytes()).as_ref()[..16])
}

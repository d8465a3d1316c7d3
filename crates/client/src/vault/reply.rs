//! What the API answers, as far as callers look into it.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_types::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The envelope of most answers. Its data is secret: `Debug` leaves it out.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// Names this request in the server's audit log.
    #[serde(deserialize_with = "or_default")]
    pub request_id: String,
    /// The lease, or empty.
    #[serde(deserialize_with = "or_default")]
    pub lease_id: String,
    /// How long the lease lasts, in seconds.
    #[serde(deserialize_with = "or_default")]
    pub lease_duration: u64,
    /// Whether the lease can be renewed.
    #[serde(deserialize_with = "or_default")]
    pub renewable: bool,
    /// What was asked for.
    pub data: Option<Map<String, Value>>,
    /// Where the answer itself is to be had, when a wrapped one was asked for.
    pub wrap_info: Option<WrapInfo>,
    /// A new or renewed token.
    pub auth: Option<Auth>,
    /// What the server wants a person to know.
    #[serde(deserialize_with = "or_default")]
    pub warnings: Vec<String>,
}

/// A token that stands for an answer, once.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WrapInfo {
    /// The token to unwrap.
    pub token: SecretString,
    /// Its accessor.
    pub accessor: String,
    /// How long it lasts, in seconds.
    pub ttl: u64,
    /// When it was made, as RFC 3339.
    pub creation_time: String,
    /// The path whose answer it holds.
    pub creation_path: String,
    /// The accessor of the token inside, where the answer is one.
    pub wrapped_accessor: String,
}

/// A token and what it is good for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// The token.
    #[serde(deserialize_with = "or_default")]
    pub client_token: SecretString,
    /// Names it without being it.
    #[serde(deserialize_with = "or_default")]
    pub accessor: String,
    /// All its policies.
    #[serde(deserialize_with = "or_default")]
    pub policies: Vec<String>,
    /// Those it has of its own.
    #[serde(deserialize_with = "or_default")]
    pub token_policies: Vec<String>,
    /// Those that come from its entity.
    #[serde(deserialize_with = "or_default")]
    pub identity_policies: Vec<String>,
    /// What the login method says about the caller.
    #[serde(deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    /// How long it lasts, in seconds; 0 for ever.
    #[serde(deserialize_with = "or_default")]
    pub lease_duration: u64,
    /// Whether it can be renewed.
    #[serde(deserialize_with = "or_default")]
    pub renewable: bool,
    /// The entity it belongs to, or empty.
    #[serde(deserialize_with = "or_default")]
    pub entity_id: String,
    /// `service` or `batch`.
    #[serde(deserialize_with = "or_default")]
    pub token_type: String,
    /// Whether it outlives the token that made it.
    #[serde(deserialize_with = "or_default")]
    pub orphan: bool,
    /// How many requests it is good for; 0 for any number.
    #[serde(deserialize_with = "or_default")]
    pub num_uses: u64,
}

/// `sys/seal-status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SealStatus {
    /// `shamir`, `static`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether there is a store.
    pub initialized: bool,
    /// Whether it is closed.
    pub sealed: bool,
    /// How many shares open it.
    pub t: u64,
    /// How many shares there are.
    pub n: u64,
    /// How many shares were given so far.
    pub progress: u64,
    /// Names the unsealing under way.
    #[serde(deserialize_with = "or_default")]
    pub nonce: String,
    /// The server's version.
    pub version: String,
    /// When that version was made: OpenBao's name for it.
    pub commit_date: Option<String>,
    /// When that version was made: Vault's name for it.
    pub build_date: Option<String>,
    /// Whether the seal is being changed.
    pub migration: bool,
    /// The cluster, once unsealed.
    pub cluster_name: Option<String>,
    /// The cluster, once unsealed.
    pub cluster_id: Option<String>,
    /// Whether a key outside opens it, and the shares only recover it.
    pub recovery_seal: bool,
    /// `sqlite`, `inmem`, `raft`, ...
    #[serde(deserialize_with = "or_default")]
    pub storage_type: String,
    /// What the server wants a person to know.
    #[serde(deserialize_with = "or_default")]
    pub warnings: Vec<String>,
}

/// `sys/health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Whether there is a store.
    pub initialized: bool,
    /// Whether it is closed.
    pub sealed: bool,
    /// Whether another server of the cluster is the active one.
    pub standby: bool,
    /// The server's clock, in seconds since 1970.
    pub server_time_utc: i64,
    /// The server's version.
    pub version: String,
    /// The cluster, once unsealed.
    pub cluster_name: Option<String>,
    /// The cluster, once unsealed.
    pub cluster_id: Option<String>,
}

/// What `sys/init` is asked for. Zero stands for "not given".
#[derive(Debug, Clone, Default, Serialize)]
pub struct InitRequest {
    /// Into how many shares to split the unseal key.
    #[serde(skip_serializing_if = "is_zero")]
    pub secret_shares: u64,
    /// How many of them open the seal.
    #[serde(skip_serializing_if = "is_zero")]
    pub secret_threshold: u64,
    /// The same for the recovery key of a seal with a key outside.
    #[serde(skip_serializing_if = "is_zero")]
    pub recovery_shares: u64,
    /// The same for the recovery key of a seal with a key outside.
    #[serde(skip_serializing_if = "is_zero")]
    pub recovery_threshold: u64,
}

/// What `sys/init` gives, once and never again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InitReply {
    /// The shares of the unseal key, hexadecimal.
    #[serde(deserialize_with = "or_default")]
    pub keys: Vec<SecretString>,
    /// The same, base64.
    #[serde(deserialize_with = "or_default")]
    pub keys_base64: Vec<SecretString>,
    /// The shares of the recovery key, hexadecimal.
    #[serde(deserialize_with = "or_default")]
    pub recovery_keys: Vec<SecretString>,
    /// The same, base64.
    #[serde(deserialize_with = "or_default")]
    pub recovery_keys_base64: Vec<SecretString>,
    /// A token that may do everything.
    pub root_token: SecretString,
}

/// What `sys/unseal` is asked for.
#[derive(Debug, Clone)]
pub enum UnsealRequest {
    /// Take this share, hexadecimal or base64.
    Key(SecretString),
    /// Forget the shares given so far.
    Reset,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("request_id", &self.request_id)
            .field("lease_id", &self.lease_id)
            .field("lease_duration", &self.lease_duration)
            .field("renewable", &self.renewable)
            .field("data", &self.data.as_ref().map(|data| data.keys().collect::<Vec<_>>()))
            .field("wrap_info", &self.wrap_info)
            .field("auth", &self.auth)
            .field("warnings", &self.warnings)
            .finish()
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Go writes the nothing of a list or a map as `null`.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

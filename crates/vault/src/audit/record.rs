//! What is written down of each request and each answer, before values are hashed.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_logical::{Connection, MountInfo, Operation};
use holdfast_types::{SecretString, Timestamp};
use serde_json::{Map, Value};

/// Who made the request, as far as the core knows at that moment.
#[derive(Debug, Clone, Default)]
pub struct AuthRecord {
    /// The token itself: hashed by every device, never written.
    pub client_token: Option<SecretString>,
    /// Its accessor: hashed, unless the device says `hmac_accessor=false`.
    pub accessor: String,
    /// Its display name.
    pub display_name: String,
    /// All policies in force.
    pub policies: Vec<String>,
    /// The token's own.
    pub token_policies: Vec<String>,
    /// Its identity's.
    pub identity_policies: Vec<String>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// The entity it acts for, or empty.
    pub entity_id: String,
    /// `service` or `batch`.
    pub token_type: String,
    /// Its life at issue, in seconds.
    pub token_ttl: u64,
    /// When it was issued.
    pub token_issue_time: Option<Timestamp>,
    /// The policy decision: true, false, or none where it never came to one.
    pub allowed: Option<bool>,
    /// The names of the policies that granted it.
    pub granting_policies: Vec<String>,
}

/// What a record shows that is hashed, or left out, where nobody has said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Names of fields of the request that are not hashed, at any depth.
    pub request_keys: Vec<String>,
    /// The same of the answer.
    pub response_keys: Vec<String>,
    /// Header fields of the request: name, value, whether it is hashed.
    pub headers: Vec<(String, String, bool)>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// When it arrived.
    pub time: Timestamp,
    /// Its id.
    pub id: String,
    /// What it asks for.
    pub operation: Operation,
    /// The full path, such as `kv/data/app`.
    pub path: String,
    /// Its fields: every string value is hashed.
    pub data: Map<String, Value>,
    /// The mount it goes to; none before routing or where there is none.
    pub mount: Option<Arc<MountInfo>>,
    /// The wire.
    pub connection: Connection,
    /// The header fields. Those that are written down stand in `shown`.
    pub headers: BTreeMap<String, String>,
    /// What an operator wants to see. None: nothing.
    pub shown: Option<Box<Shown>>,
    /// `X-Vault-Wrap-TTL`, in seconds.
    pub wrap_ttl: u64,
    /// Who made it.
    pub auth: AuthRecord,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct ResponseRecord {
    /// Its `data`: every string value is hashed.
    pub data: Option<Map<String, Value>>,
    /// The token that it carries.
    pub auth: Option<AuthRecord>,
    /// The lease that it carries.
    pub lease_id: Option<String>,
    /// The wrapping token in place of `data`, with its accessor, creation path and TTL.
    pub wrap: Option<WrapRecord>,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Why the request was refused or failed.
    pub error: Option<String>,
}

/// The wrapping of an answer.
#[derive(Debug, Clone, Default)]
pub struct WrapRecord {
    /// The wrapping token: hashed.
    pub token: SecretString,
    /// Its accessor: hashed.
    pub accessor: String,
    /// Its life in seconds.
    pub ttl: u64,
    /// When it was made.
    pub creation_time: Option<Timestamp>,
    /// The path whose answer it holds.
    pub creation_path: String,
    /// The accessor of the token inside, if one is: hashed.
    pub wrapped_accessor: String,
}

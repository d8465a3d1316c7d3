//! What a backend answers.

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_types::Timestamp;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a backend answers. The core adds the envelope, the lease, the token or the wrapping.
#[derive(Default)]
pub struct Response {
    /// Goes into `data`.
    pub data: Option<Map<String, Value>>,
    /// Asks for a lease on `data`.
    pub lease: Option<LeaseSpec>,
    /// The envelope's `lease_duration` where there is no lease: how long a KV v1 secret says that
    /// it may be kept.
    pub ttl: Option<Duration>,
    /// Asks for a token: only login paths may.
    pub auth: Option<Auth>,
    /// Goes into `warnings`.
    pub warnings: Vec<String>,
    /// An HTTP status instead of the usual one, with the body as usual: a deleted KV version
    /// answers 404 with its metadata.
    pub status: Option<u16>,
    /// A body instead of the JSON envelope, such as a CRL. Cannot be wrapped.
    pub raw: Option<RawBody>,
    /// `data` stands at the top level as well as under `data`, as for `sys/mounts`.
    pub flatten: bool,
}

impl Response {
    /// An answer of `data` alone. `value` must be a JSON object.
    pub fn data(value: Value) -> Self {
        match value {
            Value::Object(map) => Self { data: Some(map), ..Self::default() },
            _ => Self::default(),
        }
    }

    /// The answer to a list: `{"keys": [...]}`. An empty list is "not found", so none.
    pub fn list(keys: Vec<String>) -> Option<Self> {
        if keys.is_empty() {
            return None;
        }
        let data = Map::from_iter([("keys".to_owned(), Value::from(keys))]);
        Some(Self { data: Some(data), ..Self::default() })
    }

    /// The same with a warning added.
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    /// The same with another HTTP status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
}

/// A body that is not JSON.
pub struct RawBody {
    /// The MIME type.
    pub content_type: String,
    /// The bytes.
    pub body: Vec<u8>,
}

/// The lease that a backend asks for.
pub struct LeaseSpec {
    /// How long at first; none for the mount's default. The core caps it.
    pub ttl: Option<Duration>,
    /// The longest with renewals; none for the mount's.
    pub max_ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// What the backend needs to renew or revoke it later. Stored behind the barrier.
    pub internal: Value,
    /// Changes that are committed in one batch with the lease record, with full keys (see
    /// `View::absolute`): how a write-ahead record is settled by the lease that takes its place.
    pub settles: Batch,
}

/// A lease that is to be renewed or revoked by the backend that made it.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The lease's id, such as `database/creds/app/Xy...`.
    pub id: String,
    /// The path below the mount that made it.
    pub path: String,
    /// What the backend gave as [`LeaseSpec::internal`].
    pub internal: Value,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends now; at a renewal, when it will end after it (already capped by the core).
    pub expires_at: Timestamp,
}

/// The kind of a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// What the mount says; a service token, unless its `token_type` is tuned.
    #[default]
    Default,
    /// Stored, renewable, with children.
    Service,
    /// Encrypted into itself, not stored, not renewable.
    Batch,
    /// A service token unless the request says batch.
    DefaultService,
    /// A batch token unless the request says service.
    DefaultBatch,
}

impl TokenKind {
    /// The name on the wire: `service`, `batch`, `default-service`, `default-batch`, `default`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Service => "service",
            Self::Batch => "batch",
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
        }
    }
}

/// What every login role says of the tokens it makes (`token_ttl`, `token_policies`, ...).
/// Durations of zero mean "not set". Stored with each token of a login, so that what is not set is
/// left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenParams {
    /// Life at first.
    #[serde(skip_serializing_if = "is_default")]
    pub token_ttl: Duration,
    /// The longest with renewals.
    #[serde(skip_serializing_if = "is_default")]
    pub token_max_ttl: Duration,
    /// The longest, set even for periodic tokens.
    #[serde(skip_serializing_if = "is_default")]
    pub token_explicit_max_ttl: Duration,
    /// A periodic token: every renewal gives this much again, without end.
    #[serde(skip_serializing_if = "is_default")]
    pub token_period: Duration,
    /// Policies, beside `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token_policies: Vec<String>,
    /// Leaves `default` out.
    #[serde(skip_serializing_if = "is_default")]
    pub token_no_default_policy: bool,
    /// How often the token can be used; 0: without limit.
    #[serde(skip_serializing_if = "is_default")]
    pub token_num_uses: u64,
    /// Where the token can be used from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token_bound_cidrs: Vec<IpNet>,
    /// Service or batch.
    #[serde(skip_serializing_if = "is_default")]
    pub token_type: TokenKind,
    /// Binds the token to the address that logged in.
    #[serde(skip_serializing_if = "is_default")]
    pub token_strictly_bind_ip: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Who logged in, as the login method knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityAlias {
    /// The name in that method: a role id, a subject, a SPIFFE ID.
    pub name: String,
    /// Metadata of the alias, for templated policies.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The token that a login asks for.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Life, policies and bounds.
    pub params: TokenParams,
    /// Goes into `auth.metadata` and audit.
    pub metadata: BTreeMap<String, String>,
    /// After the mount's path, joined by `-`, this is the token's display name.
    pub display_name: String,
    /// Who logged in. None makes a token without an entity.
    pub alias: Option<EntityAlias>,
    /// The names of the groups that the method found its user in, such as a claim lists. External
    /// groups with such an alias at this mount are those that the entity is in afterwards.
    pub group_aliases: Vec<String>,
    /// What the backend needs to check a renewal.
    pub internal: Value,
    /// Whether the token can be renewed. Batch tokens never can.
    pub renewable: bool,
    /// Uses that this login consumes: committed in one batch with the token (full keys), so that
    /// a `secret_id` is never spent without a token nor a token made without spending it. Dropped
    /// after that commit, not before.
    pub settles: BatchCell,
}

/// A batch that [`Auth`] carries, and what is held until the batch is committed or given up: a
/// lock, so that two logins cannot spend the same last use. Neither is copied when the auth is.
#[derive(Default)]
pub struct BatchCell(pub Batch, pub Option<Box<dyn Any + Send + Sync>>);

impl Clone for BatchCell {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for BatchCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} changes", self.0.0.len())
    }
}

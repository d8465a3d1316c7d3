//! One request, as a backend sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::Timestamp;
use serde_json::{Map, Value};

use crate::{Fields, LookedAt};

/// What is to be done. The HTTP verb gives all but the difference of create and update, which is
/// whether the target exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `GET`
    Read,
    /// `LIST`, or `GET` with `?list=true`
    List,
    /// `SCAN`, or `GET` with `?scan=true`: a list at any depth.
    Scan,
    /// `PUT` or `POST` of what is not there yet
    Create,
    /// `PUT` or `POST` of what is there, or where that makes no difference
    Update,
    /// `PATCH`, with `application/merge-patch+json`
    Patch,
    /// `DELETE`
    Delete,
    /// `GET` with `?help=1`
    Help,
}

impl Operation {
    /// The name in audit records and error messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Help => "help",
        }
    }

    /// Whether a body is written: create or update.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update)
    }
}

/// Who is on the other end of the wire.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The peer's address; none on a Unix socket.
    pub remote_address: Option<IpAddr>,
    /// Its port.
    pub remote_port: u16,
    /// The client's certificate chain in DER, leaf first. TLS proved possession of the leaf's key;
    /// who trusts the chain is for the login method to decide.
    pub client_certificates: Arc<[Vec<u8>]>,
}

/// The mount that a request was routed to.
#[derive(Debug, Clone, Default)]
pub struct MountInfo {
    /// Where it is mounted, such as `kv/` or `auth/approle/`.
    pub path: String,
    /// Its accessor, such as `kv_1a2b3c4d`.
    pub accessor: String,
    /// Its type: `kv`, `approle`.
    pub kind: String,
    /// Its options, such as `version` = `2`.
    pub options: BTreeMap<String, String>,
    /// Life of a lease or token that asks for none. Always resolved: the server's where the mount
    /// sets none.
    pub default_ttl: Duration,
    /// The longest life of a lease or token of this mount. Always resolved.
    pub max_ttl: Duration,
}

/// The token that makes the request, already looked up.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its accessor, which names the token without being it. Empty for a batch token.
    pub accessor: String,
    /// The salted hash under which the token is stored: what a cubbyhole is keyed by.
    pub token_hash: String,
    /// `token-ci`, `approle`, `jwt-spiffe://...`: goes into database user names and audit.
    pub display_name: String,
    /// The names of all policies in force: the token's and its identity's.
    pub policies: Vec<String>,
    /// The entity it acts for, or empty.
    pub entity_id: String,
    /// `meta` from its creation or login.
    pub metadata: BTreeMap<String, String>,
    /// Whether it carries the `root` policy.
    pub is_root: bool,
    /// Service or batch.
    pub kind: crate::TokenKind,
    /// When it ends. None: never.
    pub expires_at: Option<Timestamp>,
}

/// One request, routed and authorised.
#[derive(Debug, Clone)]
pub struct Request {
    /// A random UUID, in the audit log and the answer.
    pub id: String,
    /// What is to be done.
    pub operation: Operation,
    /// The path below the mount, such as `data/app/db`. Percent-escapes are already decoded. For a
    /// list or a scan it is a folder: empty, or with a `/` at its end, whatever the client wrote.
    /// A write never ends in `/`; no segment is `..`.
    pub path: String,
    /// The mount.
    pub mount: Arc<MountInfo>,
    /// The body's fields; for a read, list or delete, the query's, as strings.
    pub data: Map<String, Value>,
    /// The token that makes the request. None on unauthenticated paths.
    pub caller: Option<Caller>,
    /// The wire it came by.
    pub connection: Connection,
    /// The HTTP headers that a backend may need, by lower-case name: only `content-type` and those
    /// that the mount's `passthrough_request_headers` names.
    pub headers: BTreeMap<String, String>,
    /// How long the answer is to be wrapped, if at all.
    pub wrap_ttl: Option<Duration>,
    /// Which of `data` were looked at by way of [`Request::fields`].
    pub looked_at: LookedAt,
}

impl Request {
    /// Typed access to the request's fields.
    pub fn fields(&self) -> Fields<'_> {
        Fields::noting(&self.data, &self.looked_at)
    }

    /// What the client is warned of once the request is answered: the fields that nothing looked
    /// at, and those that the path gives.
    pub fn field_warnings(&self) -> Vec<String> {
        match self.data.is_empty() {
            true => Vec::new(),
            false => self.looked_at.warnings(&self.data),
        }
    }

    /// The path's `/`-separated segments: `data/app/db` gives `["data", "app", "db"]`.
    pub fn segments(&self) -> Vec<&str> {
        self.path.split('/').collect()
    }
}

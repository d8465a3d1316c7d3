//! What ends entries: `cache-clear`, and revocations that pass through.

use serde::Deserialize;
use serde_json::Value;

use super::key::digest;
use super::{Entry, Holds, Key};

/// Which entries end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Clear {
    /// All.
    All,
    /// Answers from paths with this beginning, in a namespace.
    Path { prefix: String, namespace: String },
    /// A token, and what hangs on it.
    Token(Key),
    /// The same by its accessor.
    Accessor(String),
    /// A lease.
    Lease(String),
    /// Leases with this beginning.
    LeasePrefix(String),
}

/// Why a request to clear the cache is none. The stock agent's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClearError {
    #[error("failed to parse JSON input: {0}")]
    Json(String),
    #[error("failed to clear cache: invalid type provided")]
    Kind,
    #[error("failed to clear cache: {0} not provided")]
    Missing(&'static str),
}

/// The body of `/agent/v1/cache-clear`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "type")]
    kind: String,
    value: String,
    namespace: String,
}

impl Clear {
    /// Reads the body of `/agent/v1/cache-clear`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ClearError> {
        if body.is_empty() {
            return Err(ClearError::Json("empty JSON provided".into()));
        }
        // Without the text: it may hold a token.
        let wire: Wire = serde_json::from_slice(body)
            .map_err(|error| ClearError::Json(format!("error at column {}", error.column())))?;
        let value = |what: &'static str| match wire.value.as_str() {
            "" => Err(ClearError::Missing(what)),
            value => Ok(value.to_owned()),
        };
        Ok(match wire.kind.as_str() {
            "all" => Self::All,
            "request_path" => Self::Path {
                prefix: value("request path")?,
                namespace: wire.namespace.trim_matches('/').to_owned(),
            },
            "token" => Self::Token(digest(&value("token")?)),
            "token_accessor" => Self::Accessor(value("token accessor")?),
            "lease" => Self::Lease(value("lease")?),
            _ => return Err(ClearError::Kind),
        })
    }

    pub(super) fn matches(&self, entry: &Entry) -> bool {
        match (self, &entry.holds) {
            (Self::All, _) => true,
            (Self::Path { prefix, namespace }, _) => {
                entry.origin.path.starts_with(prefix)
                    && entry.origin.namespace.trim_matches('/') == namespace
            }
            (Self::Token(token), Holds::Token { token: own, .. }) => own == token,
            (Self::Accessor(accessor), Holds::Token { accessor: own, .. }) => own == accessor,
            (Self::Lease(lease), Holds::Lease { id, .. }) => id == lease,
            (Self::LeasePrefix(prefix), Holds::Lease { id, .. }) => id.starts_with(prefix),
            _ => false,
        }
    }
}

/// What a request revokes, if it is one of those and went well. `path` is below `/v1/`.
pub(crate) fn revoked_by(path: &str, token: Option<&str>, body: &[u8]) -> Option<Clear> {
    let field = |name: &str| {
        let body: Value = serde_json::from_slice(body).ok()?;
        Some(body.get(name)?.as_str()?.to_owned())
    };
    let path = path.trim_matches('/');
    match path {
        "auth/token/revoke-self" => return Some(Clear::Token(digest(token?))),
        "auth/token/revoke" | "auth/token/revoke-orphan" => {
            return Some(Clear::Token(digest(&field("token")?)));
        }
        "auth/token/revoke-accessor" => return Some(Clear::Accessor(field("accessor")?)),
        "sys/leases/revoke" | "sys/revoke" => return Some(Clear::Lease(field("lease_id")?)),
        _ => {}
    }
    let below = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
    let any = |prefixes: &[&str]| prefixes.iter().find_map(|prefix| below(prefix));
    let by_prefix = [
        "sys/leases/revoke-prefix/",
        "sys/leases/revoke-force/",
        "sys/revoke-prefix/",
        "sys/revoke-force/",
    ];
    any(&by_prefix)
        .map(Clear::LeasePrefix)
        .or_else(|| any(&["sys/leases/revoke/", "sys/revoke/"]).map(Clear::Lease))
}

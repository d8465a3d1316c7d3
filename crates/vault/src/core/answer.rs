//! From what a path answers to what goes over the wire. The one place that knows status codes.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;

use holdfast_barrier::EntryError;
use holdfast_logical::{Error, Operation, RawBody, Response};
use holdfast_types::SecretString;
use serde_json::{Map, Value, json};
use tracing::error;

use super::wrapping::WrapInfo;
use crate::tokens::{TokenEntry, TokenHash};
use crate::wire::{Outgoing, OutgoingBody};

/// What a path answers, before leases, audit and wrapping.
pub(crate) struct Answer {
    /// As a backend gives it. None: an empty success.
    pub response: Option<Response>,
    /// The `auth` block.
    pub token: Option<TokenAnswer>,
    /// The lease that was renewed.
    pub lease: Option<LeaseAnswer>,
    /// A complete envelope from an earlier request: what was unwrapped.
    pub envelope: Option<Value>,
    /// Wrap this answer as the answer to that path, whatever the request asked: a rewrap.
    pub wrap: Option<(std::time::Duration, String)>,
    /// A body that goes on after the answer.
    pub ongoing: Option<OutgoingBody>,
}

/// The token in an answer.
pub(crate) struct TokenAnswer {
    /// Empty where the asker only has the accessor.
    pub token: SecretString,
    /// None for a batch token.
    pub hash: Option<TokenHash>,
    pub entry: TokenEntry,
    /// The policies that its identity adds, sorted.
    pub identity_policies: Vec<String>,
    /// Whether this request made it, so that it is revoked where the answer cannot be sent.
    pub fresh: bool,
}

impl TokenAnswer {
    /// All policies in force: the token's own and its identity's.
    pub(crate) fn policies(&self) -> Vec<String> {
        let all: BTreeSet<_> = self.entry.policies.iter().chain(&self.identity_policies).collect();
        all.into_iter().cloned().collect()
    }
}

impl Answer {
    /// An empty success.
    pub(crate) fn none() -> Self {
        Self { response: None, token: None, lease: None, envelope: None, wrap: None, ongoing: None }
    }
}

impl From<Option<Response>> for Answer {
    fn from(response: Option<Response>) -> Self {
        Self { response, ..Self::none() }
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Some(response).into()
    }
}

/// The lease that an answer carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaseAnswer {
    pub id: String,
    pub renewable: bool,
    pub seconds: u64,
}

/// A refusal in the words of Go's multierror, which OpenBao wraps many of its errors in.
pub(crate) fn one_error(status: u16, message: &str) -> Error {
    Error::Status { status, message: multierror(message) }
}

fn multierror(message: &str) -> String {
    format!("1 error occurred:\n\t* {message}\n\n")
}

/// The envelope of an answer.
pub(crate) fn envelope(
    request_id: &str,
    response: &mut Response,
    token: Option<&TokenAnswer>,
    lease: &LeaseAnswer,
) -> Value {
    let warnings = std::mem::take(&mut response.warnings);
    let data = response.data.take();
    let mut top = match (&data, response.flatten) {
        (Some(data), true) => data.clone(),
        _ => Map::new(),
    };
    let mut set = |name: &str, value: Value| top.insert(name.to_owned(), value);
    set("request_id", json!(request_id));
    set("lease_id", json!(lease.id));
    set("renewable", json!(lease.renewable));
    set("lease_duration", json!(lease.seconds));
    set("data", data.map_or(Value::Null, Value::Object));
    set("wrap_info", Value::Null);
    set("warnings", if warnings.is_empty() { Value::Null } else { json!(warnings) });
    set("auth", token.map_or(Value::Null, auth_block));
    Value::Object(top)
}

/// The envelope of an answer that was wrapped. Its warnings are wrapped with it.
pub(crate) fn wrapped_envelope(info: &WrapInfo) -> Value {
    json!({
        "request_id": "",
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": null,
        "wrap_info": info.to_wire(),
        "warnings": null,
        "auth": null,
    })
}

fn auth_block(token: &TokenAnswer) -> Value {
    let entry = &token.entry;
    let mut block = json!({
        "client_token": token.token.expose(),
        "accessor": entry.accessor,
        "policies": token.policies(),
        "token_policies": entry.policies,
        "metadata": if entry.meta.is_empty() { Value::Null } else { json!(entry.meta) },
        "lease_duration": entry.ttl.as_secs(),
        "renewable": entry.renewable,
        "entity_id": entry.entity_id,
        "token_type": entry.kind.as_str(),
        "orphan": entry.parent.is_none(),
        "mfa_requirement": null,
        "num_uses": entry.uses.unwrap_or(0),
    });
    if !token.identity_policies.is_empty() {
        block["identity_policies"] = json!(token.identity_policies);
    }
    block
}

/// Whether a read or list found nothing: 404, whatever else stands in the answer.
pub(crate) fn found_nothing(operation: Operation, response: Option<&Response>) -> bool {
    let looks = matches!(operation, Operation::Read | Operation::List | Operation::Scan);
    looks && response.is_none_or(|response| response.data.is_none() && response.auth.is_none())
}

/// The answer with a body that is not JSON.
pub(crate) fn raw(status: u16, body: RawBody) -> Outgoing {
    let headers = Vec::new();
    Outgoing { status, body: OutgoingBody::Raw(body.content_type, body.body), headers }
}

/// What the client reads of a failure. `id` is the request's.
pub(crate) fn failure(id: &str, failed: &Error) -> Outgoing {
    match failed {
        Error::Invalid(message) | Error::Credentials(message) => Outgoing::errors(400, [message]),
        Error::Refused { told, .. } => failure(id, told),
        Error::Denied => Outgoing::errors(403, [multierror("permission denied")]),
        Error::NotFound => Outgoing::errors(404, Vec::<String>::new()),
        Error::UnsupportedOperation => Outgoing::errors(405, [multierror("unsupported operation")]),
        Error::UnsupportedPath => Outgoing::errors(404, [multierror("unsupported path")]),
        Error::Status { status, message } if message.is_empty() => {
            Outgoing::errors(*status, Vec::<String>::new())
        }
        Error::Status { status, message } => Outgoing::errors(*status, [message]),
        Error::Busy(message) => Outgoing::errors(429, [message]),
        Error::Entry(EntryError::Sealed) => Outgoing::errors(503, ["Vault is sealed"]),
        Error::Upstream { .. } => {
            error!(request.id = id, error = %Chain(failed), "a system behind a mount failed");
            Outgoing::errors(500, [multierror(&Chain(failed).to_string())])
        }
        Error::Internal { .. } | Error::Entry(_) => {
            error!(request.id = id, error = %Chain(failed), "request failed");
            Outgoing::errors(500, [multierror("internal error")])
        }
    }
}

/// What the audit log notes of a failure.
pub(crate) fn failure_text(failed: &Error) -> String {
    match failed {
        Error::Internal { .. } | Error::Entry(_) => "internal error".to_owned(),
        Error::Upstream { .. } => Chain(failed).to_string(),
        other => other.to_string(),
    }
}

/// An error with all its causes on one line.
pub(crate) struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

//! A request as it came off the wire and the answer as it goes back, free of HTTP's types.
//!
//! The listener makes an [`Incoming`] of each request and hands it to the core; what it gets back
//! is complete. So the core is tested without sockets, and only `http` knows hyper.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_logical::Connection;
use holdfast_types::SecretString;
use serde_json::{Map, Value};

/// What the HTTP verb and query ask for. Whether a write creates or updates is found out later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `GET`
    Read,
    /// `LIST`, or `GET` with `?list=true`
    List,
    /// `SCAN`, or `GET` with `?scan=true`
    Scan,
    /// `PUT`, `POST`
    Write,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `GET` with `?help=1`
    Help,
}

/// A request off the wire. Sizes are already bounded; nothing else is checked.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// A random UUID made by the listener.
    pub id: String,
    /// What is asked for.
    pub verb: Verb,
    /// What follows `/v1/`, percent-decoded, as UTF-8 without NUL: `kv/data/app`.
    pub path: String,
    /// The body's fields; for verbs without a body the query's, each a string (or an array of
    /// strings where it is repeated).
    pub data: Map<String, Value>,
    /// `X-Vault-Token`, else `Authorization: Bearer`.
    pub token: Option<SecretString>,
    /// Whether the token came as `Authorization: Bearer`.
    pub is_bearer: bool,
    /// `X-Vault-Wrap-TTL`.
    pub wrap_ttl: Option<Duration>,
    /// Header fields by lower-case name, without the token.
    pub headers: BTreeMap<String, String>,
    /// The wire.
    pub connection: Connection,
}

/// A complete answer.
#[derive(Debug)]
pub struct Outgoing {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: OutgoingBody,
    /// Header fields beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum OutgoingBody {
    /// None: 204, or 200 for `HEAD`-like answers.
    Empty,
    /// A JSON document; a newline is added, as Go's encoder does.
    Json(Value),
    /// Anything else, with its MIME type.
    Raw(String, Vec<u8>),
    /// Messages that come as they come, over a WebSocket.
    Messages(Box<dyn Messages>),
    /// Text that comes as it comes, its end with the connection's.
    Lines(Box<dyn Messages>),
}

/// What goes on after an answer.
#[async_trait]
pub trait Messages: Send + 'static {
    /// The next message, once there is one. May be dropped while it waits: nothing is lost by it.
    ///
    /// # Errors
    /// There will be no more.
    async fn next(&mut self) -> Result<String, Ended>;
}

impl std::fmt::Debug for dyn Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Messages")
    }
}

/// Why there are no more messages, as a WebSocket is closed with it (RFC 6455, 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The status code.
    pub code: u16,
    /// For people.
    pub reason: &'static str,
}

impl Outgoing {
    /// `{"errors": [...]}` with `status`.
    pub fn errors<S: Into<String>>(status: u16, errors: impl IntoIterator<Item = S>) -> Self {
        let errors: Vec<String> = errors.into_iter().map(Into::into).collect();
        Self::json(status, serde_json::json!({ "errors": errors }))
    }

    /// A JSON document with `status`.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body: OutgoingBody::Json(body), headers: Vec::new() }
    }

    /// 204.
    pub fn empty() -> Self {
        Self { status: 204, body: OutgoingBody::Empty, headers: Vec::new() }
    }
}

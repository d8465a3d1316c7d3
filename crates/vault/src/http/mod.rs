//! The listener: sockets, TLS, HTTP/1 and HTTP/2, and everything that is decided before anyone
//! looks at what a request means.
//!
//! Bounds on time, size and number hold here, so that what lies behind can take each request for
//! complete and modest. **Invariant:** nothing behind this module knows hyper.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::wire::{Incoming, Outgoing};

mod activity;
mod bind;
mod body;
mod detachable;
mod in_flight;
mod inherited;
mod json;
mod path;
mod request;
mod response;
mod serve;
mod shares;
mod tls;
mod websocket;

pub use bind::{BindError, SocketSettings};
pub use in_flight::InFlight;
pub use inherited::Inherited;
pub use serve::{Listener, ListenerError, Server};
pub use tls::{ClientCertificates, Tls, TlsError, TlsSettings};

/// What answers the requests.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Runs to its end even where the client has hung up.
    async fn handle(&self, incoming: Incoming) -> Outgoing;

    /// Answers `GET sys/metrics` without a token, on a listener that is set up so.
    async fn open_metrics(&self, incoming: Incoming) -> Outgoing {
        self.handle(incoming).await
    }

    /// The answer to an `OPTIONS` request with these header fields, by lower-case name. None: the
    /// method is not allowed.
    fn preflight(&self, _headers: &BTreeMap<String, String>) -> Option<Outgoing> {
        None
    }
}

/// What one listener bears with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest body in bytes; more is 413.
    pub body: usize,
    /// For the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// For a request's body; more is 408.
    pub body_timeout: Duration,
    /// How long a connection rests between two requests.
    pub idle_timeout: Duration,
    /// For the answer; more is 503, while the work goes on to its end.
    pub request_timeout: Duration,
    /// Whether `sys/metrics` needs no token.
    pub open_metrics: bool,
    /// How many percent of the process's connections, requests and bodies one address may have; all
    /// with 100, as for a load balancer that all clients come through.
    pub address_share: u8,
}

impl Default for Limits {
    /// As in OpenBao.
    fn default() -> Self {
        Self {
            body: 32 * 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            request_timeout: Duration::from_secs(90),
            open_metrics: false,
            address_share: 50,
        }
    }
}

/// What the process as a whole bears with.
#[derive(Debug, Clone)]
pub struct Capacity {
    /// Connections; more wait in the kernel.
    pub connections: usize,
    /// Requests under way; more are 503.
    pub requests: usize,
    /// Bodies over 4 KiB that are read at the same time; more wait.
    pub bodies: usize,
    /// Bodies over 256 KiB that are read at the same time; more wait.
    pub large_bodies: usize,
    /// How long a stop waits for the requests under way.
    pub drain: Duration,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests: 1024,
            bodies: 1024,
            large_bodies: 8,
            drain: Duration::from_secs(15),
        }
    }
}

/// A listener's settings, checked.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Where the socket comes from.
    pub socket: SocketSettings,
    /// TLS; none for plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Lets plain HTTP be served beyond this machine.
    pub cleartext_anywhere: bool,
    /// Its bounds.
    pub limits: Limits,
}

/// What the server takes from outside.
#[derive(Clone)]
pub struct Parts {
    /// What answers.
    pub handler: Arc<dyn Handler>,
    /// The time.
    pub clock: Arc<dyn holdfast_types::Clock>,
    /// Randomness, for request ids.
    pub random: Arc<dyn holdfast_types::Random>,
    /// Where the requests under way are listed.
    pub in_flight: Arc<InFlight>,
}

#[cfg(test)]
mod tests;

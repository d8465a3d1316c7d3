//! Being told of changes, over a WebSocket.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::Upgraded;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::transport::{Outgoing, Transport};
use super::{ConfigError, Method, VaultClient, VaultConfig, VaultError};

/// The largest event.
const EVENT: usize = 1 << 20;
/// A server that is silent for so long is gone: it asks every 20 seconds whether we are there.
const SILENCE: Duration = Duration::from_secs(60);

const QUERY: &[(&str, &str)] = &[("json", "true")];

fn path(kinds: &str) -> String {
    format!("sys/events/subscribe/{kinds}")
}

/// Events as they come.
pub struct EventStream {
    socket: WebSocketStream<Upgraded>,
}

/// Why no more events come. What was missed is found by reading anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// The server closed it: the token has ended (1008), we were too slow (1013), the server is
    /// sealed or stops (1001).
    Closed {
        /// The status code of RFC 6455.
        code: u16,
        /// What the server says.
        reason: String,
    },
    /// The connection is gone.
    Lost,
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code, reason } => write!(f, "the server closed it: {reason} ({code})"),
            Self::Lost => f.write_str("the connection was lost"),
        }
    }
}

impl std::error::Error for StreamEnd {}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server cannot be reached, or refuses: a 404 is a server that has none.
    #[error(transparent)]
    Server(#[from] VaultError),
}

impl EventStream {
    /// Subscribes to the events whose kind matches `kinds`, such as `kv-v2/data-write` or `kv-v2/*`,
    /// with the token of `config`. Those that it may not know of are left out by the server.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub async fn subscribe(config: &VaultConfig, kinds: &str) -> Result<Self, SubscribeError> {
        let transport = Transport::for_streams(config)?;
        let mut asking = HeaderMap::new();
        asking.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        asking.insert(UPGRADE, HeaderValue::from_static("websocket"));
        asking.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let key = HeaderValue::try_from(generate_key());
        asking.insert(SEC_WEBSOCKET_KEY, key.map_err(|_| VaultError::Header("key"))?);
        let outgoing = Outgoing {
            method: Method::GET,
            path: &path(kinds),
            query: QUERY,
            body: None,
            token: config.token.as_ref(),
            namespace: config.namespace.as_deref(),
            wrap_ttl: None,
        };
        let connection = transport.upgrade(&outgoing, asking).await?;
        let bounds =
            WebSocketConfig::default().max_message_size(Some(EVENT)).max_frame_size(Some(EVENT));
        let socket = WebSocketStream::from_raw_socket(connection, Role::Client, Some(bounds)).await;
        Ok(Self { socket })
    }

    /// Shows what [`Self::subscribe`] would ask, where `client` shows its requests and sends none.
    ///
    /// # Errors
    /// [`VaultError::Rehearsed`]: it was shown.
    pub fn rehearse(client: &VaultClient, kinds: &str) -> Result<(), VaultError> {
        client.rehearse(Method::GET, &path(kinds), QUERY)
    }

    /// The next event: `CloudEvents` in JSON. May be dropped while it waits.
    ///
    /// # Errors
    /// There will be no more.
    pub async fn next(&mut self) -> Result<Value, StreamEnd> {
        loop {
            let heard = tokio::time::timeout(SILENCE, self.socket.next()).await;
            match heard.map_err(|_| StreamEnd::Lost)? {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(|_| StreamEnd::Lost);
                }
                Some(Ok(Message::Close(frame))) => {
                    let Some(frame) = frame else { return Err(StreamEnd::Lost) };
                    let reason = frame.reason.to_string();
                    return Err(StreamEnd::Closed { code: frame.code.into(), reason });
                }
                // Pings are answered by reading.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(StreamEnd::Lost),
            }
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

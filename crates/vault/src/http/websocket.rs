//! A connection that goes on as a WebSocket (RFC 6455), on which the server alone has to say
//! something.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::wire::{Ended, Messages};

/// How often a silent reader is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);
/// How long a reader may take to take in a message, or to say good-bye.
const PATIENCE: Duration = Duration::from_secs(10);
/// Readers have nothing to say but pings: this is the most that they may say at once, in bytes.
const HEARD: usize = 4096;
/// The most that waits for a reader, in bytes.
const WAITING: usize = 1 << 20;

/// What a request asks for that wants its connection to go on as a WebSocket.
pub(super) struct Upgrade {
    /// The connection, once the answer has been sent.
    pub connection: OnUpgrade,
    /// The answer: 101.
    pub answer: Response<Full<Bytes>>,
}

impl Upgrade {
    /// None where the request asks for no such thing, or not as the standard says (4.2.1).
    pub(super) fn wanted<B>(request: &mut Request<B>) -> Option<Self> {
        let headers = request.headers();
        let key = headers.get(SEC_WEBSOCKET_KEY)?;
        let is_asked = request.method() == Method::GET
            && has_word(headers, UPGRADE, "websocket")
            && has_word(headers, CONNECTION, "upgrade")
            && headers.get(SEC_WEBSOCKET_VERSION)? == "13";
        if !is_asked {
            return None;
        }
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = answer.headers_mut();
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
        Some(Self { connection: hyper::upgrade::on(request), answer })
    }
}

/// Whether a header field is a list with that word in it.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// Writes messages until there are no more, the reader goes, or the server stops.
pub(super) async fn write(
    connection: OnUpgrade,
    mut messages: Box<dyn Messages>,
    stopping: CancellationToken,
) {
    let connection = match connection.await {
        Ok(connection) => TokioIo::new(connection),
        Err(error) => return debug!(%error, "a connection did not become a WebSocket"),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(HEARD))
        .max_frame_size(Some(HEARD))
        .max_write_buffer_size(WAITING);
    let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
    let mut ping = tokio::time::interval(PING);
    let ended = loop {
        let message = tokio::select! {
            biased;
            () = stopping.cancelled() => {
                break Ended { code: 1001, reason: "the server stops" };
            }
            heard = socket.next() => match heard {
                // Reading answers pings, and a good-bye.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => break Ended { code: 1003, reason: "nothing is read here" },
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
            next = messages.next() => match next {
                Ok(text) => Message::text(text),
                Err(ended) => break ended,
            },
        };
        match tokio::time::timeout(PATIENCE, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return,
            Ok(Err(error)) => return debug!(%error, "write to a WebSocket"),
            Err(_) => return debug!("a WebSocket's reader takes nothing in"),
        }
    };
    let frame = CloseFrame { code: ended.code.into(), reason: ended.reason.into() };
    let _ = tokio::time::timeout(PATIENCE, socket.close(Some(frame))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_asks_for_is_an_upgrade() {
        let usual = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let ask = |method: Method, fields: &[(&str, &str)]| {
            let mut request = Request::new(());
            *request.method_mut() = method;
            for (name, value) in fields {
                let name = HeaderName::try_from(*name).unwrap();
                request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
            }
            Upgrade::wanted(&mut request)
        };
        let upgrade = ask(Method::GET, &usual).unwrap();
        assert_eq!(upgrade.answer.status(), 101);
        // The example of section 1.3.
        let accept = &upgrade.answer.headers()[SEC_WEBSOCKET_ACCEPT];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(ask(Method::POST, &usual).is_none());
        for left_out in 0..usual.len() {
            let mut fields = usual.to_vec();
            let (name, _) = fields.remove(left_out);
            assert!(ask(Method::GET, &fields).is_none(), "without {name}");
        }
        assert!(
            ask(Method::GET, &[usual[0], usual[1], ("sec-websocket-version", "8"), usual[3]])
                .is_none()
        );
    }
}

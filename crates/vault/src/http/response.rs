//! From a complete answer to HTTP.

use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use tracing::error;

use super::body::AnswerBody;
use crate::wire::{Outgoing, OutgoingBody};

/// Writes `outgoing` as HTTP, with the header fields that every answer carries.
pub(super) fn to_http(outgoing: Outgoing) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (content_type, body) = match outgoing.body {
        OutgoingBody::Empty => (None, Vec::new()),
        OutgoingBody::Json(value) => (None, json_line(&value)),
        OutgoingBody::Raw(content_type, body) => (HeaderValue::from_str(&content_type).ok(), body),
        // Only over a WebSocket: what is served there is no answer to be written.
        OutgoingBody::Messages(_) => {
            return to_http(Outgoing::errors(426, ["this path is read over a WebSocket"]));
        }
        // Their body is not of one piece: whoever has it writes the head with an empty one.
        OutgoingBody::Lines(_) => (None, Vec::new()),
    };
    let mut response = Response::new(AnswerBody::Whole(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
        .insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/json")));
    headers.insert(
        STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    );
    for (name, value) in outgoing.headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
            }
            _ => error!(header = name, "a header field of the answer cannot be written"),
        }
    }
    response
}

/// The document and a newline.
fn json_line(value: &serde_json::Value) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("a JSON value is always writable");
    line.push(b'\n');
    line
}

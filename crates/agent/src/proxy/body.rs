//! Bodies: whole, or as they come, each with a bound.

use std::convert::Infallible;
use std::error::Error as StdError;

use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use serde_json::json;

use holdfast_client::vault::Pieces;

/// Any failure in the middle of a body.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;
/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// How much of a body is held to be kept, or to be sent again.
pub(super) const HELD: usize = 1 << 20;

/// A body of which the beginning was read.
pub(super) enum Read {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than what is held: the beginning, and the rest.
    More(Vec<u8>, Pieces),
}

/// A request's body as pieces, at most `limit` bytes of it.
pub(super) fn incoming(body: Incoming, limit: usize) -> Pieces {
    let mut left = limit;
    let data = BodyStream::new(body).filter_map(|frame| async {
        match frame {
            Ok(frame) => frame.into_data().ok().map(|data| Ok(data.to_vec())),
            Err(error) => Some(Err(error.into())),
        }
    });
    Box::pin(data.map(move |piece: Result<Vec<u8>, BoxError>| {
        let piece = piece?;
        left = left.checked_sub(piece.len()).ok_or("the request's body is too large")?;
        Ok(piece)
    }))
}

/// Reads up to [`HELD`] bytes.
pub(super) async fn read(mut pieces: Pieces) -> Result<Read, BoxError> {
    let mut held = Vec::new();
    while let Some(piece) = pieces.next().await {
        held.extend_from_slice(&piece?);
        if held.len() > HELD {
            return Ok(Read::More(held, pieces));
        }
    }
    Ok(Read::Whole(held))
}

impl Read {
    /// All of it as pieces.
    pub(super) fn into_pieces(self) -> Pieces {
        match self {
            Self::Whole(held) => Box::pin(stream::iter([Ok(held)])),
            Self::More(held, rest) => Box::pin(stream::iter([Ok(held)]).chain(rest)),
        }
    }
}

pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(super) fn streamed(pieces: Pieces) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(|piece| Frame::data(piece.into())))).boxed_unsync()
}

/// A refusal of the agent's own, in the API's shape.
pub(super) fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(whole(json!({ "errors": [text] }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(""));
    *response.status_mut() = status;
    response
}

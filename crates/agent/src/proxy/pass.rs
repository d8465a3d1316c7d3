//! One request on its way to the server, and its answer on the way back.

use std::sync::Arc;

use holdfast_client::vault::{Forwarded, Passed, PassedBody, VaultError};
use holdfast_types::{SecretBytes, SecretString};
use http::header::{
    ACCEPT_ENCODING, AGE, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::Shared;
use super::body::{self, Body, Read, refusal, streamed, whole};
use super::limits::{InRoom, Listening, Room};
use super::sanitize;
use crate::cache::revoked_by;
use crate::cache::{
    Cache, Holds, Kept, Key, Origin, Renewing, Turn, Until, digest, keep, request_key,
};
use crate::chain;
use crate::config::AutoAuthToken;
use crate::session::{Life, Login, Session};

const TOKEN: &str = "x-vault-token";
const CACHE: &str = "x-cache";

/// Header fields of a connection, which are not passed on.
const OF_A_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A request, as far as its answer may depend on it.
struct Asked {
    method: Method,
    /// Path and query as they came.
    target: String,
    /// The path below `/v1/` as the server reads it.
    path: String,
    /// Without the token.
    headers: HeaderMap,
    token: Option<SecretString>,
    /// The login whose token that is, where it is the agent's.
    login: Option<Login>,
    /// The body, where it is short enough to be held, and room for that.
    body: Option<Vec<u8>>,
    _room: Option<Room>,
}

impl Shared {
    /// Passes a request on, or answers it from the cache.
    pub(super) async fn pass(
        &self,
        request: Request<Incoming>,
        listening: &Listening,
    ) -> Response<Body> {
        let listener = &listening.config;
        let (asked, body) = match self.ask(request, listening).await {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        debug!(method = %asked.method, path = asked.path, "pass on");
        let (Some(cache), Some(bytes)) = (&self.cache, &asked.body) else {
            return self.exchange(asked, body, None, listening).await;
        };
        let token = asked.token.as_ref().map(|token| token.expose().as_str());
        let key = request_key(&asked.method, &asked.target, &asked.headers, token, bytes);
        // Whoever waited for another's answer and finds none kept asks for itself, without a turn:
        // answers that are not kept are nobody else's.
        let asking = match cache.turn(key) {
            Turn::Ask(asking) => Some(asking),
            Turn::Wait(mut done) => {
                let _ = timeout(listener.max_request_duration, done.changed()).await;
                None
            }
        };
        if let Some(kept) = cache.get(&key, self.clock.now()) {
            self.counters.hit.add();
            self.counters.success.add();
            return asked.finish(kept_answer(&kept));
        }
        let response = self.exchange(asked, body, Some(key), listening).await;
        drop(asking);
        response
    }

    /// Reads what came in. The body is what is sent on.
    async fn ask(
        &self,
        request: Request<Incoming>,
        listening: &Listening,
    ) -> Result<(Asked, PassedBody), Response<Body>> {
        let listener = &listening.config;
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let given = take_token(&mut parts.headers);
        let login = self.session.as_ref().and_then(Session::current);
        let (token, login) = match (self.token, given, login) {
            (AutoAuthToken::Always, _, Some(login))
            | (AutoAuthToken::IfNone, None, Some(login)) => {
                (login.client.token().cloned(), Some(login))
            }
            // With "force" a caller's token counts for nothing, also before the first login.
            (AutoAuthToken::Always, _, None) => (None, None),
            (_, given, _) => (given, None),
        };
        strip(&mut parts.headers);
        let announced = parts.headers.remove(CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let limit = listener.max_request_bytes;
        if announced.is_some_and(|length| length > limit) {
            return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large"));
        }
        let announced = if body.is_end_stream() { Some(0) } else { announced };
        let pieces = body::incoming(body, limit);
        let reading = async {
            let room = listening.room_to_ask(announced).await;
            body::read(pieces).await.map(|body| (body, room))
        };
        let (body, room) = match timeout(listener.body_timeout, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => {
                debug!(%error, "read a request's body");
                return Err(refusal(StatusCode::BAD_REQUEST, "the body cannot be read"));
            }
            Err(_) => {
                let text = "the request's body took too long";
                return Err(refusal(StatusCode::REQUEST_TIMEOUT, text));
            }
        };
        let (held, body) = match body {
            Read::Whole(bytes) => (Some(bytes.clone()), PassedBody::Whole(bytes)),
            more @ Read::More(..) => (None, PassedBody::Pieces(more.into_pieces())),
        };
        let path = target.split('?').next().unwrap_or_default();
        let path = sanitize::plain(path.trim_start_matches("/v1/"));
        let (method, headers) = (parts.method, parts.headers);
        let body_held = held;
        let mut asked =
            Asked { method, target, path, headers, token, login, body: body_held, _room: room };
        if asked.may_tell() {
            // Wrapped, the answer would be out of reach, and the token in it not the caller's to have.
            asked.headers.remove("x-vault-wrap-ttl");
        }
        Ok((asked, body))
    }

    /// Asks the server. With a `key` the answer is kept, if it is one to keep.
    async fn exchange(
        &self,
        asked: Asked,
        body: PassedBody,
        key: Option<Key>,
        listening: &Listening,
    ) -> Response<Body> {
        let listener = &listening.config;
        let mut headers = asked.headers.clone();
        if let Some(token) = &asked.token {
            let Ok(mut value) = HeaderValue::from_str(token.expose()) else {
                return refusal(StatusCode::BAD_REQUEST, "the token cannot be sent");
            };
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
        let (method, target) = (asked.method.clone(), asked.target.clone());
        let upstream = self.upstream.load_full();
        let sending = upstream.forwarder.send(Passed { method, target, headers, body });
        let mut answer = match timeout(listener.max_request_duration, sending).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(VaultError::Path(error))) => {
                return refusal(StatusCode::BAD_REQUEST, &error.to_string());
            }
            Ok(Err(error)) => {
                self.counters.error.add();
                warn!(error = %chain(&error), "pass a request on");
                let text = format!("failed to get the response: {error}");
                return refusal(StatusCode::BAD_GATEWAY, &text);
            }
            Err(_) => {
                self.counters.error.add();
                let text = "failed to get the response: the server takes too long";
                return refusal(StatusCode::GATEWAY_TIMEOUT, text);
            }
        };
        strip(&mut answer.headers);
        self.judge(&asked, answer.status);
        let mut response = self.hold(&asked, answer, listening).await;
        let Some(key) = key else { return asked.finish(response) };
        self.counters.miss.add();
        self.store(key, &asked, &mut response);
        response.headers.insert(CACHE, HeaderValue::from_static("MISS"));
        asked.finish(response)
    }

    /// Counts, and draws from the status what is to be drawn.
    fn judge(&self, asked: &Asked, status: StatusCode) {
        if status.is_client_error() || status.is_server_error() {
            self.counters.client_error.add();
        } else {
            self.counters.success.add();
        }
        if let (StatusCode::FORBIDDEN, Some(login), Some(session)) =
            (status, &asked.login, &self.session)
        {
            session.doubt(login.generation);
        }
        if let (true, Some(cache), Some(bytes)) = (status.is_success(), &self.cache, &asked.body) {
            let token = asked.token.as_ref().map(|token| token.expose().as_str());
            if let Some(clear) = revoked_by(&asked.path, token, bytes) {
                cache.clear(&clear);
            }
        }
    }

    /// Holds an answer that is to be looked into; of any other the body goes on as it comes.
    async fn hold(&self, asked: &Asked, answer: Forwarded, listening: &Listening) -> Held {
        let Forwarded { status, headers, body } = answer;
        let json = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let wanted = self.cache.is_some() || asked.may_tell();
        if !(json && wanted && status.is_success()) {
            return Held { status, headers, body: HeldBody::Pieces(body) };
        }
        let length =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut room = listening.room_to_answer(length);
        if room.is_none() && asked.may_tell() {
            let waiting = listening.wait_to_answer(length);
            room = timeout(listening.config.max_request_duration, waiting).await.ok().flatten();
        }
        if room.is_none() {
            // As much is held as may be: this one is passed on as it comes, and not kept.
            return Held { status, headers, body: HeldBody::Pieces(body) };
        }
        let body = match body::read(body).await {
            Ok(Read::Whole(bytes)) => {
                HeldBody::Whole(InRoom::new(Arc::new(SecretBytes::new(bytes)), room))
            }
            Ok(more) => HeldBody::Pieces(more.into_pieces()),
            Err(error) => {
                let failed = futures_util::stream::iter([Err(error)]);
                HeldBody::Pieces(Box::pin(failed))
            }
        };
        Held { status, headers, body }
    }

    /// Keeps an answer, if it is one to keep, and what it holds alive.
    fn store(&self, key: Key, asked: &Asked, answer: &mut Held) {
        let (Some(cache), HeldBody::Whole(body)) = (&self.cache, &answer.body) else { return };
        let Ok(json) = serde_json::from_slice::<Value>(body.bytes.expose()) else { return };
        let Some((holds, life, own)) = holding(&json, asked.token.as_ref()) else { return };
        let namespace = asked.headers.get("x-vault-namespace");
        let namespace = namespace.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = format!("/v1/{}", asked.path);
        let origin = Origin { path, namespace: namespace.to_owned() };
        let lease = match &holds {
            Holds::Lease { id, .. } => Some(id.clone()),
            Holds::Token { .. } => None,
        };
        let until = Until::default();
        let kept = Kept {
            status: answer.status,
            headers: answer.headers.clone(),
            body: Arc::clone(&body.bytes),
            at: Instant::now(),
            until: until.clone(),
        };
        let Some(end) = cache.insert(key, kept, holds, origin) else { return };
        let token = own.or_else(|| asked.token.clone());
        let client = self.upstream.load().client.with_token(token);
        let client = client.with_namespace(Some(namespace.to_owned()).filter(|it| !it.is_empty()));
        let renewing =
            keep(Renewing { client, lease, life, until }, self.random.clone(), self.clock.clone());
        tokio::spawn(until_its_end(cache.clone(), end, renewing, self.shutdown.clone()));
    }
}

/// Keeps an entry alive until it ends, and removes it then.
async fn until_its_end(
    cache: Arc<Cache>,
    end: tokio_util::sync::CancellationToken,
    renewing: impl Future<Output = ()>,
    shutdown: tokio_util::sync::CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = end.cancelled() => {}
        () = renewing => end.cancel(),
    }
    cache.sweep();
}

/// What an answer holds, how long it lasts, and the token that renews it where it is not the
/// request's. None for what is not kept: neither a lease nor a token, or one that cannot be renewed.
fn holding(
    json: &Value,
    token: Option<&SecretString>,
) -> Option<(Holds, Life, Option<SecretString>)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let life = |value: &Value| {
        let renewable = value["renewable"].as_bool() == Some(true);
        renewable.then(|| Life::new(value["lease_duration"].as_u64().unwrap_or(0), true))
    };
    let lease = text(json, "lease_id");
    if !lease.is_empty() {
        let token = digest(token?.expose());
        return Some((Holds::Lease { id: lease, token }, life(json)?, None));
    }
    let auth = json.get("auth").filter(|auth| auth.is_object())?;
    let made = SecretString::new(text(auth, "client_token"));
    if made.expose().is_empty() {
        return None;
    }
    let parent = match auth["orphan"].as_bool() {
        Some(true) => None,
        _ => Some(digest(token?.expose())),
    };
    let accessor = text(auth, "accessor");
    let holds = Holds::Token { token: digest(made.expose()), accessor, parent };
    Some((holds, life(auth)?, Some(made)))
}

/// An answer on its way back.
struct Held {
    status: StatusCode,
    headers: HeaderMap,
    body: HeldBody,
}

enum HeldBody {
    Whole(InRoom),
    Pieces(holdfast_client::vault::Pieces),
}

fn kept_answer(kept: &Kept) -> Held {
    let mut headers = kept.headers.clone();
    headers.insert(CACHE, HeaderValue::from_static("HIT"));
    headers.insert(AGE, HeaderValue::from(kept.at.elapsed().as_secs()));
    let body = InRoom::new(Arc::clone(&kept.body), None);
    Held { status: kept.status, headers, body: HeldBody::Whole(body) }
}

impl Asked {
    /// Whether the answer may tell the agent's token.
    fn may_tell(&self) -> bool {
        self.login.is_some() && sanitize::may_tell(&self.path)
    }

    /// The answer as it goes out.
    fn finish(&self, answer: Held) -> Response<Body> {
        let own = self.token.as_ref().filter(|_| self.may_tell());
        let body = match (answer.body, own) {
            (HeldBody::Whole(body), Some(own)) => {
                whole(sanitize::without_token(own, body.bytes.expose()))
            }
            (HeldBody::Whole(body), None) => whole(body),
            (HeldBody::Pieces(_), Some(_)) if answer.status.is_success() => {
                let text = "the answer may hold the agent's token, and cannot be looked into";
                return refusal(StatusCode::BAD_GATEWAY, text);
            }
            (HeldBody::Pieces(pieces), ..) => streamed(pieces),
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        if own.is_some() {
            // It may be shorter now.
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        response
    }
}

/// Takes the caller's token out of the header fields: the one of Vault, else a bearer's.
fn take_token(headers: &mut HeaderMap) -> Option<SecretString> {
    let text = |value: HeaderValue| value.to_str().ok().map(str::to_owned);
    let token = headers.remove(TOKEN).and_then(text).filter(|token| !token.is_empty());
    if token.is_some() {
        return token.map(SecretString::new);
    }
    let bearer = text(headers.get(AUTHORIZATION)?.clone())?;
    let token = bearer.strip_prefix("Bearer ")?.trim().to_owned();
    headers.remove(AUTHORIZATION);
    (!token.is_empty()).then(|| SecretString::new(token))
}

/// Takes out what belongs to one connection, and not to the request.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(OF_A_CONNECTION) {
        headers.remove(name);
    }
    headers.remove(HOST);
    // Answers are looked into, and kept as they are.
    headers.remove(ACCEPT_ENCODING);
}

#[cfg(test)]
mod tests;

//! From HTTP to an [`Incoming`], or to the answer that refuses it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_logical::Connection;
use holdfast_types::{SecretString, Ttl, TtlError};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::shares::Room;
use super::{Limits, json, path};
use crate::wire::{Incoming, Outgoing, Verb};

/// Bodies up to this size are read without asking. Connections and streams are many: what each of
/// them may have read of a body before anybody counts it is little.
const FREE_BODY: usize = 4 * 1024;

/// Bodies up to this size take one permit, the larger ones another.
const SMALL_BODY: usize = 256 * 1024;

/// The only content type that a PATCH may have.
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The one content type whose body is no text.
const OCSP_REQUEST: &str = "application/ocsp-request";

/// Permits for reading bodies: of all clients, and of the client's address.
pub(super) struct Bodies<'a> {
    pub(super) all: &'a Semaphore,
    pub(super) large: &'a Semaphore,
    pub(super) room: Option<&'a Room>,
}

impl<'a> Bodies<'a> {
    /// Waits for a place among those that are larger than [`FREE_BODY`].
    async fn enter(&self) -> [Option<SemaphorePermit<'a>>; 2] {
        both(self.room.map(|room| &room.bodies), self.all).await
    }

    /// The same for those that are larger than [`SMALL_BODY`].
    async fn enter_large(&self) -> [Option<SemaphorePermit<'a>>; 2] {
        both(self.room.map(|room| &room.large_bodies), self.large).await
    }
}

/// The address's own first: who waits there takes nothing of others.
async fn both<'a>(
    own: Option<&'a Semaphore>,
    all: &'a Semaphore,
) -> [Option<SemaphorePermit<'a>>; 2] {
    let own = match own {
        Some(own) => own.acquire().await.ok(),
        None => None,
    };
    [all.acquire().await.ok(), own]
}

/// Reads a request whole.
///
/// # Errors
/// The complete answer to a request that is refused before anyone has looked at its meaning.
pub(super) async fn read<B>(
    request: Request<B>,
    id: String,
    connection: Connection,
    limits: &Limits,
    bodies: &Bodies<'_>,
) -> Result<Incoming, Outgoing>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (parts, body) = request.into_parts();
    let refuse = |error: path::PathError| Outgoing::errors(400, [error.to_string()]);
    let Some(raw_path) = parts.uri.path().strip_prefix("/v1/") else {
        return Err(outside_the_api(parts.uri.path()));
    };
    let path = path::decode(raw_path).map_err(refuse)?;
    let query = path::query(parts.uri.query().unwrap_or_default()).map_err(refuse)?;
    check_namespace(&parts.headers)?;
    let (verb, mut query) = verb(&parts.method, &path, query)?;
    let (token, token_header) = token(&parts.headers);
    let wrap_ttl = wrap_ttl(&parts.headers)?;
    let data = match verb {
        Verb::Write | Verb::Patch => {
            if path.ends_with('/') {
                return Err(Outgoing::errors(400, ["cannot write to a path ending in '/'"]));
            }
            if verb == Verb::Patch {
                check_patch_type(&parts.headers)?;
            }
            let bytes = collect(body, &parts.headers, limits, bodies).await?;
            fields(&bytes, &parts.headers)?
        }
        _ => {
            for flag in ["list", "scan", "help"] {
                query.remove(flag);
            }
            query
        }
    };
    let headers = header_fields(&parts.headers, token_header);
    let is_bearer = token_header == Some("authorization");
    Ok(Incoming { id, verb, path, data, token, is_bearer, wrap_ttl, headers, connection })
}

/// What lies outside `/v1/`: nothing but a sentence for people with a browser.
fn outside_the_api(path: &str) -> Outgoing {
    if path == "/" {
        let text = "This is a Holdfast secrets server. Its API is at /v1/.\n";
        return Outgoing {
            status: 200,
            body: crate::wire::OutgoingBody::Raw("text/plain; charset=utf-8".into(), text.into()),
            headers: Vec::new(),
        };
    }
    not_found()
}

fn not_found() -> Outgoing {
    Outgoing::errors(404, Vec::<String>::new())
}

/// What method and query ask for.
fn verb(
    method: &Method,
    path: &str,
    query: Map<String, Value>,
) -> Result<(Verb, Map<String, Value>), Outgoing> {
    let verb = match method.as_str() {
        "GET" => read_verb(&query)?,
        // Load balancers probe with it; hyper leaves the body out.
        "HEAD" if path == "sys/health" => Verb::Read,
        "LIST" => Verb::List,
        "SCAN" => Verb::Scan,
        "HELP" => Verb::Help,
        "PUT" | "POST" => Verb::Write,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => return Err(Outgoing::errors(405, Vec::<String>::new())),
    };
    Ok((verb, query))
}

/// `GET` is a list with `?list=true`, a scan with `?scan=true`, help with `?help=1`.
fn read_verb(query: &Map<String, Value>) -> Result<Verb, Outgoing> {
    let flag = |name: &str| match query.get(name).map(|value| value.as_str().unwrap_or("?")) {
        None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some(_) => Err(Outgoing::errors(400, [format!("query parameter {name:?} is no boolean")])),
    };
    match (flag("list")?, flag("scan")?) {
        (true, true) => Err(Outgoing::errors(
            400,
            ["query parameters \"list\" and \"scan\" exclude each other"],
        )),
        (true, false) => Ok(Verb::List),
        (false, true) => Ok(Verb::Scan),
        (false, false) if query.get("help").is_some_and(|value| value != "") => Ok(Verb::Help),
        (false, false) => Ok(Verb::Read),
    }
}

/// There is one namespace, the root.
fn check_namespace(headers: &HeaderMap) -> Result<(), Outgoing> {
    let Some(value) = headers.get("x-vault-namespace") else { return Ok(()) };
    let name = value.to_str().unwrap_or("?").trim_matches('/');
    if matches!(name, "" | "root") {
        return Ok(());
    }
    Err(Outgoing::errors(404, ["namespace not found"]))
}

/// The token and the header field it came in.
fn token(headers: &HeaderMap) -> (Option<SecretString>, Option<&'static str>) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(token) = text("x-vault-token").filter(|token| !token.is_empty()) {
        return (Some(token.into()), Some("x-vault-token"));
    }
    let bearer = text(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    match bearer.map(str::trim).filter(|token| !token.is_empty()) {
        Some(token) => (Some(token.into()), Some("authorization")),
        None => (None, None),
    }
}

/// `X-Vault-Wrap-TTL`: seconds or a duration; zero asks for no wrapping.
fn wrap_ttl(headers: &HeaderMap) -> Result<Option<Duration>, Outgoing> {
    let Some(value) = headers.get("x-vault-wrap-ttl") else { return Ok(None) };
    let reason = match Ttl::parse(value.to_str().unwrap_or("?")) {
        Ok(Ttl(Duration::ZERO)) => return Ok(None),
        Ok(Ttl(ttl)) => return Ok(Some(ttl)),
        Err(TtlError::Negative(_)) => "requested wrap ttl cannot be negative".to_owned(),
        Err(TtlError::Invalid(text)) => format!("time: invalid duration {text:?}"),
        Err(error @ TtlError::TooLong(_)) => error.to_string(),
    };
    Err(Outgoing::errors(400, [format!("error parsing X-Vault-Wrap-TTL header: {reason}")]))
}

/// The media type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!media_type.is_empty()).then_some(media_type)
}

fn check_patch_type(headers: &HeaderMap) -> Result<(), Outgoing> {
    match media_type(headers).as_deref() {
        Some(MERGE_PATCH) => Ok(()),
        Some(other) => {
            let text = format!("PATCH requires Content-Type of {MERGE_PATCH}, provided {other}");
            Err(Outgoing::errors(415, [text]))
        }
        None => Err(Outgoing::errors(400, ["mime: no media type"])),
    }
}

/// A body's fields: JSON whatever its content type says, unless it is an HTML form and looks like
/// one.
fn fields(bytes: &[u8], headers: &HeaderMap) -> Result<Map<String, Value>, Outgoing> {
    let refuse = |error: String| Outgoing::errors(400, [error]);
    // DER, which its engine gets as a field in base64.
    if media_type(headers).as_deref() == Some(OCSP_REQUEST) {
        return Ok(Map::from_iter([("body".to_owned(), STANDARD.encode(bytes).into())]));
    }
    let start = bytes.trim_ascii_start();
    let looks_like_json = matches!(start.first(), None | Some(b'{' | b'[')) || start == b"null";
    let is_form = media_type(headers).as_deref() == Some("application/x-www-form-urlencoded");
    if is_form && !looks_like_json {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| refuse("error parsing form data: invalid UTF-8".to_owned()))?;
        return path::query(text)
            .map_err(|error| refuse(format!("error parsing form data: {error}")));
    }
    json::parse(bytes).map_err(|error| refuse(error.to_string()))
}

/// Reads a body within the limits of size and time.
async fn collect<B>(
    mut body: B,
    headers: &HeaderMap,
    limits: &Limits,
    bodies: &Bodies<'_>,
) -> Result<Zeroizing<Vec<u8>>, Outgoing>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    let read = async {
        let mut bytes = Zeroizing::new(Vec::with_capacity(declared.min(FREE_BODY)));
        let (mut permit, mut large) = (None, None);
        let mut discarded = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(Outgoing::errors(400, ["the request body ended early"]));
            };
            let Ok(data) = frame.into_data() else { continue };
            if discarded > 0 || bytes.len() + data.len() > limits.body {
                // Read on for a while: a client that is still writing would see a broken
                // connection instead of the answer.
                bytes.clear();
                discarded += data.len();
                if discarded > limits.body {
                    break;
                }
                continue;
            }
            if permit.is_none() && bytes.len() + data.len() > FREE_BODY {
                permit = Some(bodies.enter().await);
                bytes = enlarged(&bytes, declared.min(SMALL_BODY));
            }
            if large.is_none() && bytes.len() + data.len() > SMALL_BODY {
                large = Some(bodies.enter_large().await);
                bytes = enlarged(&bytes, declared.min(limits.body));
            }
            bytes.extend_from_slice(&data);
        }
        match discarded {
            0 => Ok(bytes),
            _ => Err(Outgoing::errors(413, ["http: request body too large"])),
        }
    };
    match tokio::time::timeout(limits.body_timeout, read).await {
        Ok(result) => result,
        Err(_) => {
            let mut late = Outgoing::errors(408, ["the request body did not arrive in time"]);
            late.headers.push(("connection", "close".to_owned()));
            Err(late)
        }
    }
}

/// A copy with room for the whole body, so that it grows once and leaves no more copies behind.
fn enlarged(bytes: &[u8], capacity: usize) -> Zeroizing<Vec<u8>> {
    let mut larger = Zeroizing::new(Vec::with_capacity(capacity.max(2 * bytes.len())));
    larger.extend_from_slice(bytes);
    larger
}

/// Header fields by lower-case name, without the one that held the token.
pub(super) fn header_fields(headers: &HeaderMap, token: Option<&str>) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let (name, Ok(value)) = (name.as_str(), value.to_str()) else { continue };
        if name == "x-vault-token" || Some(name) == token {
            continue;
        }
        match fields.get_mut(name) {
            Some(values) => {
                values.push_str(", ");
                values.push_str(value);
            }
            None => {
                fields.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests;

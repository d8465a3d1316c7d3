//! What everybody may read: the bundle, and OIDC discovery for those who check JWT-SVIDs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::{Shared, tls};

const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);

/// Serves until shutdown, over TLS by the server's own SVID.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, shutdown: CancellationToken) {
    let mut incoming = tls::accept(shared.clone(), listener, b"http/1.1", shutdown);
    while let Some(Ok(connection)) = incoming.next().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&shared, request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_LIMIT)
                .serve_connection(TokioIo::new(connection), service);
            // Who reads for longer connects again.
            let _ = tokio::time::timeout(CONNECTION_LIMIT, served).await;
        });
    }
}

fn answer(shared: &Shared, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let issuer = shared.settings.authorities.jwt_issuer.as_deref();
    let bundle = shared.authorities.bundle().borrow().clone();
    let document = match (path, issuer) {
        ("/" | "/bundle.json", _) => bundle.to_json(),
        ("/keys", _) => keys(&bundle.jwt_authorities),
        ("/.well-known/openid-configuration", Some(issuer)) => configuration(issuer),
        _ => return response(StatusCode::NOT_FOUND, &json!({ "error": "not found" }), 0),
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        let error = json!({ "error": "method not allowed" });
        return response(StatusCode::METHOD_NOT_ALLOWED, &error, 0);
    }
    // Far shorter than the time for which a key is published before it signs.
    response(StatusCode::OK, &document, shared.settings.authorities.refresh_hint.as_secs())
}

fn response(status: StatusCode, document: &Value, age: u64) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    let caching = if age == 0 { "no-store".to_owned() } else { format!("public, max-age={age}") };
    if let Ok(value) = header::HeaderValue::from_str(&caching) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

/// The keys as OIDC's libraries want them: each with what it is for.
fn keys(authorities: &[serde_json::Map<String, Value>]) -> Value {
    let key = |key: &serde_json::Map<String, Value>| {
        let mut key = key.clone();
        key.insert("use".to_owned(), json!("sig"));
        let algorithm = match (key.get("kty"), key.get("crv")) {
            (Some(Value::String(kind)), _) if kind == "RSA" => "RS256",
            (_, Some(Value::String(curve))) if curve == "P-384" => "ES384",
            _ => "ES256",
        };
        key.insert("alg".to_owned(), json!(algorithm));
        Value::Object(key)
    };
    json!({ "keys": authorities.iter().map(key).collect::<Vec<_>>() })
}

/// Source: `OpenID` Connect Discovery 1.0, section 3.
fn configuration(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{}/keys", issuer.trim_end_matches('/')),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "ES384"],
    })
}

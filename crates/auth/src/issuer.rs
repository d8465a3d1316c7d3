//! A fake issuer of tokens: its key, and an HTTP server with its key set, its discovery document,
//! and what logins with redirects ask of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use holdfast_testkit::{Ca, Leaf};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// In place of a status: there is no answer.
const HANGS: u16 = 0;

/// A P-256 key that signs tokens.
pub(crate) struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub(crate) fn new(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id, pair }
    }

    pub(crate) fn pem(&self) -> String {
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(self.pair.public_key()).unwrap();
        let body = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----")
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": encode(x), "y": encode(y) })
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "ES256", "kid": self.id }), claims)
    }

    pub(crate) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// An HTTP server on loopback: `/keys`, `/.well-known/openid-configuration`, `/token` and `/user`.
/// Ends when dropped.
pub(crate) struct Issuer {
    /// Such as `https://127.0.0.1:40123`.
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    url: String,
    /// The answer to `/keys`: status and body.
    keys: Mutex<(u16, String)>,
    /// The issuer that the discovery document names; none for its own URL.
    other_issuer: Mutex<Option<String>>,
    fetches: AtomicUsize,
    /// The answer to `/token`: status and body.
    token: Mutex<(u16, Value)>,
    /// The answer to `/user`.
    user: Mutex<Value>,
    /// The answers to other paths: status and body.
    others: Mutex<BTreeMap<String, (u16, String)>>,
    /// The last request to `/token` or to one of the others with a body, head and body.
    asked: Mutex<String>,
}

impl Issuer {
    /// One that serves HTTPS with a certificate of `ca`, or HTTP.
    pub(crate) async fn start(ca: Option<&Ca>) -> Self {
        Self::start_as(ca.map(|ca| ca.server(&["127.0.0.1"]))).await
    }

    /// One that serves HTTPS with this certificate, or HTTP.
    pub(crate) async fn start_as(leaf: Option<Leaf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if leaf.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            keys: Mutex::new((200, json!({ "keys": [] }).to_string())),
            other_issuer: Mutex::new(None),
            fetches: AtomicUsize::new(0),
            token: Mutex::default(),
            user: Mutex::default(),
            others: Mutex::default(),
            asked: Mutex::default(),
        });
        let acceptor = leaf.map(acceptor);
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (state.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => answer(stream, &state).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                answer(stream, &state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, shared, task }
    }

    /// Publishes the keys of these signers.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
        self.publish_raw(200, json!({ "keys": keys }).to_string());
    }

    pub(crate) fn publish_raw(&self, status: u16, body: String) {
        *self.shared.keys.lock().unwrap() = (status, body);
    }

    /// Answers no more to who asks for the keys.
    pub(crate) fn hang(&self) {
        self.publish_raw(HANGS, String::new());
    }

    pub(crate) fn claim_to_be(&self, issuer: &str) {
        *self.shared.other_issuer.lock().unwrap() = Some(issuer.to_owned());
    }

    /// What a code is exchanged for from now on.
    pub(crate) fn exchange_for(&self, status: u16, body: Value) {
        *self.shared.token.lock().unwrap() = (status, body);
    }

    /// What is known of the user beside the token.
    pub(crate) fn know(&self, user: Value) {
        *self.shared.user.lock().unwrap() = user;
    }

    /// What is answered at another path from now on.
    pub(crate) fn serve(&self, path: &str, status: u16, body: String) {
        self.shared.others.lock().unwrap().insert(path.to_owned(), (status, body));
    }

    /// The last request with a body, head and body.
    pub(crate) fn asked(&self) -> String {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How often the keys were fetched.
    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor(leaf: Leaf) -> TlsAcceptor {
    let certificate = CertificateDer::from(leaf.certificate_der);
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Whether all of a request is there: its head, and as much of a body as that says.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !is_whole(&request) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        "/keys" => {
            shared.fetches.fetch_add(1, Ordering::SeqCst);
            shared.keys.lock().unwrap().clone()
        }
        "/.well-known/openid-configuration" => {
            let url = &shared.url;
            let issuer = shared.other_issuer.lock().unwrap().clone().unwrap_or(url.clone());
            let document = json!({
                "issuer": issuer, "jwks_uri": format!("{url}/keys"),
                "authorization_endpoint": format!("{url}/authorize?tenant=t"),
                "token_endpoint": format!("{url}/token"),
                "userinfo_endpoint": format!("{url}/user"),
            });
            (200, document.to_string())
        }
        "/token" => {
            *shared.asked.lock().unwrap() = request.clone();
            let (status, body) = shared.token.lock().unwrap().clone();
            (status, body.to_string())
        }
        "/user" => (200, shared.user.lock().unwrap().to_string()),
        path => {
            if request.starts_with("POST") {
                *shared.asked.lock().unwrap() = request.clone();
            }
            let served = shared.others.lock().unwrap().get(path).cloned();
            served.unwrap_or((404, "nothing here".to_owned()))
        }
    };
    if status == HANGS {
        return std::future::pending().await;
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // The client may be gone: it stops reading what is too long.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

//! A fake of a Kubernetes cluster's API over TLS. It stands in for a cluster, and is none: what it says
//! of a token is what the token says of itself, and its objects are those that a test puts there.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::Ca;

const PATIENCE: Duration = Duration::from_secs(10);
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// A fake cluster, which ends when it is dropped.
pub struct FakeCluster {
    address: SocketAddr,
    ca: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Objects by their paths.
    objects: Mutex<BTreeMap<String, Value>>,
    /// In place of a review: status and body.
    review: Mutex<Option<(u16, String)>>,
    /// Nothing is answered.
    is_silent: AtomicBool,
    /// What was asked: method and path, and who asked.
    asked: Mutex<Vec<(String, String)>>,
}

impl FakeCluster {
    /// One without objects, under `localhost`.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start() -> Result<Self> {
        let ca = Ca::new("cluster");
        let leaf = ca.server(&["localhost"]);
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(leaf.certificate_der)], key)?;
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let state = shared.clone();
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if state.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (config, state) = (config.clone(), state.clone());
                // A client that hangs up early is its own fault.
                thread::spawn(move || _ = serve(stream, config, &state));
            }
        });
        Ok(Self { address, ca: ca.pem().to_owned(), shared, accepting: Some(accepting) })
    }

    /// Such as `https://localhost:40123`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Who certifies it, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca
    }

    /// A projected token with these claims. Nobody can check its signature, as nobody is given a key;
    /// the fake takes it for a good one where they have `"good": true`.
    pub fn token(claims: &Value) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = json!({ "alg": "ES256", "kid": "k" }).to_string();
        let (header, claims) = (encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
        format!("{header}.{claims}.{}", encode(&[7; 64]))
    }

    /// Puts an object there, or another one in its place; `path` such as `/api/v1/nodes/a`.
    pub fn put(&self, path: &str, object: Value) {
        locked(&self.shared.objects).insert(path.to_owned(), object);
    }

    /// Answers reviews with this status and body from now on, whatever token it is; with none, as
    /// before.
    pub fn review(&self, answer: Option<(u16, String)>) {
        *locked(&self.shared.review) = answer;
    }

    /// Takes connections from now on, and answers nothing.
    pub fn be_silent(&self) {
        self.shared.is_silent.store(true, Ordering::SeqCst);
    }

    /// What was asked until now, such as `GET /api/v1/nodes/a`, and by the bearer of which token.
    pub fn asked(&self) -> Vec<(String, String)> {
        locked(&self.shared.asked).clone()
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while whole(&request).is_none() || shared.is_silent.load(Ordering::SeqCst) {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&buffer[..length]),
        }
    }
    let (head, body) = whole(&request).unwrap_or_default();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let bearer = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("authorization");
        value.strip_prefix("Bearer ").filter(|_| is_it)
    });
    let bearer = bearer.unwrap_or_default().to_owned();
    locked(&shared.asked).push((format!("{method} {path}"), bearer));
    let object = locked(&shared.objects).get(path).cloned();
    let told = locked(&shared.review).clone().filter(|_| path == REVIEWS);
    let (status, answer) = match (told, object) {
        (Some(told), _) => told,
        (None, _) if path == REVIEWS => (201, review(&body).to_string()),
        (None, Some(object)) => (200, object.to_string()),
        _ => {
            let none = json!({ "kind": "Status", "status": "Failure", "code": 404 });
            (404, none.to_string())
        }
    };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{answer}",
        answer.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

/// Head and body, once both are there.
fn whole(request: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(request).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(Some(0), |length| length.trim().parse().ok())?;
    (body.len() >= length).then(|| (head.to_owned(), body.to_owned()))
}

/// The review of a token in the cluster's form. Of a pod and a node that the token names, `extra` tells.
///
/// Source: Kubernetes' documentation, "Managing Service Accounts", an example of a `TokenReview`.
fn review(body: &str) -> Value {
    let asked: Value = serde_json::from_str(body).unwrap_or_default();
    let token = asked["spec"]["token"].as_str().unwrap_or_default();
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Value =
        claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    let bound = &claims["kubernetes.io"];
    let mut extra = serde_json::Map::new();
    for kind in ["pod", "node"] {
        for field in ["name", "uid"] {
            if let Some(value) = bound[kind][field].as_str() {
                extra
                    .insert(format!("authentication.kubernetes.io/{kind}-{field}"), json!([value]));
            }
        }
    }
    let status = match claims["good"] == json!(true) {
        true => json!({
            "authenticated": true, "audiences": claims["aud"],
            "user": {
                "username": claims["sub"], "extra": extra,
                "uid": bound["serviceaccount"]["uid"].as_str().unwrap_or_default(),
            },
        }),
        false => json!({ "authenticated": false }),
    };
    json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status })
}

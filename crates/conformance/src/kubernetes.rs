//! A fake of a cluster's API, for suites that log in with tokens of service accounts: it reviews
//! tokens and knows the labels of two namespaces. It stands in for a cluster, and is none: what it
//! says of a token is what the token says of itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_testkit::Ca;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);
const UID: &str = "474b11b5-0f20-4f9d-8ca5-65715ab325e0";

/// None yet, or a fake of the suite's own, which ends with the suite.
#[derive(Default)]
pub(crate) struct Cluster(Option<Fake>);

impl Cluster {
    /// What `kubernetes_host` and its like stand for.
    pub(crate) fn place(&mut self, name: &str) -> Result<String> {
        if self.0.is_none() {
            self.0 = Some(Fake::start()?);
        }
        let Some(fake) = &self.0 else { bail!("the fake did not start") };
        Ok(match name {
            "kubernetes_host" => format!("https://localhost:{}", fake.address.port()),
            "kubernetes_ca" => fake.ca.clone(),
            "kubernetes_jwt" => token("apps", "backend", true),
            "kubernetes_jwt_elsewhere" => token("other", "backend", true),
            "kubernetes_jwt_stranger" => token("apps", "stranger", true),
            "kubernetes_jwt_gone" => token("apps", "backend", false),
            _ => bail!("there is no ${{{name}}}"),
        })
    }

    /// `text` with the fake's address under its name.
    pub(crate) fn without_places(&self, text: &str) -> String {
        let Some(fake) = &self.0 else { return text.to_owned() };
        text.replace(&format!("localhost:{}", fake.address.port()), "${kubernetes}")
    }
}

struct Fake {
    address: SocketAddr,
    ca: String,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Fake {
    fn start() -> Result<Self> {
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
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = is_over.clone();
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let config = config.clone();
                // A client that hangs up early is its own fault.
                thread::spawn(move || _ = serve(stream, config));
            }
        });
        Ok(Self { address, ca: ca.pem().to_owned(), is_over, accepting: Some(accepting) })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

/// A projected token. Nobody can check its signature, as nobody is given a key.
fn token(namespace: &str, name: &str, is_good: bool) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let claims = json!({
        "aud": ["vault"], "exp": 4_102_444_800_i64, "iat": 1_700_000_000, "good": is_good,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io": {
            "namespace": namespace, "serviceaccount": { "name": name, "uid": UID },
        },
    });
    let header = json!({ "alg": "ES256", "kid": "k" }).to_string();
    let (header, claims) = (encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    format!("{header}.{claims}.{}", encode(&[7; 64]))
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while whole(&request).is_none() {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&buffer[..length]),
        }
    }
    let (head, body) = whole(&request).unwrap_or_default();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, answer) = match path {
        "/apis/authentication.k8s.io/v1/tokenreviews" => (201, review(&body)),
        "/api/v1/namespaces/apps" => (200, namespace("apps", &json!({ "team": "red" }))),
        "/api/v1/namespaces/other" => (200, namespace("other", &json!({ "team": "blue" }))),
        _ => (404, json!({ "kind": "Status", "status": "Failure", "code": 404 })),
    };
    let answer = answer.to_string();
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

fn review(body: &str) -> Value {
    let asked: Value = serde_json::from_str(body).unwrap_or_default();
    let token = asked["spec"]["token"].as_str().unwrap_or_default();
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Value =
        claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    let status = match claims["good"] == json!(true) {
        true => json!({
            "authenticated": true, "audiences": claims["aud"],
            "user": { "username": claims["sub"], "uid": UID },
        }),
        false => json!({ "authenticated": false }),
    };
    json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status })
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({ "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

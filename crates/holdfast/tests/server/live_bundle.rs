//! The `spiffe` login method follows the bundle of a running trust domain: through rotations in which
//! nothing stays, while its endpoint is away, and when the bundle loses a key.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_client::vault::{Method, Trust, VaultClient, VaultConfig};
use holdfast_client::workload::Workload;
use holdfast_keys::SignedToken;
use holdfast_keys::x509::Certificate;
use holdfast_testkit::{Ca, Registration, StockServer, TrustDomain, TrustDomainSettings};
use holdfast_types::SecretString;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::clients;
use crate::workload_client::{connect, trust_domain};

/// How long anything here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

/// What a workload shows, and the id of the key that signed it.
#[derive(Clone)]
enum Shown {
    /// Chain and key in PEM.
    X509(String, SecretString),
    Jwt(String, SecretString),
}

impl Shown {
    /// The workload's X.509-SVID and JWT-SVID of now.
    async fn by(workload: &Workload) -> [Self; 2] {
        let svid = workload.svid().unwrap();
        let leaf = Certificate::from_der(svid.chain().next().unwrap()).unwrap();
        let authority = hex::encode(leaf.authority_key_id.unwrap());
        let token = workload.token("vault").await.unwrap();
        let key = SignedToken::parse(token.expose()).unwrap().key_id.unwrap();
        [Self::X509(authority, svid.to_pem()), Self::Jwt(key, token)]
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::X509(..) => "x509",
            Self::Jwt(..) => "jwt",
        }
    }

    fn signer(&self) -> &str {
        match self {
            Self::X509(signer, _) | Self::Jwt(signer, _) => signer,
        }
    }
}

/// A secrets server, and where its `spiffe` method is mounted.
struct Vault {
    config: VaultConfig,
    root: VaultClient,
    mount: &'static str,
    _server: StockServer,
}

impl Vault {
    fn new(mount: &'static str) -> Self {
        let server = clients::ours();
        let mut config = VaultConfig::new(server.address().parse().unwrap());
        config.trust = Trust::File(server.ca_file().unwrap());
        config.max_retries = 0;
        let root = VaultClient::new(&config).unwrap();
        let root = root.with_token(Some(StockServer::ROOT_TOKEN.into()));
        Self { config, root, mount, _server: server }
    }

    /// Trusts `example.org` as `config` says, and takes its workload `/backend`.
    async fn trust(&self, config: Value) {
        let mount = self.mount;
        let mut trust = json!({ "trust_domain": "example.org", "audience": "vault" });
        trust.as_object_mut().unwrap().append(&mut config.as_object().unwrap().clone());
        for (path, body) in [
            (format!("sys/auth/{mount}"), json!({ "type": "spiffe" })),
            (format!("auth/{mount}/config"), trust),
            (format!("auth/{mount}/role/backend"), json!({ "workload_id_patterns": "/backend" })),
        ] {
            self.root.write(&path, &body).await.expect(&path);
        }
    }

    /// Logs in on a connection of its own, or gives the reason that operators are told.
    async fn log_in(&self, shown: &Shown) -> Result<(), String> {
        let mut config = self.config.clone();
        let mut body = json!({ "role": "backend" });
        match shown {
            Shown::X509(_, pem) => {
                config.identity = Some(pem.expose().clone().into_bytes().into());
            }
            Shown::Jwt(_, token) => body["jwt"] = token.expose().as_str().into(),
        }
        let client = VaultClient::new(&config).unwrap();
        let path = format!("auth/{}/login", self.mount);
        let reply = client.request(Method::PUT, &path, Some(&body), &[]).await.unwrap();
        if reply.status.is_success() {
            return Ok(());
        }
        let id = reply.headers.get("x-holdfast-explain").expect("a reason").to_str().unwrap();
        let told = self.root.read(&format!("sys/internal/explain/{id}"), &[]).await.unwrap();
        Err(told.unwrap().data.unwrap()["summary"].to_string())
    }

    /// Waits until a login is refused, which nothing hurries. Gives the reason.
    async fn until_refused(&self, shown: &Shown) -> String {
        let start = Instant::now();
        loop {
            match self.log_in(shown).await {
                Err(reason) => return reason,
                Ok(()) => assert!(start.elapsed() < PATIENCE, "{} is trusted", shown.kind()),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The bundle as its endpoint has it.
fn bundle(domain: &TrustDomain) -> Value {
    let output = domain.tool(&["bundle", "show", "-format", "spiffe"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Most of its time is that in which three keys of each kind sign, one after the other: the last one
/// must be published for longer than the ten seconds after which the secrets server looks again.
#[tokio::test(flavor = "multi_thread")]
async fn no_login_fails_while_nothing_of_the_bundle_stays() {
    let vault = Vault::new("spiffe");
    let mut domain = trust_domain(TrustDomainSettings {
        self_signed: true,
        ca_ttl: Duration::from_secs(32),
        x509_ttl: Duration::from_secs(10),
        jwt_ttl: Duration::from_secs(10),
        server_arguments: vec!["-webAddress=127.0.0.1:0".to_owned()],
        ..TrustDomainSettings::default()
    });
    let logs = domain.logs();
    let line = logs.lines().find(|line| line.contains("bundle and discovery")).unwrap();
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
    let first = bundle(&domain);
    vault
        .trust(json!({
            "profile": "https_spiffe_bundle", "endpoint_url": format!("https://{address}/"),
            "endpoint_spiffe_id": "spiffe://example.org/spire/server", "bundle": first.to_string(),
        }))
        .await;
    domain.register(&Registration::own("/backend"));
    let workload = connect(&domain, None).await;

    // The last that each key signed, and how many logins there were by it.
    let mut signers: BTreeMap<&str, Vec<(Shown, usize)>> = BTreeMap::new();
    let start = Instant::now();
    while signers.len() < 2 || signers.values().any(|signers| signers.len() < 3) {
        assert!(start.elapsed() < PATIENCE, "the authorities are not replaced");
        for shown in Shown::by(&workload).await {
            let logged_in = vault.log_in(&shown).await;
            assert_eq!(logged_in, Ok(()), "{} of {}", shown.kind(), shown.signer());
            let known = signers.entry(shown.kind()).or_default();
            match known.last_mut().filter(|(last, _)| last.signer() == shown.signer()) {
                Some(last) => *last = (shown, last.1 + 1),
                None => known.push((shown, 1)),
            }
        }
        tokio::time::sleep(POLL * 4).await;
    }
    for (kind, signers) in &signers {
        let counts: Vec<_> = signers.iter().map(|(_, logins)| logins).collect();
        println!("{kind}: {counts:?} logins by one key after the other, none refused");
    }
    for key in bundle(&domain)["keys"].as_array().unwrap() {
        assert!(!first["keys"].as_array().unwrap().contains(key), "it is there still: {key}");
    }

    // A token counts for half a minute past its end, for clocks that differ: it is the key that is gone.
    let reason = vault.until_refused(&signers["jwt"][0].0).await;
    assert!(reason.contains("the bundle has no key with the token's id"), "{reason}");
    vault.until_refused(&signers["x509"][0].0).await;
    // Without an endpoint the last good bundle counts.
    let last = Shown::by(&workload).await;
    domain.kill_server();
    for shown in last {
        assert_eq!(vault.log_in(&shown).await, Ok(()), "{}", shown.kind());
    }
}

/// A bundle endpoint of the test's with a certificate of the web: what it says can be less than the
/// trust domain's server says.
struct Web {
    url: String,
    document: Arc<Mutex<String>>,
}

impl Web {
    fn start(ca: &Ca) -> Self {
        let leaf = ca.server(&["127.0.0.1"]);
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let certificate = CertificateDer::from(leaf.certificate_der);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let tls = Arc::new(tls);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let document = Arc::new(Mutex::new(String::new()));
        let said = document.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(tls.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                // A request without a body, in one piece.
                if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                    let body = said.lock().unwrap().clone();
                    let length = body.len();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n");
                    let _ = stream
                        .write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        Self { url, document }
    }

    fn say(&self, document: &Value) {
        *self.document.lock().unwrap() = document.to_string();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bundle_loses_is_trusted_no_more() {
    let vault = Vault::new("spiffe");
    let settings = TrustDomainSettings { self_signed: true, ..TrustDomainSettings::default() };
    let domain = trust_domain(settings);
    domain.register(&Registration::own("/backend"));
    let workload = connect(&domain, None).await;
    let shown = Shown::by(&workload).await;
    let [x509, jwt] = &shown;

    let ca = Ca::new("web");
    let web = Web::start(&ca);
    let mut whole = bundle(&domain);
    // As often as can be asked for.
    whole["spiffe_refresh_hint"] = 10.into();
    let without = |gone: &str| {
        let mut bundle = whole.clone();
        bundle["keys"].as_array_mut().unwrap().retain(|key| key["use"] != gone);
        bundle
    };
    web.say(&whole);
    vault
        .trust(json!({
            "profile": "https_web_bundle", "endpoint_url": web.url,
            "endpoint_root_ca_truststore_pem": ca.pem(),
        }))
        .await;
    for shown in &shown {
        assert_eq!(vault.log_in(shown).await, Ok(()), "{}", shown.kind());
    }
    web.say(&without("x509-svid"));
    let reason = vault.until_refused(x509).await;
    assert!(reason.contains("was not issued by a trusted authority"), "{reason}");
    assert_eq!(vault.log_in(jwt).await, Ok(()), "its key is there");
    // Who is told of a loss need not wait.
    web.say(&without("jwt-svid"));
    vault.root.write("auth/spiffe/config", &json!({})).await.unwrap();
    let reason = vault.log_in(jwt).await.unwrap_err();
    assert!(reason.contains("the bundle has no key with the token's id"), "{reason}");
    assert_eq!(vault.log_in(x509).await, Ok(()), "its authority is there again");
    // A text that is no bundle is an endpoint that is down.
    web.say(&json!({ "keys": [] }));
    vault.root.write("auth/spiffe/config", &json!({})).await.unwrap_err();
    assert_eq!(vault.log_in(x509).await, Ok(()), "the last good one counts");
}

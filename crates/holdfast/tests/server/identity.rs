//! Identities, logins with them and a pool of database connections, across the replacement of
//! everything that they rest on, while each part is killed now and then.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_client::postgres::{Login, LoginError, RotatingPool};
use holdfast_client::vault::{Trust, VaultClient, VaultConfig, VaultError};
use holdfast_client::workload::SvidLogin;
use holdfast_spiffe::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_spiffe::proto::workload::{JwtsvidRequest, X509svidRequest};
use holdfast_spiffe::remote::unix_channel;
use holdfast_testkit::{Ca, Registration, TrustDomain, TrustDomainSettings};
use holdfast_types::{Chain, Clock as _, SystemClock};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use x509_parser::prelude::*;

use crate::pool::world::{Load, World};
use crate::process::Server;
use crate::workload_client::{connect, trust_domain};

/// How the proof runs: in its short form, and in full, for which `cargo xtask prove identity` asks.
struct Size {
    /// At least so long, and so many rotations of the pool.
    length: Duration,
    rotations: u64,
    authority: Duration,
    x509: Duration,
    jwt: Duration,
    lease: Duration,
    between_kills: Duration,
}

/// Past the first replacement of the authority.
const SHORT: Size = Size {
    length: Duration::from_secs(60),
    rotations: 5,
    authority: Duration::from_secs(60),
    x509: Duration::from_secs(20),
    jwt: Duration::from_secs(20),
    lease: Duration::from_secs(20),
    between_kills: Duration::from_secs(7),
};

/// A day at 60 times its speed, of whose 24 minutes so many are run: all lives are a sixtieth of
/// what they are when nothing is said.
fn full(minutes: u64) -> Size {
    Size {
        length: Duration::from_mins(minutes),
        rotations: minutes,
        authority: Duration::from_mins(24),
        x509: Duration::from_mins(1),
        jwt: Duration::from_secs(5),
        lease: Duration::from_mins(1),
        between_kills: Duration::from_secs(20),
    }
}

/// How long whoever asks keeps on while a part is away.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_rotations_and_kills_fails_nobody() {
    let size = match std::env::var("HOLDFAST_PROVE_IDENTITY") {
        Ok(minutes) => full(minutes.parse().expect("a number of minutes")),
        Err(_) => SHORT,
    };
    let [web, secrets] = free_ports();
    let mut domain = trust_domain(TrustDomainSettings {
        ca_ttl: size.authority,
        x509_ttl: size.x509,
        jwt_ttl: size.jwt,
        server_arguments: ["-webAddress", &format!("127.0.0.1:{web}"), "-dnsName", "localhost"]
            .map(str::to_owned)
            .to_vec(),
        ..TrustDomainSettings::default()
    });
    domain.register(&Registration::own("/client"));

    let ca = Ca::new("secrets");
    let leaf = ca.server(&["localhost"]);
    for (name, text) in [("secrets.pem", &leaf.certificate_pem), ("secrets.key", &leaf.key_pem)] {
        std::fs::write(domain.path(name), text).unwrap();
    }
    let mut server = Server::with(&format!(
        r#"listener "tcp" {{
          address = "127.0.0.1:{secrets}"
          tls_cert_file = "{0}/secrets.pem"
          tls_key_file = "{0}/secrets.key"
        }}"#,
        domain.path("").display()
    ))
    .await;
    let root = server.client();
    let local = format!("unix://{}", server.folder().join("server.sock").display());
    let world = World::new(&root, &local, size.lease.as_secs()).await;
    trust(&root, &domain, web, &size).await;

    let workload = connect(&domain, None).await;
    let by_token = || SvidLogin::jwt(workload.clone(), "spiffe", "apps", "vault");
    let mut settings = world.settings();
    settings.drain_limit = size.lease / 2;
    let pool = RotatingPool::start(settings, world.vault.clone(), by_token()).await.unwrap();
    let load = Load::start(&pool, 4, 4, Duration::from_secs(1));
    let mut config = VaultConfig::new(format!("https://localhost:{secrets}").parse().unwrap());
    (config.trust, config.max_retries) = (Trust::Pem(ca.pem().into()), 0);
    let by_certificate =
        SvidLogin::cert(workload.clone(), "cert", Some("services".to_owned()), config);
    let seen = Arc::new(Seen::default());
    let clients = [
        tokio::spawn(fetches(domain.socket(), seen.clone())),
        tokio::spawn(logins(by_token(), world.vault.clone(), seen.clone())),
        tokio::spawn(logins(by_certificate, world.vault.clone(), seen.clone())),
    ];

    let start = Instant::now();
    let mut kills = 0_u32;
    let mut next = start + size.between_kills;
    while start.elapsed() < size.length || pool.snapshot().rotations < size.rotations {
        assert!(start.elapsed() < size.length * 3, "{:?}", pool.snapshot());
        assert!(seen.failures().is_empty(), "{:?}", seen.failures());
        tokio::time::sleep(Duration::from_millis(20)).await;
        if Instant::now() < next {
            continue;
        }
        match kills % 3 {
            0 => tokio::task::block_in_place(|| {
                domain.kill_agent();
                domain.start_agent();
            }),
            1 => tokio::task::block_in_place(|| {
                domain.kill_server();
                domain.start_server();
            }),
            _ => {
                server.kill();
                server.start().await;
            }
        }
        kills += 1;
        next = Instant::now() + size.between_kills;
    }
    seen.stop.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    for client in clients {
        counts.push(client.await.unwrap());
    }
    let (served, failed) = load.end().await;
    let told = pool.snapshot();
    pool.close().await;
    assert_eq!(seen.failures(), Vec::<String>::new());
    assert_eq!(failed, Vec::<String>::new(), "no request failed: {told:?}");
    assert_eq!(world.ledger(), served, "no transaction was lost");
    assert_eq!(world.users(), "", "no user is left: {told:?}");
    let [authorities, svids, keys] = seen.different();
    println!(
        "{kills} kills; {counts:?} fetches and logins by token and certificate, {served} requests on \
         {} credentials, none failed; {authorities} authorities, {svids} SVIDs, {keys} keys of tokens",
        told.rotations + 1,
    );
    assert!(kills >= 3 && counts.iter().all(|&count| count > 10), "{counts:?}");
    assert!(svids >= 3, "SVIDs were replaced: {svids}");
    if size.length > size.authority * 5 / 6 {
        assert!(authorities >= 2 && keys >= 2, "the authorities were replaced");
    }
}

/// Has the secrets server let in whoever has an identity of the trust domain.
async fn trust(root: &VaultClient, domain: &TrustDomain, web: u16, size: &Size) {
    let write = async |path: &str, body| root.write(path, &body).await.expect(path);
    let authority = std::fs::read_to_string(domain.path("upstream.pem")).unwrap();
    write("sys/auth/spiffe", json!({ "type": "spiffe" })).await;
    let config = json!({
        "trust_domain": domain.name(), "profile": "https_web_bundle", "audience": "vault",
        "endpoint_url": format!("https://localhost:{web}/"),
        "endpoint_root_ca_truststore_pem": authority,
    });
    write("auth/spiffe/config", config).await;
    let life = format!("{}s", size.lease.as_secs() * 3);
    let role = json!({
        "workload_id_patterns": "/client", "token_policies": "service", "token_ttl": life,
    });
    write("auth/spiffe/role/apps", role).await;
    write("sys/auth/cert", json!({ "type": "cert" })).await;
    let role = json!({
        "certificate": authority, "allowed_uri_sans": "spiffe://example.org/client",
        "token_policies": "service", "token_ttl": life,
    });
    write("auth/cert/certs/services", role).await;
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    failures: Mutex<Vec<String>>,
    /// Authorities, SVIDs, keys of tokens.
    different: Mutex<[BTreeSet<Vec<u8>>; 3]>,
}

impl Seen {
    fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }

    fn note(&self, kind: usize, what: &[u8]) {
        self.different.lock().unwrap()[kind].insert(what.to_vec());
    }

    fn different(&self) -> [usize; 3] {
        let different = self.different.lock().unwrap();
        [0, 1, 2].map(|kind| different[kind].len())
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Fetches both kinds of SVIDs, as one that has just started each time. Gives how many.
async fn fetches(socket: std::path::PathBuf, seen: Arc<Seen>) -> u64 {
    let mut count = 0;
    while seen.goes_on() {
        let start = Instant::now();
        loop {
            match fetch(&socket, &seen).await {
                Ok(()) => break,
                Err(status) if is_passing(&status) && start.elapsed() < PATIENCE => {}
                Err(status) => {
                    return {
                        seen.fail(format!("fetch: {status:?}"));
                        count
                    };
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        count += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    count
}

async fn fetch(socket: &std::path::Path, seen: &Seen) -> Result<(), Status> {
    fn with_header<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
        request
    }
    let mut client = SpiffeWorkloadApiClient::new(unix_channel(socket));
    let mut stream = client.fetch_x509svid(with_header(X509svidRequest {})).await?.into_inner();
    let told = stream.message().await?.ok_or_else(|| Status::unavailable("it ended"))?;
    let now = SystemClock.now().as_second();
    let (rest, leaf) = X509Certificate::from_der(&told.svids[0].x509_svid).unwrap();
    let (_, authority) = X509Certificate::from_der(rest).unwrap();
    let (_, root) = X509Certificate::from_der(&told.svids[0].bundle).unwrap();
    for (what, certificate, issuer) in
        [("leaf", &leaf, &authority), ("authority", &authority, &root)]
    {
        let life = certificate.validity();
        let is_valid = life.not_before.timestamp() <= now && now < life.not_after.timestamp();
        if !is_valid || certificate.verify_signature(Some(issuer.public_key())).is_err() {
            seen.fail(format!("at {now} the {what} is {life:?}"));
        }
    }
    seen.note(0, authority.raw_serial());
    seen.note(1, leaf.raw_serial());
    let request = JwtsvidRequest { audience: vec!["vault".to_owned()], spiffe_id: String::new() };
    let told = client.fetch_jwtsvid(with_header(request)).await?.into_inner();
    let parts = told.svids[0].svid.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let parts: Vec<_> = parts.collect();
    let [header, claims] =
        [0, 1].map(|part| serde_json::from_slice::<Value>(&parts[part]).unwrap());
    if claims["exp"].as_i64().unwrap() <= now {
        seen.fail(format!("at {now} the token says {claims}"));
    }
    seen.note(2, header["kid"].as_str().unwrap().as_bytes());
    Ok(())
}

/// Whether it may be another answer once the agent or its server is back.
fn is_passing(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::PermissionDenied | Code::InvalidArgument | Code::Unauthenticated | Code::NotFound
    )
}

/// Logs in again and again. Gives how often.
async fn logins(login: SvidLogin, vault: VaultClient, seen: Arc<Seen>) -> u64 {
    let mut count = 0;
    while seen.goes_on() {
        let start = Instant::now();
        loop {
            match login.log_in(&vault).await {
                Ok(_) => break,
                Err(error) if is_away(&error) && start.elapsed() < PATIENCE => {}
                Err(error) => {
                    return {
                        seen.fail(format!("log in: {}", Chain(&error)));
                        count
                    };
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        count += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    count
}

/// Whether the secrets server or the agent was not there, or not ready yet. Every refusal is a
/// failure.
fn is_away(error: &LoginError) -> bool {
    let error = match error {
        LoginError::Vault(error) => error,
        LoginError::Secret(error) => {
            let told = Chain(&**error).to_string().to_lowercase();
            return told.contains("transport") || told.contains("unavailable");
        }
        LoginError::Certificate(_) => return false,
    };
    match error {
        VaultError::Unreachable { .. } | VaultError::Sealed(_) => true,
        VaultError::Api(failure) => failure.status >= 500,
        _ => false,
    }
}

fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

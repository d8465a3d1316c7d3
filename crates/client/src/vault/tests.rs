//! Tests through real sockets, against a server that answers what it is told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_testkit::{Ca, Leaf};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What the server saw: each request's head, lower case.
type Seen = Arc<Mutex<Vec<String>>>;

/// Answers the n-th request with the n-th of `answers`, and all later ones with the last.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answers: &[String],
    seen: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // A TLS handshake is no HTTP: it is answered as it stands.
    while !request.windows(4).any(|window| window == b"\r\n\r\n")
        && request.first().is_none_or(u8::is_ascii_alphabetic)
    {
        match stream.read(&mut buffer).await {
            Ok(length @ 1..) => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
    let index = {
        let mut seen = seen.lock().unwrap();
        seen.push(String::from_utf8_lossy(&request).to_lowercase());
        seen.len() - 1
    };
    let text = &answers[index.min(answers.len() - 1)];
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// A server without TLS. Gives its address and what it sees.
async fn plain(answers: Vec<String>) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, &answers, &log).await;
        }
    });
    (address, seen)
}

/// A server with TLS that says yes, and the SNI of its clients. Clients have to show a certificate
/// of `clients`, if given.
async fn tls(leaf: &Leaf, clients: Option<&Ca>) -> (u16, Seen) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from(ca.der().to_vec())).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let certificate = CertificateDer::from(leaf.certificate_der.clone());
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
    let config = builder.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let names = Seen::default();
    let log = Arc::clone(&names);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
            log.lock().unwrap().push(name);
            answer(stream, &[http("200 OK", "", "{}")], &Mutex::default()).await;
        }
    });
    (port, names)
}

fn config(address: &str) -> VaultConfig {
    let mut config = VaultConfig::new(address.parse().unwrap());
    config.retry_wait = Duration::from_millis(1);
    config.max_retries = 0;
    config
}

/// Why `config` reaches nobody.
async fn unreachable(config: &VaultConfig) -> Unreachable {
    match VaultClient::new(config).unwrap().seal_status().await {
        Err(VaultError::Unreachable { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vault.sock");
    let (plain_address, _) = plain(vec![http("200 OK", "", "{}")]).await;
    let (silent, _) = plain(vec![String::new()]).await;
    for (address, want) in [
        (format!("http://{closed}"), Unreachable::Refused),
        (format!("unix://{}", socket.display()), Unreachable::NoSuchSocket),
        ("http://nowhere.invalid:8200".to_owned(), Unreachable::NoSuchHost),
        (silent, Unreachable::Closed),
    ] {
        assert_eq!(unreachable(&config(&address)).await, want, "{address}");
    }
    let not_tls = unreachable(&config(&plain_address.replace("http", "https"))).await;
    assert!(matches!(not_tls, Unreachable::Tls(_)), "{not_tls:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut slow = config(&format!("http://{}", listener.local_addr().unwrap()));
    slow.timeout = Duration::from_millis(50);
    assert_eq!(unreachable(&slow).await, Unreachable::TimedOut);
}

#[tokio::test]
async fn certificates_are_checked_and_their_faults_named() {
    let ca = Ca::new("ours");
    let trust = || Trust::Pem(ca.pem().as_bytes().to_vec());
    let (good, _) = tls(&ca.server(&["localhost", "127.0.0.1"]), None).await;
    let (elsewhere, names) = tls(&ca.server(&["vault.local"]), None).await;
    let (expired, _) = tls(&ca.expired_server(&["localhost"]), None).await;

    let mut right = config(&format!("https://localhost:{good}"));
    right.trust = trust();
    VaultClient::new(&right).unwrap().seal_status().await.unwrap();

    let mut stranger = right.clone();
    stranger.trust = Trust::Pem(Ca::new("theirs").pem().as_bytes().to_vec());
    assert_eq!(unreachable(&stranger).await, Unreachable::UnknownIssuer);
    stranger.trust = Trust::Anyone;
    VaultClient::new(&stranger).unwrap().seal_status().await.unwrap();

    let mut old = right.clone();
    old.address = format!("https://localhost:{expired}").parse().unwrap();
    assert_eq!(unreachable(&old).await, Unreachable::Expired);

    let mut misnamed = right.clone();
    misnamed.address = format!("https://127.0.0.1:{elsewhere}").parse().unwrap();
    match unreachable(&misnamed).await {
        Unreachable::WrongName { expected, presented } => {
            assert_eq!(expected, "127.0.0.1");
            assert!(presented[0].contains("vault.local"), "{presented:?}");
        }
        other => panic!("{other:?}"),
    }
    misnamed.server_name = Some("vault.local".to_owned());
    VaultClient::new(&misnamed).unwrap().seal_status().await.unwrap();
    assert_eq!(names.lock().unwrap().last().unwrap(), "vault.local");
    misnamed.server_name = Some("127.0.0.1".to_owned());
    assert!(matches!(VaultClient::new(&misnamed), Err(ConfigError::ServerName(_))));
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_there_is_one() {
    let ca = Ca::new("ours");
    let (port, _) = tls(&ca.server(&["localhost"]), Some(&ca)).await;
    let mut config = config(&format!("https://localhost:{port}"));
    config.trust = Trust::Pem(ca.pem().as_bytes().to_vec());
    let without = unreachable(&config).await;
    assert!(matches!(without, Unreachable::ClientCertificate(_)), "{without:?}");

    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    let leaf = ca.client("web");
    std::fs::write(&certificate, &leaf.certificate_pem).unwrap();
    std::fs::write(&key, &leaf.key_pem).unwrap();
    config.read_identity(&certificate, &key).unwrap();
    VaultClient::new(&config).unwrap().seal_status().await.unwrap();
}

#[tokio::test]
async fn authorities_come_from_files_and_directories_too() {
    let ca = Ca::new("ours");
    let (port, _) = tls(&ca.server(&["localhost"]), None).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();
    let mut config = config(&format!("https://localhost:{port}"));
    for trust in [Trust::File(file), Trust::Directory(directory.path().to_owned())] {
        config.trust = trust;
        VaultClient::new(&config).unwrap().seal_status().await.unwrap();
    }
    let empty = tempfile::tempdir().unwrap();
    config.trust = Trust::Directory(empty.path().to_owned());
    assert!(matches!(VaultClient::new(&config), Err(ConfigError::NoCertificate { .. })));
    config.trust = Trust::File(empty.path().join("nope"));
    assert!(matches!(VaultClient::new(&config), Err(ConfigError::Read { .. })));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let errors = |text: &str| json!({ "errors": [text] }).to_string();
    for (status, body, want) in [
        ("503 Unavailable", errors("Vault is sealed"), "sealed"),
        ("400 Bad", errors("server is not yet initialized"), "uninitialised"),
        ("403 Forbidden", errors("permission denied"), "denied"),
        ("404 Not Found", "{\"errors\":[]}".to_owned(), "not found"),
        ("400 Bad", errors("no data provided"), "api"),
        ("502 Bad Gateway", "<html>".to_owned(), "raw"),
    ] {
        let (address, _) = plain(vec![http(status, "", &body)]).await;
        let client = VaultClient::new(&config(&address)).unwrap();
        let error = client.write("kv/data/app", &json!({})).await.unwrap_err();
        let got = match &error {
            VaultError::Sealed(_) => "sealed",
            VaultError::Uninitialised(_) => "uninitialised",
            VaultError::Denied(_) => "denied",
            VaultError::NotFound(_) => "not found",
            VaultError::Api(failure) if failure.raw => "raw",
            VaultError::Api(_) => "api",
            other => panic!("{other:?}"),
        };
        assert_eq!(got, want, "{status}");
        let failure = error.failure().unwrap();
        assert_eq!(failure.url, format!("{address}/v1/kv/data/app"));
        assert_eq!(Some(failure.status), error.status());
    }
}

#[tokio::test]
async fn a_missing_path_is_no_error_for_a_read() {
    let deleted = json!({ "data": { "data": null, "metadata": { "version": 1 } } }).to_string();
    for (body, want) in [("{\"errors\":[]}".to_owned(), false), (deleted, true)] {
        let (address, _) = plain(vec![http("404 Not Found", "", &body)]).await;
        let client = VaultClient::new(&config(&address)).unwrap();
        assert_eq!(client.read("kv/data/app", &[]).await.unwrap().is_some(), want, "{body}");
    }
}

#[tokio::test]
async fn requests_carry_what_they_should_and_errors_no_secret() {
    let body = json!({ "errors": ["no"] }).to_string();
    let (address, seen) = plain(vec![http("400 Bad", "", &body)]).await;
    let mut config = config(&address);
    config.token = Some("s.geheim".into());
    config.namespace = Some("team/".to_owned());
    config.wrap_ttl = Some("5m".to_owned());
    config.headers = vec![("X-Extra".to_owned(), "1".to_owned())];
    let client = VaultClient::new(&config).unwrap();
    let error = client.patch("kv/data/app", &json!({ "a": "passwort" })).await.unwrap_err();
    {
        let seen = seen.lock().unwrap();
        for field in [
            "patch /v1/kv/data/app http/1.1",
            "x-vault-token: s.geheim",
            "x-vault-namespace: team/",
            "x-vault-wrap-ttl: 5m",
            "x-vault-request: true",
            "x-extra: 1",
            "content-type: application/merge-patch+json",
        ] {
            assert!(seen[0].contains(field), "{field} in {}", seen[0]);
        }
    }
    for text in [format!("{error} {error:?}"), format!("{client:?} {config:?}")] {
        assert!(!text.contains("geheim") && !text.contains("passwort"), "{text}");
    }
    let strange = client.with_token(Some("a\nb".into()));
    assert!(matches!(strange.seal_status().await, Err(VaultError::Header("token"))));
}

#[tokio::test]
async fn passing_failures_are_repeated_and_others_not() {
    let ok = http("200 OK", "", "{\"sealed\":false}");
    for (first, retries, requests) in [
        ("503 Unavailable", 2, 3),
        ("412 Precondition", 1, 2),
        ("501 Not Implemented", 2, 1),
        ("400 Bad", 2, 1),
    ] {
        let busy = http(first, "", "{\"errors\":[]}");
        let (address, seen) = plain(vec![busy.clone(), busy, ok.clone()]).await;
        let mut config = config(&address);
        config.max_retries = retries;
        let result = VaultClient::new(&config).unwrap().seal_status().await;
        assert_eq!(seen.lock().unwrap().len(), requests, "{first}");
        assert_eq!(result.is_ok(), requests == 3, "{first}");
    }
    // An answer that broke off may have done its work: not again.
    let (address, seen) = plain(vec![String::new()]).await;
    let mut config = config(&address);
    config.max_retries = 2;
    assert_eq!(unreachable(&config).await, Unreachable::Closed);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn one_redirect_is_followed() {
    let (active, at_active) = plain(vec![http("200 OK", "", "{\"n\":7}")]).await;
    let location = format!("Location: {active}/v1/sys/seal-status\r\n");
    let (standby, _) = plain(vec![http("307 Temporary Redirect", &location, "")]).await;
    let mut config = config(&standby);
    config.token = Some("s.token".into());
    let status = VaultClient::new(&config).unwrap().seal_status().await.unwrap();
    assert_eq!(status.n, 7);
    assert!(at_active.lock().unwrap()[0].contains("x-vault-token: s.token"));
}

#[tokio::test]
async fn answers_are_bounded() {
    let (address, _) = plain(vec![http("200 OK", "", &"x".repeat(2000))]).await;
    let mut config = config(&address);
    config.max_response_bytes = 1000;
    let error = VaultClient::new(&config).unwrap().seal_status().await.unwrap_err();
    assert!(matches!(error, VaultError::TooLarge { limit: 1000 }), "{error:?}");
}

#[tokio::test]
async fn a_socket_will_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, &[http("200 OK", "", "{\"t\":3}")], &Mutex::default()).await;
    });
    let config = config(&format!("unix://{}", path.display()));
    assert_eq!(VaultClient::new(&config).unwrap().seal_status().await.unwrap().t, 3);
}

#[test]
fn replies_take_null_for_nothing_and_keep_their_data_out_of_debug() {
    let text = json!({
        "request_id": "r", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": { "password": "geheim" }, "wrap_info": null, "warnings": null,
        "auth": { "client_token": "s.geheim", "policies": null, "metadata": null },
    });
    let reply: Reply = serde_json::from_value(text).unwrap();
    assert!(reply.warnings.is_empty());
    assert_eq!(reply.auth.as_ref().unwrap().client_token.expose(), "s.geheim");
    let shown = format!("{reply:?}");
    assert!(shown.contains("password") && !shown.contains("geheim"), "{shown}");
}

//! The listener over real sockets, with a handler that knows no secrets.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_testkit::{Ca, Leaf};
use holdfast_types::{SystemClock, SystemRandom};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

/// Answers with what it was asked; some paths do more.
#[derive(Default)]
struct Echo {
    /// A request for `slow` is being answered.
    entered: Notify,
    /// Lets it go on.
    release: Notify,
    finished: AtomicUsize,
}

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, incoming: Incoming) -> Outgoing {
        match incoming.path.as_str() {
            "panic" => panic!("asked to"),
            "slow" => {
                self.entered.notify_one();
                self.release.notified().await;
            }
            _ => {}
        }
        self.finished.fetch_add(1, Ordering::SeqCst);
        let certificates = incoming.connection.client_certificates.len();
        let body = json!({
            "path": incoming.path, "data": incoming.data, "certificates": certificates
        });
        Outgoing::json(200, body)
    }
}

struct Running {
    echo: Arc<Echo>,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// Limits that a test can wait for.
fn limits() -> Limits {
    Limits {
        body: 64 * 1024,
        handshake_timeout: Duration::from_millis(300),
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        request_timeout: Duration::from_secs(30),
        open_metrics: false,
        address_share: 50,
    }
}

fn open(socket: SocketSettings, tls: Option<TlsSettings>) -> Result<Listener, ListenerError> {
    let settings = ListenerSettings { socket, tls, cleartext_anywhere: false, limits: limits() };
    Listener::open(settings, &mut Inherited::default())
}

fn run(listener: Listener, capacity: &Capacity) -> Running {
    let echo = Arc::<Echo>::default();
    let parts = Parts {
        handler: echo.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        in_flight: Arc::default(),
    };
    let shutdown = CancellationToken::new();
    let address = listener.address().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let tls = listener.tls();
    let server = Server::new(parts, capacity);
    let task = tokio::spawn(server.run(vec![listener], shutdown.clone()));
    Running { echo, address, tls, shutdown, task }
}

fn start() -> Running {
    let any_port = SocketSettings::Tcp(([127, 0, 0, 1], 0).into());
    run(open(any_port, None).unwrap(), &Capacity::default())
}

/// Sends `request` as it is and reads until the server hangs up.
async fn raw(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> String {
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn send(address: SocketAddr, request: &[u8]) -> String {
    raw(&mut TcpStream::connect(address).await.unwrap(), request).await
}

fn message(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )
    .into_bytes()
}

/// An answer's status and its body as JSON.
fn parse(answer: &str) -> (u16, Value) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    parse(&send(address, &message(method, path, body)).await)
}

#[tokio::test]
async fn answers_carry_the_usual_header_fields() {
    let server = start();
    let answer = send(server.address, &message("GET", "/v1/a?x=1", "")).await;
    let head = answer.to_ascii_lowercase();
    for field in [
        "http/1.1 200 ok",
        "cache-control: no-store",
        "content-type: application/json",
        "strict-transport-security: max-age=31536000; includesubdomains",
        "date: ",
    ] {
        assert!(head.contains(field), "{field}: {answer}");
    }
    assert_eq!(parse(&answer).1, json!({"path": "a", "data": {"x": "1"}, "certificates": 0}));
    assert!(answer.ends_with("}\n"));
}

#[tokio::test]
async fn bad_input_is_refused_in_the_apis_shape_and_the_server_goes_on() {
    let server = start();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100 * 1024));
    let deep = format!("{{\"a\":{}", "[".repeat(60_000));
    for (method, path, body, status, error) in [
        ("PUT", "/v1/a", "{bad", 400, "failed to decode JSON input: invalid character 'b'"),
        ("PUT", "/v1/a", large.as_str(), 413, "http: request body too large"),
        ("PUT", "/v1/a", deep.as_str(), 400, "failed to decode JSON input: exceeded max depth"),
        ("GET", "/v1/a/../b", "", 400, "relative paths not supported"),
        ("GET", "/v1/a//b", "", 400, "path contains an empty segment"),
        ("GET", "/v1/a%00b", "", 400, "path contains a control character"),
        ("GET", "/v1/a%ff", "", 400, "path contains invalid UTF-8"),
        ("GET", &format!("/v1/{}", "a".repeat(20_000)), "", 400, "path is longer"),
        ("PATCH", "/v1/a", "{}", 400, "mime: no media type"),
        ("GET", "/v1/panic", "", 500, "internal error"),
    ] {
        let (got, body) = ask(server.address, method, path, body).await;
        let text = body["errors"][0].as_str().unwrap_or_default();
        assert!(got == status && text.starts_with(error), "{method} {path:.40}: {got} {body}");
    }
    let long = format!("/v1/{}", "a".repeat(10_000));
    assert_eq!(ask(server.address, "GET", &long, "").await.0, 200);
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\x00\xff\xfe\r\n\r\n", b"GET\r\n\r\n"] {
        let answer = send(server.address, garbage).await;
        assert!(!answer.contains(" 200 "), "{garbage:?}: {answer}");
    }
    assert_eq!(ask(server.address, "GET", "/v1/a", "").await.0, 200);
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let server = start();
    // `raw` returns only because the server hangs up.
    let head = send(server.address, b"GET /v1/a HTTP/1.1\r\nHos").await;
    assert_eq!(head, "", "a head that does not end is not answered");
    let body = b"PUT /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{\"a";
    let (status, body) = parse(&send(server.address, body).await);
    assert_eq!(
        (status, &body["errors"][0]),
        (408, &json!("the request body did not arrive in time"))
    );
    let idle = send(server.address, b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(parse(&idle).0, 200, "an idle connection is closed after its answer");
    assert_eq!(send(server.address, b"").await, "", "one that never asks is closed too");
}

#[tokio::test]
async fn work_runs_to_its_end_when_the_client_hangs_up() {
    let server = start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&message("GET", "/v1/slow", "")).await.unwrap();
    server.echo.entered.notified().await;
    drop(stream);
    // Whoever asks next is served, so the hang-up has been noticed or does not matter.
    assert_eq!(ask(server.address, "GET", "/v1/a", "").await.0, 200);
    server.echo.release.notify_one();
    server.shutdown.cancel();
    server.task.await.unwrap();
    assert_eq!(server.echo.finished.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stop_lets_the_requests_under_way_finish() {
    let server = start();
    let request = tokio::spawn(ask(server.address, "GET", "/v1/slow", ""));
    server.echo.entered.notified().await;
    server.shutdown.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.echo.release.notify_one();
    assert_eq!(request.await.unwrap().0, 200);
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let any_port = SocketSettings::Tcp(([127, 0, 0, 1], 0).into());
    let capacity = Capacity { drain: Duration::from_millis(100), ..Capacity::default() };
    let server = run(open(any_port, None).unwrap(), &capacity);
    let request = tokio::spawn(ask(server.address, "GET", "/v1/slow", ""));
    server.echo.entered.notified().await;
    server.shutdown.cancel();
    server.task.await.unwrap();
    assert_eq!(request.await.unwrap().0, 0, "the connection was cut");
}

#[tokio::test]
async fn requests_over_the_bound_are_refused() {
    let any_port = SocketSettings::Tcp(([127, 0, 0, 1], 0).into());
    let capacity = Capacity { requests: 1, ..Capacity::default() };
    let server = run(open(any_port, None).unwrap(), &capacity);
    let first = tokio::spawn(ask(server.address, "GET", "/v1/slow", ""));
    server.echo.entered.notified().await;
    let (status, body) = ask(server.address, "GET", "/v1/a", "").await;
    assert_eq!((status, &body["errors"][0]), (503, &json!("too many requests are under way")));
    server.echo.release.notify_one();
    assert_eq!(first.await.unwrap().0, 200);
    assert_eq!(ask(server.address, "GET", "/v1/a", "").await.0, 200);
}

fn write_leaf(folder: &Path, leaf: &Leaf) -> TlsSettings {
    let (certificate_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate_file, &leaf.certificate_pem).unwrap();
    std::fs::write(&key_file, &leaf.key_pem).unwrap();
    TlsSettings {
        certificate_file,
        key_file,
        client_certificates: ClientCertificates::Ask,
        only_tls13: false,
    }
}

/// Asks over TLS, with a client certificate or without.
async fn ask_tls(address: SocketAddr, ca: &Ca, client: Option<&Leaf>) -> io::Result<(u16, Value)> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(ca.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let chain = vec![CertificateDer::from(leaf.certificate_der.clone())];
            let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    Ok(parse(&raw(&mut stream, &message("GET", "/v1/a", "")).await))
}

#[tokio::test]
async fn tls_passes_any_client_certificate_on_and_reloads_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new, stranger) = (Ca::new("old"), Ca::new("new"), Ca::new("stranger"));
    let settings = write_leaf(folder.path(), &old.server(&["localhost"]));
    let any_port = SocketSettings::Tcp(([127, 0, 0, 1], 0).into());
    let server = run(open(any_port, Some(settings)).unwrap(), &Capacity::default());
    let (address, tls) = (server.address, server.tls.clone().unwrap());

    let without = ask_tls(address, &old, None).await.unwrap();
    assert_eq!((without.0, &without.1["certificates"]), (200, &json!(0)));
    let with = ask_tls(address, &old, Some(&stranger.client("someone"))).await.unwrap();
    assert_eq!((with.0, &with.1["certificates"]), (200, &json!(1)));

    for garbage in [&b"GET /v1/a HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00", b""] {
        let answer = send(address, garbage).await;
        assert!(!answer.contains("HTTP"), "{garbage:?}: {answer}");
    }

    write_leaf(folder.path(), &new.server(&["localhost"]));
    tls.reload().unwrap();
    assert!(ask_tls(address, &old, None).await.is_err());
    assert_eq!(ask_tls(address, &new, None).await.unwrap().0, 200);
    std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    let error = tls.reload().unwrap_err();
    assert!(error.to_string().contains("holds no certificate"), "{error}");
    assert_eq!(ask_tls(address, &new, None).await.unwrap().0, 200, "the old one stays in use");
}

#[tokio::test]
async fn a_listener_may_insist_on_client_certificates_or_not_ask_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, clients, stranger) = (Ca::new("ca"), Ca::new("clients"), Ca::new("stranger"));
    let file = folder.path().join("clients.pem");
    std::fs::write(&file, clients.pem()).unwrap();
    let settings = write_leaf(folder.path(), &ca.server(&["localhost"]));
    let (known, unknown) = (clients.client("known"), stranger.client("unknown"));
    // The status, 0 for none, and how many certificates come through.
    for (wanted, client, want) in [
        (ClientCertificates::Require(file.clone()), Some(&known), (200, json!(1))),
        (ClientCertificates::Require(file.clone()), Some(&unknown), (0, Value::Null)),
        (ClientCertificates::Require(file), None, (0, Value::Null)),
        (ClientCertificates::Ignore, Some(&known), (200, json!(0))),
        (ClientCertificates::Ignore, None, (200, json!(0))),
    ] {
        let settings = TlsSettings { client_certificates: wanted.clone(), ..settings.clone() };
        let any_port = SocketSettings::Tcp(([127, 0, 0, 1], 0).into());
        let server = run(open(any_port, Some(settings)).unwrap(), &Capacity::default());
        let (status, body) = ask_tls(server.address, &ca, client).await.unwrap_or((0, Value::Null));
        assert_eq!((status, body["certificates"].clone()), want, "{wanted:?}");
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("ca");
    let settings = write_leaf(folder.path(), &ca.server(&["localhost"]));
    std::fs::write(&settings.key_file, ca.server(&["localhost"]).key_pem).unwrap();
    let any_port = SocketSettings::Tcp(([127, 0, 0, 1], 0).into());
    let error = open(any_port, Some(settings)).err().unwrap();
    assert!(matches!(error, ListenerError::Tls(TlsError::Pair { .. })), "{error}");
}

#[tokio::test]
async fn a_socket_file_has_its_mode_and_replaces_only_dead_ones() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.sock");
    let settings = SocketSettings::Unix { path: path.clone(), mode: 0o660 };
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = run(open(settings.clone(), None).unwrap(), &Capacity::default());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(parse(&raw(&mut stream, &message("GET", "/v1/a", "")).await).0, 200);

    let in_use = open(settings.clone(), None).err().unwrap().to_string();
    assert!(in_use.starts_with("another process listens on"), "{in_use}");
    server.shutdown.cancel();
    server.task.await.unwrap();
    assert!(!path.exists(), "it is removed at the end");
    std::fs::write(&path, "precious").unwrap();
    let file = open(settings, None).err().unwrap().to_string();
    assert!(file.ends_with("exists and is not a socket"), "{file}");
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_refused_at_start() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = SocketSettings::Tcp(holder.local_addr().unwrap());
    let everywhere = SocketSettings::Tcp(([0, 0, 0, 0], 0).into());
    for (socket, want) in [
        (taken, "listen on 127.0.0.1:"),
        (everywhere, "its listener has no TLS"),
        (SocketSettings::Inherited("vault".into()), "no socket named \"vault\" was passed on"),
    ] {
        let error = open(socket.clone(), None).err().map(|error| error.to_string());
        let found = error.as_ref().is_some_and(|error| error.contains(want));
        assert!(found, "{socket:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_rests_makes_room_where_others_wait() {
    let settings = ListenerSettings {
        socket: SocketSettings::Tcp(([127, 0, 0, 1], 0).into()),
        tls: None,
        cleartext_anywhere: false,
        limits: Limits { idle_timeout: Duration::from_secs(3600), ..limits() },
    };
    let listener = Listener::open(settings, &mut Inherited::default()).unwrap();
    let capacity = Capacity { connections: 1, ..Capacity::default() };
    let server = run(listener, &capacity);
    let mut resting = TcpStream::connect(server.address).await.unwrap();
    resting.write_all(b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(resting.read(&mut [0; 4096]).await.unwrap() > 0);
    let other =
        tokio::time::timeout(Duration::from_secs(20), ask(server.address, "GET", "/v1/b", ""));
    assert_eq!(other.await.unwrap().0, 200);
}

#[tokio::test]
async fn one_address_leaves_room_for_others() {
    let settings = ListenerSettings {
        socket: SocketSettings::Tcp(([127, 0, 0, 1], 0).into()),
        tls: None,
        cleartext_anywhere: false,
        limits: Limits { idle_timeout: Duration::from_secs(3600), ..limits() },
    };
    let listener = Listener::open(settings, &mut Inherited::default()).unwrap();
    let capacity = Capacity { connections: 4, requests: 2, ..Capacity::default() };
    let server = run(listener, &capacity);
    // A client that asks now and then, on as many connections as it gets.
    let resting = b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(resting).await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        held.push(stream);
    }
    let third = tokio::time::timeout(Duration::from_secs(20), send(server.address, resting));
    assert_eq!(third.await.as_deref(), Ok(""), "hung up on");
    let from_elsewhere = || async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        parse(&raw(&mut stream, &message("GET", "/v1/b", "")).await).0
    };
    assert_eq!(from_elsewhere().await, 200);
    // Nor does it get all of the requests that may be under way.
    held[0].write_all(b"GET /v1/slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.echo.entered.notified().await;
    held[1].write_all(resting).await.unwrap();
    let mut answer = [0; 4096];
    let length = held[1].read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.contains("503") && answer.contains("this address"), "{answer}");
    assert_eq!(from_elsewhere().await, 200);
    server.echo.release.notify_one();
}

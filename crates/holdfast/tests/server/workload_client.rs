//! What services in Rust build on their own identity, over the agent as a process: TLS by SPIFFE ID
//! in which every handshake has the certificate of its moment.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_client::vault::{Trust, VaultClient, VaultConfig};
use holdfast_client::workload::{SpiffeId, Workload, WorkloadSettings, exact};
use holdfast_keys::x509::Certificate;
use holdfast_testkit::{Registration, SpiffeEngine, TrustDomain, TrustDomainSettings};
use holdfast_types::Chain;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

/// How long anything here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn trust_domain(settings: TrustDomainSettings) -> TrustDomain {
    TrustDomain::start(
        SpiffeEngine::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast"))),
        settings,
    )
}

pub(crate) async fn connect(domain: &TrustDomain, id: Option<&str>) -> Workload {
    let settings = WorkloadSettings {
        endpoint: Some(domain.endpoint()),
        id: id.map(|id| SpiffeId::new(id).unwrap()),
        start_limit: PATIENCE,
        fetch_limit: PATIENCE,
    };
    Workload::connect(settings).await.unwrap()
}

/// Both ends of a connection whose handshake is over, and what each side was shown.
struct Pair {
    client: StreamOwned<ClientConnection, TcpStream>,
    server: StreamOwned<ServerConnection, TcpStream>,
}

/// The serial numbers that server and client showed, or why there is no connection: the client's
/// word, then the server's.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Pair, [String; 2]> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = server.clone();
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(server).unwrap(), stream);
        let mut byte = [0];
        match stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)) {
            Ok(()) => Ok(stream),
            Err(error) => {
                // The alert is on its way.
                let _ = stream.flush();
                Err(error.to_string())
            }
        }
    });
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A name that no certificate holds.
    let name = "nobody.invalid".try_into().unwrap();
    let connection = ClientConnection::new(client.clone(), name).unwrap();
    let mut client = StreamOwned::new(connection, stream);
    let mut byte = [0];
    let told = client.write_all(b"x").and_then(|()| client.read_exact(&mut byte));
    if told.is_err() {
        let _ = client.sock.shutdown(std::net::Shutdown::Both);
    }
    match (told, serving.join().unwrap()) {
        (Ok(()), Ok(server)) => Ok(Pair { client, server }),
        (client, server) => Err([
            client.err().map(|error| error.to_string()).unwrap_or_default(),
            server.err().unwrap_or_default(),
        ]),
    }
}

impl Pair {
    fn serials(&self) -> [String; 2] {
        let of = |shown: Option<&[rustls::pki_types::CertificateDer<'_>]>| {
            let leaf = Certificate::from_der(shown.unwrap().first().unwrap()).unwrap();
            hex::encode(leaf.serial)
        };
        [of(self.client.conn.peer_certificates()), of(self.server.conn.peer_certificates())]
    }

    fn speak(&mut self) {
        let mut got = [0; 5];
        self.client.write_all(b"still").unwrap();
        self.server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"still");
        self.server.write_all(b"there").unwrap();
        self.client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_handshake_has_the_certificate_of_its_moment() {
    let settings =
        TrustDomainSettings { x509_ttl: Duration::from_secs(20), ..TrustDomainSettings::default() };
    let domain = trust_domain(settings);
    domain.register(&Registration::own("/front"));
    let front = connect(&domain, None).await;
    domain.register(&Registration::own("/back"));
    let back = connect(&domain, Some("spiffe://example.org/back")).await;
    assert_eq!(back.svid().unwrap().id().path(), "/back");
    let back_id = || exact(["spiffe://example.org/back"]).unwrap();
    let client = Arc::new(front.client_tls(back_id(), &["h2"]).unwrap());
    let server = Arc::new(back.server_tls(|id: &SpiffeId| id.path() == "/front", &["h2"]).unwrap());
    let mut first = shake(&client, &server).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(first.client.conn.alpn_protocol(), Some(&b"h2"[..]));
    let shown = first.serials();

    // Both rotate: the same configurations show others, and who is connected stays so.
    let rotated = async {
        loop {
            let pair = shake(&client, &server).unwrap_or_else(|error| panic!("{error:?}"));
            let now = pair.serials();
            if now[0] != shown[0] && now[1] != shown[1] {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, rotated).await.expect("both to rotate");
    first.speak();

    // Each side takes whom it is told, and no other, though the authorities are the same.
    let nobody = Arc::new(front.client_tls(|_: &SpiffeId| false, &[]).unwrap());
    let [told, _] = shake(&nobody, &server).err().expect("a refusal");
    assert!(told.contains("peer SPIFFE ID is not authorized"), "{told}");
    let other = Arc::new(back.server_tls(back_id(), &["h2"]).unwrap());
    let [_, told] = shake(&client, &other).err().expect("a refusal");
    assert!(told.contains("peer SPIFFE ID is not authorized"), "{told}");
    // One whose authorities are its own is not believed, whatever its ID.
    let stranger = trust_domain(TrustDomainSettings::default());
    stranger.register(&Registration::own("/front"));
    let stranger = connect(&stranger, None).await;
    let stranger =
        Arc::new(stranger.client_tls(holdfast_client::workload::any(), &["h2"]).unwrap());
    let [_, told] = shake(&stranger, &server).err().expect("a refusal");
    assert!(!told.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_restarts_is_followed_and_a_lost_identity_is_not_shown() {
    let mut domain = trust_domain(TrustDomainSettings::default());
    let entry = domain.register(&Registration::own("/backend"));
    let workload = connect(&domain, None).await;
    let before = workload.svid().unwrap();
    let pem = workload.svid().unwrap().to_pem();
    assert_eq!(pem.expose().matches("-----BEGIN CERTIFICATE-----").count(), before.chain().count());
    assert_eq!(pem.expose().matches("-----BEGIN PRIVATE KEY-----").count(), 1);
    assert!(!format!("{workload:?} {before:?}").contains("PRIVATE"));
    assert!(workload.authorities().unwrap().contains("BEGIN CERTIFICATE"));

    // Without an agent, what it gave last is good until its end; tokens are asked for anew.
    let mut updates = workload.updated();
    domain.kill_agent();
    assert!(workload.svid().is_ok());
    domain.start_agent();
    tokio::time::timeout(PATIENCE, updates.changed()).await.expect("another SVID").unwrap();
    assert!(!workload.token("vault").await.unwrap().expose().is_empty());

    // What the server takes back is not shown to anyone any more.
    domain.unregister(&entry);
    let gone = async {
        while workload.svid().is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the identity to go");
    let refused = workload.token("vault").await.expect_err("no token");
    let told = Chain(&refused).to_string();
    assert!(told.starts_with("get a JWT-SVID from the SPIFFE agent: "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secrets_server_is_known_by_its_id_and_not_by_a_file() {
    let domain = trust_domain(TrustDomainSettings::default());
    domain.register(&Registration::own("/vault"));
    let workload = connect(&domain, None).await;
    let requests = Arc::new(AtomicUsize::new(0));
    let server = Arc::new(workload.server_tls(holdfast_client::workload::any(), &[]).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(server.clone()).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream.unwrap()));
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            if line == "\r\n" {
                seen.fetch_add(1, Ordering::SeqCst);
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                    content-length: 18\r\nconnection: close\r\n\r\n{\"data\":{\"a\":\"b\"}}";
                let _ = stream.get_mut().write_all(answer.as_bytes());
                stream.get_mut().conn.send_close_notify();
                let _ = stream.get_mut().flush();
            }
        }
    });
    let mut config = VaultConfig::new(format!("https://localhost:{port}").parse().unwrap());
    config.max_retries = 0;
    let ask = async |id: &str| {
        let mut config = config.clone();
        let tls = workload.client_tls(exact([id]).unwrap(), &[]).unwrap();
        config.trust = Trust::Tls(Arc::new(tls));
        VaultClient::new(&config).unwrap().read("secret/a", &[]).await
    };
    let reply = ask("spiffe://example.org/vault").await.unwrap().unwrap();
    assert_eq!(reply.data.unwrap()["a"], "b");
    let refused = ask("spiffe://example.org/other").await.unwrap_err();
    assert!(
        Chain(&refused).to_string().contains("peer SPIFFE ID is not authorized"),
        "{}",
        Chain(&refused)
    );
    assert_eq!(requests.load(Ordering::SeqCst), 1, "nothing is sent to a stranger");

    // Two certificates would leave open which one is meant.
    let tls = workload.client_tls(holdfast_client::workload::any(), &[]).unwrap();
    config.trust = Trust::Tls(Arc::new(tls));
    let pem = workload.svid().unwrap().to_pem();
    config.identity = Some(pem.expose().clone().into_bytes().into());
    let refused = VaultClient::new(&config).expect_err("it is refused");
    assert!(refused.to_string().contains("besides a TLS configuration"), "{refused}");
}

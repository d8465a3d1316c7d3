//! The server over TLS: for agents on other machines, and for those who look at its bundle.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use holdfast_keys::x509::{Certificate, Curve, KeyAlgorithm, PrivateKey};
use holdfast_types::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server as Grpc;

use super::peer::{Connection, Peer};
use super::registry::server_id;
use super::svid::X509Subject;
use super::{Shared, node};
use crate::Bundle;
use crate::proto::node::node_server::NodeServer;

const MAX_CONNECTIONS: usize = 4096;
const MAX_STREAMS: u32 = 256;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A connection over TLS.
pub(super) type Secured = Connection<TlsStream<TcpStream>>;

/// Serves agents on other machines until shutdown.
pub(super) async fn serve_nodes(
    shared: Arc<Shared>,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let incoming = accept(shared.clone(), listener, b"h2", shutdown.clone());
    let served = Grpc::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(NodeServer::new(node::NodeService(shared)))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled());
    let deadline = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN_LIMIT).await;
    };
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::error!(error = &error as &dyn std::error::Error, "serve agents");
        },
        () = deadline => {}
    }
}

/// Connections whose handshake is done. Whoever shows a certificate has had it verified.
pub(super) fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    protocol: &'static [u8],
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Secured>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let own = Arc::new(OwnSvid { shared: Arc::downgrade(&shared), cached: Mutex::default() });
        let mut bundle = shared.authorities.bundle();
        let mut config: Option<Arc<ServerConfig>> = None;
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                () = sender.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if config.is_none() || bundle.has_changed().unwrap_or(false) {
                let now = bundle.borrow_and_update().clone();
                config = settings(&now, own.clone(), protocol);
            }
            let Some(config) = config.clone() else { continue };
            let sender = sender.clone();
            tokio::spawn(async move {
                let handshake = TlsAcceptor::from(config).accept(stream);
                match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
                    Ok(Ok(stream)) => {
                        let peer = peer(&stream);
                        let _ = sender.send(Ok(Connection::new(stream, peer, place))).await;
                    }
                    Ok(Err(error)) => refused(address, &error),
                    Err(_) => tracing::debug!(%address, "TLS handshake: too slow"),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

fn refused(address: SocketAddr, error: &io::Error) {
    tracing::debug!(%address, error = error as &dyn std::error::Error, "TLS handshake");
}

fn peer(stream: &TlsStream<TcpStream>) -> Peer {
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = shown.and_then(|der| Certificate::from_der(der).ok()).map(Arc::new);
    Peer::Tls { certificate }
}

/// TLS by the server's own SVID; certificates of clients are verified by the bundle.
fn settings(
    bundle: &Bundle,
    own: Arc<OwnSvid>,
    protocol: &'static [u8],
) -> Option<Arc<ServerConfig>> {
    let mut roots = RootCertStore::empty();
    for der in &bundle.x509_authorities {
        // One that rustls does not take verifies nobody.
        let _ = roots.add(CertificateDer::from(der.clone()));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .ok()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![protocol.to_vec()];
    Some(Arc::new(config))
}

/// The server's own SVID, signed by itself, and anew after half of its life, where the bundle changed, or
/// where the clock was set back: to others it may not be valid yet.
struct OwnSvid {
    shared: Weak<Shared>,
    cached: Mutex<Option<Shown>>,
}

/// What is shown for a time, and while the bundle stays the same.
struct Shown {
    key: Arc<CertifiedKey>,
    sequence: u64,
    times: Range<Timestamp>,
}

impl std::fmt::Debug for OwnSvid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnSvid")
    }
}

impl ResolvesServerCert for OwnSvid {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shared = self.shared.upgrade()?;
        let now = shared.clock.now();
        let sequence = shared.authorities.bundle().borrow().sequence;
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = cached.as_ref()
            && shown.sequence == sequence
            && shown.times.contains(&now)
        {
            return Some(shown.key.clone());
        }
        let (key, until) = own_svid(&shared, now)?;
        *cached = Some(Shown { key: key.clone(), sequence, times: now..until });
        Some(key)
    }
}

fn own_svid(shared: &Shared, now: Timestamp) -> Option<(Arc<CertifiedKey>, Timestamp)> {
    let id = server_id(&shared.settings.trust_domain)?;
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).ok()?;
    let svid = shared.authorities.sign_x509(X509Subject {
        spiffe_id: &id,
        dns_names: &shared.settings.dns_names,
        ip_addresses: &[],
        public_key: key.public_key().clone(),
        ttl: shared.settings.agent_ttl,
    });
    let svid = svid.ok()?;
    let until = now + Duration::try_from(svid.not_after.duration_since(now)).ok()? / 2;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec()));
    let signing = aws_lc_rs::sign::any_supported_type(&der).ok()?;
    let chain = svid.chain.into_iter().map(CertificateDer::from).collect();
    Some((Arc::new(CertifiedKey::new(chain, signing)), until))
}

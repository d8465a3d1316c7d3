//! TLS as an agent speaks it: by the SVID that it has at the moment, or as anybody before it has one.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use holdfast_keys::x509::PrivateKey;
use holdfast_types::TrustDomain;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::JoinError;
use super::kept::{self, Kept};
use crate::Bundle;
use crate::tls::knowing;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What TLS is done with; replaced when the SVID is.
pub(super) struct Identity {
    trust_domain: TrustDomain,
    kept: RwLock<Option<Kept>>,
    first_bundle: Vec<Vec<u8>>,
}

impl Identity {
    /// The server is known by the bundle that was kept; without one by `first_bundle`.
    pub(super) fn new(
        trust_domain: TrustDomain,
        first_bundle: Vec<Vec<u8>>,
        kept: Option<Kept>,
    ) -> Self {
        Self { trust_domain, kept: RwLock::new(kept), first_bundle }
    }

    /// Of nobody, who knows the server as this one does.
    pub(super) fn anonymous(&self) -> Self {
        Self::new(self.trust_domain.clone(), self.authorities(), None)
    }

    pub(super) fn kept(&self) -> Option<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps an SVID in the file at `path`, and shows it from now on.
    pub(super) fn keep(&self, path: &Path, kept: Kept) -> Result<(), JoinError> {
        let written = kept::write(path, &kept);
        written.map_err(|source| JoinError::State { path: path.to_owned(), source })?;
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(())
    }

    /// Knows the server by this bundle from now on, after a restart, too.
    pub(super) fn follow(&self, path: &Path, bundle: &Bundle) {
        let Some(kept) = self.kept() else { return };
        if bundle.x509_authorities.is_empty() || kept.bundle() == bundle.x509_authorities {
            return;
        }
        let kept = kept.knowing(&bundle.x509_authorities);
        if let Err(error) = kept::write(path, &kept) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "keep the bundle by which the agent knows its server");
        }
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }

    /// What the server is known by.
    fn authorities(&self) -> Vec<Vec<u8>> {
        let known = self.kept().map(|kept| kept.bundle());
        known.unwrap_or_else(|| self.first_bundle.clone())
    }

    /// TLS as the agent speaks it at this moment.
    fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let kept = self.kept();
        let server = format!("spiffe://{}/spire/server", self.trust_domain);
        let builder = knowing(&self.authorities(), &server)?;
        let mut config = match kept {
            None => builder.with_no_client_auth(),
            Some(kept) => {
                let key = PrivateKey::from_pem(kept.key.expose())
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                let key = PrivatePkcs8KeyDer::from(key.to_pkcs8().to_vec());
                let chain = kept.chain().into_iter().map(CertificateDer::from).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Says of a server whose certificate is not verified what is to be done.
fn unknown(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => io::Error::other(format!(
            "{error}: the bundle that the agent has does not verify the server; start the agent with the \
             server's bundle of now (`holdfast spiffe bundle show`) and something to join with"
        )),
        _ => error,
    }
}

/// A channel that does each handshake with what the agent has then.
pub(super) fn channel(server: &str, identity: Arc<Identity>) -> Channel {
    let server: Arc<str> = server.into();
    let connector = tower::service_fn(move |_: Uri| {
        let (server, identity) = (server.clone(), identity.clone());
        async move {
            let config = identity.tls().map_err(io::Error::other)?;
            let stream = TcpStream::connect(&*server).await?;
            stream.set_nodelay(true)?;
            // Which host it is does not matter: the certificate must be the server's.
            let name = ServerName::try_from("server.invalid").map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            let stream = stream.map_err(unknown)?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

//! TLS of a listener, with a certificate that can be replaced while it serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;

/// Why a listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read, or does not hold what it should.
    #[error("read {what} from {}", path.display())]
    File {
        /// `certificates` or `the private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A PEM file holds no certificate.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// Certificate and key do not fit together, or the CAs of callers cannot be used.
    #[error("use the certificate {}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The TLS of one listener, as it is now.
pub(crate) struct Tls {
    config: TlsConfig,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    pub(super) fn load(config: TlsConfig) -> Result<Self, TlsError> {
        let current = ArcSwap::from(read(&config)?);
        Ok(Self { config, current })
    }

    /// Reads the files again. What was in use before stays in use where one is unusable.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        self.current.store(read(&self.config)?);
        Ok(())
    }

    /// What the next handshake uses.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn read(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match &config.client_ca_file {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, error))?;
            }
            let roots = Arc::new(roots);
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| unusable(path, error))?
        }
    };
    let chain = certificates(&config.certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&config.key_file).map_err(|source| TlsError::File {
        what: "the private key",
        path: config.key_file.clone(),
        source,
    })?;
    let versions: &[_] = match config.only_tls13 {
        true => &[&rustls::version::TLS13],
        false => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&config.certificate_file, error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&config.certificate_file, error))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { what: "certificates", path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if chain.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(chain)
}

fn unusable(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), source: source.into() }
}

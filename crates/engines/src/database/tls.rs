//! `sslmode` as a rustls verifier.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::dsn::{Dsn, Security};

/// What is wrong with the TLS settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("sslmode={0} needs a root certificate: give tls_ca, or sslrootcert in connection_url")]
    NoRoot(&'static str),
    #[error("{0} holds no certificate in PEM")]
    NoCertificate(&'static str),
    #[error("{0} holds no private key in PEM")]
    NoKey(&'static str),
    #[error("tls_certificate and private_key must be given together")]
    Half,
    #[error("read {0}")]
    File(&'static str, #[source] std::io::Error),
    #[error("{0} is larger than 1 MiB")]
    TooLarge(&'static str),
    #[error("set up TLS")]
    Rustls(#[from] rustls::Error),
}

/// PEM that the config holds itself; it goes before the files that the connection string names.
#[derive(Default, Clone, Copy)]
pub(crate) struct Pem<'a> {
    pub(crate) ca: Option<&'a str>,
    pub(crate) certificate: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
}

/// The connector for a connection string, with the PEM of its config.
pub(crate) fn connector(dsn: &Dsn, pem: Pem<'_>) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    // A clear-text connection has no use for any of it: what is named may not even exist.
    let (pem, files) = match dsn.security {
        Security::Disable => (Pem::default(), [None; 3]),
        _ => (pem, [&dsn.root_file, &dsn.certificate_file, &dsn.key_file].map(Option::as_deref)),
    };
    let ca = text("sslrootcert", pem.ca, files[0])?;
    let roots = ca.as_ref().map(|ca| roots(ca)).transpose()?;
    let builder = match (dsn.security, roots) {
        (Security::VerifyFull, Some(roots)) => builder.with_root_certificates(roots),
        (Security::VerifyFull, None) => return Err(TlsError::NoRoot("verify-full")),
        (Security::VerifyCa, None) => return Err(TlsError::NoRoot("verify-ca")),
        (_, roots) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName { roots, provider })),
    };
    let certificate = text("sslcert", pem.certificate, files[1])?;
    let key = text("sslkey", pem.key, files[2])?;
    let config = match (certificate, key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates("tls_certificate", &certificate)?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|_| TlsError::NoKey("private_key"))?;
            builder.with_client_auth_cert(chain, key)?
        }
        _ => return Err(TlsError::Half),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn text(
    name: &'static str,
    inline: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Zeroizing<String>>, TlsError> {
    const LIMIT: u64 = 1 << 20;
    if let Some(inline) = inline.filter(|inline| !inline.is_empty()) {
        return Ok(Some(Zeroizing::new(inline.to_owned())));
    }
    let Some(path) = file else { return Ok(None) };
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).map_err(|error| TlsError::File(name, error))?;
    let read = file.take(LIMIT + 1).read_to_string(&mut text);
    let length = read.map_err(|error| TlsError::File(name, error))?;
    if length as u64 > LIMIT {
        return Err(TlsError::TooLarge(name));
    }
    Ok(Some(text))
}

fn certificates(name: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NoCertificate(name)),
    }
}

fn roots(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_ca", pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// Verifies the chain, where there are roots, and never the name: `verify-ca` and `require`.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

//! A bundle endpoint that proves by an SVID who it is (SPIFFE Federation, section 5.2.2).

use std::sync::Arc;

use holdfast_client::fetch::Fetcher;
use holdfast_keys::x509::{Certificate, GeneralName, verify_server};
use holdfast_types::{Clock, SpiffeId};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::bundle::Bundle;
use super::config::Config;

/// A client that takes the endpoint's SVID, and nothing else, by the authorities of `bundle`.
pub(super) fn fetcher(
    config: &Config,
    bundle: Option<Bundle>,
    clock: Arc<dyn Clock>,
) -> Option<Fetcher> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = EndpointVerifier {
        id: config.endpoint_spiffe_id.clone()?,
        authorities: bundle?.x509,
        algorithms: provider.signature_verification_algorithms,
        clock,
    };
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Fetcher::with_tls(tls)
}

struct EndpointVerifier {
    id: SpiffeId,
    authorities: Vec<Certificate>,
    algorithms: WebPkiSupportedAlgorithms,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for EndpointVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointVerifier").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let other = || rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        let parsed = Certificate::from_der(leaf).map_err(|_| refused())?;
        let is_uri = |name: &GeneralName| matches!(name, GeneralName::Uri(_));
        let uris: Vec<_> = parsed.names().into_iter().filter(is_uri).collect();
        if uris != [GeneralName::Uri(self.id.to_string())] {
            return Err(other());
        }
        let chain: Vec<Vec<u8>> =
            std::iter::once(leaf).chain(intermediates).map(|der| der.to_vec()).collect();
        verify_server(&chain, &self.authorities, self.clock.now()).map_err(|_| refused())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

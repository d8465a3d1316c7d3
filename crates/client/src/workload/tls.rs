//! TLS in which both sides show X.509-SVIDs.

use rustls::{ClientConfig, ServerConfig};
use spiffe_rustls::authorizer::Authorizer;
use spiffe_rustls::{mtls_client, mtls_server};

use super::Workload;

/// TLS cannot be set up with what the agent gave.
#[derive(Debug, thiserror::Error)]
#[error("set up TLS with the X.509-SVID")]
pub struct WorkloadTlsError(#[from] Box<spiffe_rustls::Error>);

impl Workload {
    /// TLS towards servers whose SPIFFE ID `authorise` takes. Each handshake shows the certificate
    /// of then, and trusts the authorities of then; sessions are not resumed, for that would pass
    /// over both. The name in the address does not matter: the SPIFFE ID says who it is.
    ///
    /// `authorise` is a function of the ID, or [`exact`](super::exact),
    /// [`trust_domains`](super::trust_domains) or, for whoever asks later, [`any`](super::any).
    /// `protocols` are those of ALPN, the best one first.
    ///
    /// # Errors
    /// The agent's certificates or key cannot be used.
    pub fn client_tls(
        &self,
        authorise: impl Authorizer,
        protocols: &[&str],
    ) -> Result<ClientConfig, WorkloadTlsError> {
        let builder = mtls_client(self.x509()).authorize(authorise);
        let built = builder.with_alpn_protocols(protocols.iter().map(|name| name.as_bytes()));
        built.build().map_err(|error| WorkloadTlsError(Box::new(error)))
    }

    /// TLS of a server that lets in clients whose SPIFFE ID `authorise` takes, and refuses those
    /// without a certificate. The rest is as in [`client_tls`](Self::client_tls).
    ///
    /// # Errors
    /// The agent's certificates or key cannot be used.
    pub fn server_tls(
        &self,
        authorise: impl Authorizer,
        protocols: &[&str],
    ) -> Result<ServerConfig, WorkloadTlsError> {
        let builder = mtls_server(self.x509()).authorize(authorise);
        let built = builder.with_alpn_protocols(protocols.iter().map(|name| name.as_bytes()));
        built.build().map_err(|error| WorkloadTlsError(Box::new(error)))
    }
}

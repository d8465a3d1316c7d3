//! Who signs the server's own certificate authorities.

mod disk;
mod vault;

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_keys::x509::{Certificate, X509Error};
use holdfast_types::{Timestamp, TrustDomain};

pub use disk::{DiskError, DiskUpstream};
pub(crate) use disk::{authority_name, self_signed};
pub use vault::VaultUpstream;

/// A certificate authority to be signed.
#[derive(Debug)]
pub struct AuthorityRequest<'r> {
    /// PKCS #10 in DER, signed with the new authority's key; names the trust domain.
    pub csr: &'r [u8],
    /// The trust domain it is for.
    pub trust_domain: &'r TrustDomain,
    /// How long it is wanted; an upstream that ends sooner gives less.
    pub life: Duration,
    /// The moment from which that counts.
    pub now: Timestamp,
}

/// A certificate authority that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAuthority {
    /// DER: the new authority's certificate, then those between it and a root.
    pub chain: Vec<Vec<u8>>,
    /// DER: what verifies the chain, and is trusted by all.
    pub roots: Vec<Vec<u8>>,
}

/// Why an upstream did not sign.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The upstream itself is about to end, or has.
    #[error("the upstream authority is valid only until {0}")]
    Ended(Timestamp),
    /// It did not answer, or refused.
    #[error("{action}")]
    Refused {
        /// What was asked.
        action: String,
        /// Its answer.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered with something else than an authority of ours.
    #[error("the upstream's answer is not usable: {0}")]
    Answer(String),
}

/// Something that signs the server's authorities.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// What it is, for logs.
    fn name(&self) -> &'static str;

    /// Signs.
    ///
    /// # Errors
    /// See [`UpstreamError`]; it is asked again later.
    async fn sign(&self, request: AuthorityRequest<'_>) -> Result<SignedAuthority, UpstreamError>;
}

impl SignedAuthority {
    /// Checks that the chain is for `key`, leads to one of the roots, and that all in it may sign;
    /// gives the authority's own certificate.
    ///
    /// # Errors
    /// [`UpstreamError::Answer`]
    pub(crate) fn check(&self, csr: &[u8]) -> Result<Certificate, UpstreamError> {
        let wrong = |what: &str| UpstreamError::Answer(what.to_owned());
        let unreadable = |error: X509Error| UpstreamError::Answer(error.to_string());
        let read = |list: &[Vec<u8>]| {
            list.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>()
        };
        let chain = read(&self.chain).map_err(unreadable)?;
        let roots = read(&self.roots).map_err(unreadable)?;
        let request = holdfast_keys::x509::CertificateRequest::from_der(csr).map_err(unreadable)?;
        let Some(own) = chain.first() else { return Err(wrong("no certificate")) };
        if own.public_key != request.public_key {
            return Err(wrong("a certificate for another key"));
        }
        if !own.is_ca {
            return Err(wrong("the certificate is no authority's"));
        }
        for pair in chain.windows(2) {
            pair[0].check_signed_by(&pair[1]).map_err(|_| wrong("a chain that is broken"))?;
        }
        let last = chain.last().unwrap_or(own);
        if !roots.iter().any(|root| last.check_signed_by(root).is_ok()) {
            return Err(wrong("a chain that leads to none of its roots"));
        }
        Ok(own.clone())
    }
}

//! What an agent needs of its server.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use holdfast_keys::x509::{
    Curve, Hash, KeyAlgorithm, PrivateKey, RequestTemplate, Subject, X509Error,
};
use holdfast_types::{SecretString, Timestamp, TrustDomain};
use tokio::sync::watch;

use crate::{Bundle, Entries};

/// All that an agent must know, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The trust domain of agent and server.
    pub trust_domain: TrustDomain,
    /// The entries that the agent serves.
    pub entries: Entries,
    /// What verifies the SVIDs of its own trust domain.
    pub bundle: Arc<Bundle>,
    /// The bundles of others that some entry federates with, as far as they are known.
    pub federated: BTreeMap<TrustDomain, Arc<Bundle>>,
}

/// A signed certificate; its key never leaves whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X509Svid {
    /// DER: the leaf, then the authorities between it and the bundle.
    pub chain: Vec<Vec<u8>>,
    /// Where the leaf begins to be valid, and where its half-life is counted from.
    pub not_before: Timestamp,
    /// Its end, to the second.
    pub not_after: Timestamp,
}

/// A signed token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSvid {
    /// The token, a credential.
    pub token: SecretString,
    /// Claim `iat`.
    pub issued_at: Timestamp,
    /// Claim `exp`.
    pub expires_at: Timestamp,
}

/// Why an SVID was not signed.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// There is no such entry, or it is not this agent's: it may have been removed a moment ago.
    #[error("the agent has no entry {0:?}")]
    NoEntry(String),
    /// What was sent cannot be signed, whoever asks again.
    #[error("{0}")]
    Invalid(String),
    /// The server cannot be reached or cannot sign at the moment; to be tried again.
    #[error("the SPIFFE server cannot sign")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// The server as an agent sees it: over the wire, or in tests in the same process.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// What the agent must know. None before the first answer of the server; from then on the last
    /// one, also while the server cannot be reached.
    fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>>;

    /// An X.509-SVID of an entry. `request` is a certificate request (PKCS #10, DER) signed with
    /// the key to certify; its names and extensions are passed over, for the entry says them.
    ///
    /// # Errors
    /// See [`MintError`].
    async fn mint_x509(&self, entry: &str, request: &[u8]) -> Result<X509Svid, MintError>;

    /// A JWT-SVID of an entry, for these audiences (at least one).
    ///
    /// # Errors
    /// See [`MintError`].
    async fn mint_jwt(&self, entry: &str, audiences: &[String]) -> Result<JwtSvid, MintError>;
}

/// A new key on P-256, and what [`Source::mint_x509`] is to be asked with for it (PKCS #10, DER).
///
/// # Errors
/// The cryptographic library refuses.
pub fn key_and_request() -> Result<(PrivateKey, Vec<u8>), X509Error> {
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256))?;
    let request = RequestTemplate { subject: Subject::default().to_name(), extensions: vec![] };
    let request = request.sign(&key, key.signature_algorithm(Hash::Sha256, false))?;
    Ok((key, request))
}

//! Nodes that prove what they are by a certificate of the operator's own authority.
//!
//! The agent shows the certificate, gets a challenge, and signs it together with a number of its
//! own. Ids and selectors are those of SPIRE's attestor of this name.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use holdfast_keys::x509::{Certificate, Hash, KeyAlgorithm, SignatureAlgorithm};
use holdfast_types::{Timestamp, TrustDomain};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::attest::Attested;
use crate::Selector;
use crate::pop::{NONCE, message, split_chain};

const MAX_CHAIN: usize = 8;

/// Whose certificates nodes may show.
pub struct X509Pop {
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why a node is not what it says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PopError {
    #[error("x509pop: no chain of certificates")]
    Chain,
    #[error("x509pop: the certificate is not verified: {0}")]
    Verify(#[from] rustls::Error),
    #[error("x509pop: the answer to the challenge is wrong")]
    Answer,
    #[error("x509pop: the node's id cannot be made")]
    Id,
}

/// A certificate that was verified, whose key is still to be shown.
pub(crate) struct Claimed {
    chain: Vec<Certificate>,
}

impl X509Pop {
    /// Nodes whose certificates chain up to one of `roots`, DER.
    ///
    /// # Errors
    /// There is none, or one that cannot be used.
    pub fn new(roots: Vec<Vec<u8>>) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        for der in roots {
            store.add(CertificateDer::from(der))?;
        }
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self { verifier })
    }

    /// Checks what the agent shows: a leaf, then its intermediates.
    pub(crate) fn claim(&self, payload: &[u8], now: Timestamp) -> Result<Claimed, PopError> {
        let ders = split_chain(payload).ok_or(PopError::Chain)?;
        if !(1..=MAX_CHAIN).contains(&ders.len()) {
            return Err(PopError::Chain);
        }
        let chain = ders.iter().map(|der| Certificate::from_der(der));
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|_| PopError::Chain)?;
        let ders: Vec<_> = ders.into_iter().map(CertificateDer::from).collect();
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let (leaf, between) = ders.split_first().ok_or(PopError::Chain)?;
        self.verifier.verify_client_cert(leaf, between, now)?;
        Ok(Claimed { chain })
    }
}

impl Claimed {
    /// Checks the answer to `challenge`.
    pub(crate) fn check(
        self,
        challenge: &[u8; NONCE],
        answer: &[u8],
        trust_domain: &TrustDomain,
    ) -> Result<Attested, PopError> {
        let (nonce, signature) = answer.split_at_checked(NONCE).ok_or(PopError::Answer)?;
        let leaf = self.chain.first().ok_or(PopError::Chain)?;
        let key = &leaf.public_key;
        let algorithm = match key.algorithm() {
            KeyAlgorithm::Rsa(_) => SignatureAlgorithm::Rsa(Hash::Sha256),
            KeyAlgorithm::Ed25519 => SignatureAlgorithm::Ed25519,
            KeyAlgorithm::Ec(curve) if curve.bits() == 256 => {
                SignatureAlgorithm::Ecdsa(Hash::Sha256)
            }
            KeyAlgorithm::Ec(curve) if curve.bits() == 384 => {
                SignatureAlgorithm::Ecdsa(Hash::Sha384)
            }
            KeyAlgorithm::Ec(_) => SignatureAlgorithm::Ecdsa(Hash::Sha512),
        };
        key.verify(algorithm, &message(challenge, nonce), signature)
            .map_err(|_| PopError::Answer)?;
        let path = format!("/spire/agent/x509pop/{}", fingerprint(&leaf.der));
        let agent = trust_domain.member(&path).map_err(|_| PopError::Id)?;
        let mut selectors = BTreeSet::new();
        let mut add = |value: String| selectors.insert(Selector::new("x509pop", value));
        if let Some(name) = leaf.subject.common_name() {
            add(format!("subject:cn:{name}"));
        }
        add(format!("serialnumber:{}", hex::encode(&leaf.serial)));
        for authority in self.chain.iter().skip(1) {
            add(format!("ca:fingerprint:{}", fingerprint(&authority.der)));
        }
        Ok(Attested { agent, kind: "x509pop", selectors, alias: None })
    }
}

/// SHA-1 of a certificate: a name, as SPIRE gives it, for what was verified otherwise.
fn fingerprint(der: &[u8]) -> String {
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der))
}

//! An authority whose key the server has: the platform's root, an own one, or one from files.

use std::time::Duration;

use async_trait::async_trait;
use holdfast_keys::x509::{
    Certificate, CertificateRequest, CertificateTemplate, DistinguishedName, Extension,
    GeneralName, Hash, KeyUsage, PrivateKey, PublicKey, Subject, X509Error, decode_pem,
};
use holdfast_types::{SecretString, Timestamp, TrustDomain};

use super::{AuthorityRequest, SignedAuthority, Upstream, UpstreamError};
use crate::server::svid::{BACKDATED, random_serial};

/// An authority with its key.
pub struct DiskUpstream {
    key: PrivateKey,
    own: Certificate,
    /// Between the authority and its root, without either.
    between: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
}

/// Why files hold no authority.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A certificate or a key does not parse.
    #[error("read the {what}")]
    Parse {
        /// Which of them.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: X509Error,
    },
    /// They are not what an authority needs.
    #[error("{0}")]
    Unfit(&'static str),
}

impl DiskUpstream {
    /// An authority from PEM: its certificate, followed by those between it and its root; its key;
    /// and its root, where it is not its own.
    ///
    /// # Errors
    /// They do not parse, do not belong together, or are no authority's.
    pub fn from_pem(
        certificates: &str,
        key: &SecretString,
        bundle: Option<&str>,
    ) -> Result<Self, DiskError> {
        let parse = |what| move |source| DiskError::Parse { what, source };
        let mut chain = read_all(certificates).map_err(parse("authority's certificate"))?;
        let key = PrivateKey::from_pem(key.expose()).map_err(parse("authority's private key"))?;
        if chain.is_empty() {
            return Err(DiskError::Unfit("there is no certificate in the authority's file"));
        }
        let own = chain.remove(0);
        if own.public_key != *key.public_key() {
            return Err(DiskError::Unfit("the private key is not the authority's"));
        }
        if !own.is_ca {
            return Err(DiskError::Unfit("the certificate is not an authority's"));
        }
        let roots = match bundle {
            Some(text) => read_all(text).map_err(parse("authority's bundle"))?,
            None if own.is_self_issued() => vec![own.clone()],
            None => {
                let why = "the authority is not a root: its bundle must be given";
                return Err(DiskError::Unfit(why));
            }
        };
        let der = |list: Vec<Certificate>| list.into_iter().map(|one| one.der).collect::<Vec<_>>();
        Ok(Self { key, own, between: der(chain), roots: der(roots) })
    }

    /// Makes a root for `trust_domain`, as the PEM of its certificate and of its key.
    ///
    /// # Errors
    /// The cryptographic library's.
    pub fn make_root(
        trust_domain: &TrustDomain,
        life: Duration,
        now: Timestamp,
        random: &dyn holdfast_types::Random,
    ) -> Result<(String, SecretString), X509Error> {
        let curve = holdfast_keys::x509::Curve::P256;
        let key = PrivateKey::generate(holdfast_keys::x509::KeyAlgorithm::Ec(curve))?;
        let der = self_signed(trust_domain, "root", &key, now, life, random)?;
        let pem = holdfast_keys::x509::encode_pem("CERTIFICATE", &der);
        Ok((pem.to_string(), key.to_pkcs8_pem()))
    }
}

#[async_trait]
impl Upstream for DiskUpstream {
    fn name(&self) -> &'static str {
        "disk"
    }

    async fn sign(&self, request: AuthorityRequest<'_>) -> Result<SignedAuthority, UpstreamError> {
        let failed = |source: X509Error| UpstreamError::Refused {
            action: "sign an authority".to_owned(),
            source: source.into(),
        };
        let asked = CertificateRequest::from_der(request.csr).map_err(failed)?;
        if request.now >= self.own.not_after {
            return Err(UpstreamError::Ended(self.own.not_after));
        }
        let template = CertificateTemplate {
            serial: random_serial(&holdfast_types::SystemRandom),
            subject: authority_name(request.trust_domain, "SPIFFE"),
            not_before: (request.now - BACKDATED).max(self.own.not_before),
            not_after: (request.now + request.life).min(self.own.not_after),
            public_key: asked.public_key.clone(),
            extensions: extensions(request.trust_domain, &asked.public_key, Some(&self.own)),
        };
        let algorithm = self.key.signature_algorithm(Hash::Sha256, false);
        let der = template.sign(&self.own.subject, &self.key, algorithm).map_err(failed)?;
        let mut chain = vec![der];
        if !self.roots.contains(&self.own.der) {
            chain.push(self.own.der.clone());
            chain.extend(self.between.iter().cloned());
        }
        Ok(SignedAuthority { chain, roots: self.roots.clone() })
    }
}

/// An authority's certificate, DER, that `key` itself signs.
pub(crate) fn self_signed(
    trust_domain: &TrustDomain,
    kind: &str,
    key: &PrivateKey,
    now: Timestamp,
    life: Duration,
    random: &dyn holdfast_types::Random,
) -> Result<Vec<u8>, X509Error> {
    let subject = authority_name(trust_domain, kind);
    let template = CertificateTemplate {
        serial: random_serial(random),
        subject: subject.clone(),
        not_before: now - BACKDATED,
        not_after: now + life,
        public_key: key.public_key().clone(),
        extensions: extensions(trust_domain, key.public_key(), None),
    };
    template.sign(&subject, key, key.signature_algorithm(Hash::Sha256, false))
}

/// The subject of an authority: not empty, as RFC 5280 wants it of issuers.
pub(crate) fn authority_name(trust_domain: &TrustDomain, kind: &str) -> DistinguishedName {
    let common_name = format!("{trust_domain} {kind} authority");
    Subject { common_name, ..Subject::default() }.to_name()
}

/// What a signing certificate has.
///
/// Source: X.509-SVID standard, sections 4.1 to 4.3.
fn extensions(
    trust_domain: &TrustDomain,
    key: &PublicKey,
    issuer: Option<&Certificate>,
) -> Vec<Extension> {
    let usage = KeyUsage::CERT_SIGN.with(KeyUsage::CRL_SIGN);
    let names = [GeneralName::Uri(trust_domain.id().to_string())];
    let mut extensions = vec![Extension::basic_constraints(true, issuer.map(|_| 0))];
    extensions.extend(Extension::key_usage(usage));
    extensions.push(Extension::subject_key_id(&key.key_id()));
    if let Some(id) = issuer.and_then(|issuer| issuer.subject_key_id.as_ref()) {
        extensions.push(Extension::authority_key_id(id));
    }
    extensions.extend(Extension::subject_alt_name(&names, false));
    extensions
}

/// All certificates of a PEM text.
pub(crate) fn read_all(text: &str) -> Result<Vec<Certificate>, X509Error> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((block, after)) = decode_pem(rest) {
        if block.label == "CERTIFICATE" {
            found.push(Certificate::from_der(&block.der)?);
        }
        rest = after;
    }
    Ok(found)
}

//! One authority: its certificate, and how it may be used.

use holdfast_keys::x509::{Certificate, KeyAlgorithm, KeyUsage, SignatureAlgorithm};
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::serial;
use super::urls::Urls;

/// What an issuer may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) issuing_certificates: bool,
    pub(super) crl_signing: bool,
    pub(super) ocsp_signing: bool,
}

/// All usages, in the order in which they are listed. Reading is always among them.
pub(super) const ALL_USAGES: &str = "crl-signing,issuing-certificates,ocsp-signing,read-only";

impl Usage {
    pub(super) const ALL: Self =
        Self { issuing_certificates: true, crl_signing: true, ocsp_signing: true };

    /// From names such as `crl-signing`. A name that is given twice is not given at all.
    ///
    /// # Errors
    /// A name that is none.
    pub(super) fn parse(names: &[String]) -> Result<Self, String> {
        let mut usage =
            Self { issuing_certificates: false, crl_signing: false, ocsp_signing: false };
        for name in names {
            let flag = match name.as_str() {
                "read-only" => continue,
                "issuing-certificates" => &mut usage.issuing_certificates,
                "crl-signing" => &mut usage.crl_signing,
                "ocsp-signing" => &mut usage.ocsp_signing,
                _ => {
                    return Err(format!(
                        "Unable to parse specified usages: [{}] - valid values are {ALL_USAGES}",
                        names.join(" ")
                    ));
                }
            };
            *flag = !*flag;
        }
        Ok(usage)
    }

    /// The names, with commas between.
    pub(super) fn names(self) -> String {
        let names = [
            (self.crl_signing, "crl-signing"),
            (self.issuing_certificates, "issuing-certificates"),
            (self.ocsp_signing, "ocsp-signing"),
            (true, "read-only"),
        ];
        let held: Vec<_> = names.iter().filter(|(held, _)| *held).map(|(_, name)| *name).collect();
        held.join(",")
    }
}

/// What happens to a certificate that would outlive its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LeafNotAfter {
    /// It is refused.
    Err,
    /// It ends with the issuer.
    Truncate,
    /// It outlives the issuer.
    Permit,
}

impl LeafNotAfter {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "err" => Some(Self::Err),
            "truncate" => Some(Self::Truncate),
            "permit" => Some(Self::Permit),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::Truncate => "truncate",
            Self::Permit => "permit",
        }
    }
}

/// An issuer as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) name: String,
    /// The key that signs for it; empty where only the certificate is known.
    pub(super) key_id: String,
    /// PEM, without a line feed at its end.
    pub(super) certificate: String,
    /// Ids, itself first; empty: worked out from the other issuers.
    pub(super) manual_chain: Vec<String>,
    pub(super) leaf_not_after: LeafNotAfter,
    pub(super) usage: Usage,
    /// How its lists are signed; none: with what suits the key.
    pub(super) revocation_algorithm: Option<String>,
    pub(super) revoked_at: Option<Timestamp>,
    pub(super) urls: Option<Urls>,
}

/// An issuer with its certificate parsed.
#[derive(Debug, Clone)]
pub(super) struct Issuer {
    pub(super) entry: Entry,
    pub(super) certificate: Certificate,
}

impl Issuer {
    pub(super) fn new(id: String, name: &str, certificate: Certificate) -> Self {
        let mut usage = Usage::ALL;
        usage.crl_signing = may_sign_lists(&certificate);
        let entry = Entry {
            id,
            name: name.to_owned(),
            key_id: String::new(),
            certificate: certificate.to_pem(),
            manual_chain: Vec::new(),
            leaf_not_after: LeafNotAfter::Err,
            usage,
            revocation_algorithm: None,
            revoked_at: None,
            urls: None,
        };
        Self { entry, certificate }
    }

    pub(super) fn serial(&self) -> String {
        serial::with_colons(&self.certificate.serial)
    }

    pub(super) fn may_sign_lists(&self) -> bool {
        may_sign_lists(&self.certificate)
    }

    /// How its lists are signed, if that was set.
    pub(super) fn revocation_algorithm(&self) -> Option<SignatureAlgorithm> {
        self.entry.revocation_algorithm.as_deref().and_then(SignatureAlgorithm::parse)
    }

    /// Whether its key can sign with this algorithm.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn check_algorithm(&self, algorithm: SignatureAlgorithm) -> Result<(), String> {
        let (fits, kind) = match (self.certificate.public_key.algorithm(), algorithm) {
            (KeyAlgorithm::Rsa(_), SignatureAlgorithm::Rsa(_) | SignatureAlgorithm::RsaPss(_)) => {
                (true, "RSA")
            }
            (KeyAlgorithm::Ec(_), SignatureAlgorithm::Ecdsa(_)) => (true, "ECDSA"),
            (KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519) => (true, "Ed25519"),
            (KeyAlgorithm::Rsa(_), _) => (false, "RSA"),
            (KeyAlgorithm::Ec(_), _) => (false, "ECDSA"),
            (KeyAlgorithm::Ed25519, _) => (false, "Ed25519"),
        };
        if fits {
            return Ok(());
        }
        let wanted = go_name(algorithm);
        Err(format!("unable to use issuer of type {kind} to sign with {wanted} key type"))
    }
}

fn may_sign_lists(certificate: &Certificate) -> bool {
    certificate.key_usage.is_some_and(|usage| usage.has(KeyUsage::CRL_SIGN))
}

/// The algorithm as Go prints it.
fn go_name(algorithm: SignatureAlgorithm) -> String {
    let name = algorithm.as_str();
    match algorithm {
        SignatureAlgorithm::Rsa(_) => name.replace("With", "-"),
        SignatureAlgorithm::RsaPss(_) => name.replace("With", "-"),
        SignatureAlgorithm::Ecdsa(_) => name.replace("With", "-"),
        SignatureAlgorithm::Ed25519 => name.to_owned(),
    }
}

//! X.509 as a certificate authority needs it: certificates, requests, revocation lists and OCSP
//! answers, written and signed with any key of the field.
//!
//! Reading is `x509-parser`'s work; writing is our own, because an authority must say what its
//! callers ask for and no more: several values of one attribute, a subject or an extension taken
//! byte for byte from a request, RSA-PSS, revocation lists that build on others.

mod algorithm;
mod certificate;
mod chain;
pub mod der;
mod extension;
mod general_name;
mod jwk;
mod key;
mod name;
pub mod ocsp;
mod oid;
mod pem;
mod request;
mod revocation_list;
#[cfg(test)]
mod tests;

pub use algorithm::{Hash, SignatureAlgorithm};
pub use certificate::{Certificate, CertificateTemplate, PublicKey, decimal};
pub use chain::{ChainError, verify_client, verify_server};
pub use extension::{Extension, KeyUsage, PolicyInformation, oids};
pub use general_name::GeneralName;
pub use key::{Curve, KeyAlgorithm, PrivateKey};
pub use name::{DistinguishedName, Subject};
pub use oid::Oid;
pub use pem::{PemBlock, decode_pem, encode_pem};
pub use request::{CertificateRequest, RequestTemplate};
pub use revocation_list::{RevocationList, RevocationListTemplate, RevokedCertificate};

/// Why something of X.509 could not be read, made or checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// The bytes are not of the form that the standards give.
    #[error("{0}")]
    Malformed(String),
    /// A key, a curve or an algorithm that is not supported here.
    #[error("{0}")]
    Unsupported(String),
    /// A signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// The cryptographic library refused.
    #[error("{0} failed")]
    Crypto(&'static str),
}

impl X509Error {
    fn malformed(what: impl std::fmt::Display) -> Self {
        Self::Malformed(what.to_string())
    }
}

//! What a certificate says.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::digest;
use holdfast_types::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// `db.demo.local`, `*.demo.local`.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// Such as `spiffe://demo.local/vault`.
    Uri(String),
}

impl Name {
    /// A name as people write it: an address if it reads as one, a URI if it has `://`, otherwise
    /// a DNS name.
    pub fn guess(text: &str) -> Self {
        if let Ok(address) = text.parse() {
            Self::Ip(address)
        } else if text.contains("://") {
            Self::Uri(text.to_owned())
        } else {
            Self::Dns(text.to_owned())
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) | Self::Uri(text) => f.write_str(text),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// The parts of a certificate that Holdfast looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The serial number in hex, a colon between bytes, as Vault writes it.
    pub serial: String,
    /// The subject's distinguished name, such as `CN=demo.local`; may be empty.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// Valid from here,
    pub not_before: Timestamp,
    /// to here, both included.
    pub not_after: Timestamp,
    /// Subject alternative names, in their order; those of other kinds are left out.
    pub names: Vec<Name>,
    /// Whether it may issue others.
    pub is_ca: bool,
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
}

/// Why bytes are no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No PEM block of a certificate, or a broken one.
    #[error("read a certificate from PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// Not the DER of an X.509 certificate.
    #[error("the certificate is not X.509: {0}")]
    Der(String),
}

impl CertificateInfo {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// There is none, or it does not parse.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(CertificateError::Pem)?;
        Self::from_der(&der)
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// It does not parse.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |error: &dyn fmt::Display| CertificateError::Der(error.to_string());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|e| malformed(&e))?;
        if !rest.is_empty() {
            return Err(malformed(&"bytes follow it"));
        }
        let alternative = certificate.subject_alternative_name().map_err(|e| malformed(&e))?;
        let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
        let fingerprint = digest::digest(&digest::SHA256, der);
        Ok(Self {
            serial: certificate.raw_serial_as_string(),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            not_before: timestamp(certificate.validity().not_before)?,
            not_after: timestamp(certificate.validity().not_after)?,
            names: names.filter_map(name).collect(),
            is_ca: certificate.is_ca(),
            fingerprint: fingerprint.as_ref().try_into().map_err(|e| malformed(&e))?,
        })
    }
}

fn timestamp(time: ASN1Time) -> Result<Timestamp, CertificateError> {
    Timestamp::from_second(time.timestamp()).map_err(|e| CertificateError::Der(e.to_string()))
}

fn name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(text) => Some(Name::Dns((*text).to_owned())),
        GeneralName::URI(text) => Some(Name::Uri((*text).to_owned())),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                16 => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
                _ => return None,
            };
            Some(Name::Ip(address))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_as_people_write_them() {
        for (text, want) in [
            ("localhost", Name::Dns("localhost".to_owned())),
            ("127.0.0.1", Name::Ip([127, 0, 0, 1].into())),
            ("::1", Name::Ip("::1".parse().unwrap())),
            ("spiffe://demo.local/db", Name::Uri("spiffe://demo.local/db".to_owned())),
        ] {
            assert_eq!(Name::guess(text), want);
            assert_eq!(want.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(CertificateInfo::from_pem(pem).is_err(), "{pem:?}");
        }
    }
}

//! Certificate revocation lists.

use holdfast_types::Timestamp;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::without_zeros;
use super::der::{Writer, tag};
use super::{DistinguishedName, Extension, PrivateKey, SignatureAlgorithm, X509Error};

/// A certificate on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Its number.
    pub serial: Vec<u8>,
    /// Since when it is not to be trusted.
    pub revoked_at: Timestamp,
}

/// A list that was read. Who signed it is not checked: it comes from where an operator said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// The numbers of the revoked certificates, without leading zeros.
    pub serials: Vec<Vec<u8>>,
    /// When the next list will be there at the latest, where this one says so.
    pub next_update: Option<Timestamp>,
}

impl RevocationList {
    /// Reads a list in DER.
    ///
    /// # Errors
    /// It does not parse.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let (rest, list) =
            CertificateRevocationList::from_der(der).map_err(X509Error::malformed)?;
        if !rest.is_empty() {
            return Err(X509Error::malformed("trailing data"));
        }
        let next_update = list.next_update().map(|time| {
            let seconds = time.timestamp().min(Timestamp::MAX.as_second());
            Timestamp::from_second(seconds).map_err(X509Error::malformed)
        });
        let serials = list.iter_revoked_certificates();
        Ok(Self {
            serials: serials.map(|entry| without_zeros(entry.raw_serial()).to_vec()).collect(),
            next_update: next_update.transpose()?,
        })
    }
}

/// A list to be made.
#[derive(Debug, Clone)]
pub struct RevocationListTemplate {
    /// When it is made.
    pub this_update: Timestamp,
    /// When the next one will be there at the latest.
    pub next_update: Timestamp,
    /// The revoked certificates.
    pub revoked: Vec<RevokedCertificate>,
    /// The list's own extensions, in their order.
    pub extensions: Vec<Extension>,
}

impl RevocationListTemplate {
    /// Makes the list, in DER.
    ///
    /// # Errors
    /// The key cannot sign with this algorithm.
    pub fn sign(
        &self,
        issuer: &DistinguishedName,
        key: &PrivateKey,
        algorithm: SignatureAlgorithm,
    ) -> Result<Vec<u8>, X509Error> {
        let body = Writer::build_sequence(|der| {
            der.number(1);
            der.raw(&algorithm.to_der());
            der.raw(issuer.as_der());
            der.time(self.this_update);
            der.time(self.next_update);
            if !self.revoked.is_empty() {
                der.sequence(|der| {
                    for certificate in &self.revoked {
                        der.sequence(|der| {
                            der.integer(&certificate.serial);
                            der.time(certificate.revoked_at);
                        });
                    }
                });
            }
            der.nested(tag::constructed(0), |der| {
                der.sequence(|der| self.extensions.iter().for_each(|e| e.write(der)));
            });
        });
        key.sign_der(algorithm, &body)
    }
}

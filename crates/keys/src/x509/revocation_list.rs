//! Certificate revocation lists.

use holdfast_types::Timestamp;

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

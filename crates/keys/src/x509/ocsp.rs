//! OCSP: the status of one certificate, asked for and answered (RFC 6960).

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use holdfast_types::Timestamp;

use super::certificate::without_zeros;
use super::der::{Reader, Writer, tag};
use super::{Certificate, Oid, PrivateKey, SignatureAlgorithm, X509Error};

const BASIC_RESPONSE: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]);

/// What is asked: the status of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspRequest {
    /// The number of the certificate, without leading zeros.
    pub serial: Vec<u8>,
    algorithm: &'static digest::Algorithm,
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    /// The `CertID` as it was asked, which the answer repeats.
    id: Vec<u8>,
}

/// The status of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked, as far as is known.
    Good,
    /// Revoked at that time.
    Revoked(Timestamp),
    /// Of an issuer that is not known here.
    Unknown,
}

/// An answer without a status, which needs no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspRefusal {
    /// The question does not parse.
    Malformed,
    /// The answerer failed.
    Internal,
    /// The answerer does not answer this.
    Unauthorized,
}

impl OcspRefusal {
    /// The whole answer in DER.
    pub fn to_der(self) -> Vec<u8> {
        let status = match self {
            Self::Malformed => 1,
            Self::Internal => 2,
            Self::Unauthorized => 6,
        };
        Writer::build_sequence(|der| der.value(tag::ENUMERATED, &[status]))
    }
}

impl OcspRequest {
    /// Reads a question. Of several certificates that are asked for, the first counts.
    ///
    /// # Errors
    /// It does not parse, or hashes with something unknown.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let mut whole = Reader::new(der);
        let mut body = whole.inside(tag::SEQUENCE)?.inside(tag::SEQUENCE)?;
        if !whole.is_empty() {
            return Err(X509Error::malformed("trailing data"));
        }
        body.optional(tag::constructed(0))?;
        body.optional(tag::constructed(1))?;
        let mut request = body.inside(tag::SEQUENCE)?.inside(tag::SEQUENCE)?;
        let (found, contents, id) = request.any()?;
        if found != tag::SEQUENCE {
            return Err(X509Error::malformed("no certificate is asked for"));
        }
        let mut fields = Reader::new(contents);
        let oid = fields.inside(tag::SEQUENCE)?.oid()?;
        let algorithm = match oid.as_bytes() {
            [0x2b, 0x0e, 3, 2, 0x1a] => &SHA1_FOR_LEGACY_USE_ONLY,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => &SHA256,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => &SHA384,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => &SHA512,
            _ => return Err(X509Error::Unsupported(format!("OCSP with the hash {oid}"))),
        };
        Ok(Self {
            issuer_name_hash: fields.value(tag::OCTET_STRING)?.to_vec(),
            issuer_key_hash: fields.value(tag::OCTET_STRING)?.to_vec(),
            serial: without_zeros(fields.integer()?).to_vec(),
            algorithm,
            id: id.to_vec(),
        })
    }

    /// Whether it asks for a certificate of this issuer.
    pub fn is_about(&self, issuer: &Certificate) -> bool {
        let hash = |bytes: &[u8]| digest::digest(self.algorithm, bytes);
        self.issuer_name_hash == hash(issuer.subject.as_der()).as_ref()
            && self.issuer_key_hash == hash(issuer.public_key.key_bytes()).as_ref()
    }

    /// The signed answer, in DER.
    ///
    /// # Errors
    /// The key cannot sign with this algorithm.
    pub fn answer(
        &self,
        status: OcspStatus,
        now: Timestamp,
        next_update: Option<Timestamp>,
        responder: (&Certificate, &PrivateKey, SignatureAlgorithm),
    ) -> Result<Vec<u8>, X509Error> {
        let (certificate, key, algorithm) = responder;
        let body = Writer::build_sequence(|der| {
            // By name.
            der.nested(tag::constructed(1), |der| der.raw(certificate.subject.as_der()));
            der.generalized_time(now);
            der.sequence(|der| {
                der.sequence(|der| {
                    der.raw(&self.id);
                    match status {
                        OcspStatus::Good => der.value(tag::primitive(0), &[]),
                        OcspStatus::Revoked(at) => der.nested(tag::constructed(1), |der| {
                            der.generalized_time(at);
                        }),
                        OcspStatus::Unknown => der.value(tag::primitive(2), &[]),
                    }
                    der.generalized_time(now);
                    if let Some(next) = next_update {
                        der.nested(tag::constructed(0), |der| der.generalized_time(next));
                    }
                });
            });
        });
        let signed = key.sign_der(algorithm, &body)?;
        Ok(Writer::build_sequence(|der| {
            der.value(tag::ENUMERATED, &[0]);
            der.nested(tag::constructed(0), |der| {
                der.sequence(|der| {
                    der.oid(&BASIC_RESPONSE);
                    der.octet_string(&signed);
                });
            });
        }))
    }
}

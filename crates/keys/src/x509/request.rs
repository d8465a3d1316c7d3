//! Certificate signing requests (PKCS #10).

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::prelude::FromDer;

use super::certificate::{read_extension, signature_algorithm};
use super::der::{Writer, tag};
use super::{
    DistinguishedName, Extension, GeneralName, Oid, PrivateKey, PublicKey, SignatureAlgorithm,
    X509Error, oids,
};

/// A request that was read.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// The subject that is asked for.
    pub subject: DistinguishedName,
    /// The key to certify.
    pub public_key: PublicKey,
    /// The extensions that are asked for, also those that nobody knows.
    pub extensions: Vec<Extension>,
    /// The subject alternative names among them.
    pub names: Vec<GeneralName>,
    algorithm: Vec<u8>,
    pub(super) body: Vec<u8>,
    signature: Vec<u8>,
}

/// PKCS #9 extensionRequest
const EXTENSION_REQUEST: Oid = Oid::known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14]);

impl CertificateRequest {
    /// Reads a request. Its signature is not looked at.
    ///
    /// # Errors
    /// It does not parse, or its key is of an unsupported algorithm.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let (rest, parsed) =
            X509CertificationRequest::from_der(der).map_err(X509Error::malformed)?;
        if !rest.is_empty() {
            return Err(X509Error::malformed("trailing data"));
        }
        let info = &parsed.certification_request_info;
        let mut extensions = Vec::new();
        for attribute in info.iter_attributes() {
            if let ParsedCriAttribute::ExtensionRequest(request) = attribute.parsed_attribute() {
                for extension in &request.extensions {
                    extensions.push(read_extension(extension)?);
                }
            }
        }
        let names = extensions.iter().filter(|e| e.oid == oids::SUBJECT_ALT_NAME);
        let names =
            names.map(|e| GeneralName::read_all(&e.value)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            subject: DistinguishedName::from_der(info.subject.as_raw()),
            public_key: PublicKey::from_der(info.subject_pki.raw)?,
            names: names.concat(),
            extensions,
            algorithm: signature_algorithm(der)?.to_vec(),
            body: info.raw.to_vec(),
            signature: parsed.signature_value.data.to_vec(),
        })
    }

    /// Checks that whoever made the request has the key.
    ///
    /// # Errors
    /// The signature does not verify, or is of an unsupported algorithm.
    pub fn check_signature(&self) -> Result<(), X509Error> {
        let algorithm = SignatureAlgorithm::from_der(&self.algorithm)?;
        self.public_key.verify(algorithm, &self.body, &self.signature)
    }
}

/// A request to be made.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    /// The subject to ask for.
    pub subject: DistinguishedName,
    /// The extensions to ask for.
    pub extensions: Vec<Extension>,
}

impl RequestTemplate {
    /// Makes the request, in DER.
    ///
    /// # Errors
    /// The key cannot sign with this algorithm.
    pub fn sign(
        &self,
        key: &PrivateKey,
        algorithm: SignatureAlgorithm,
    ) -> Result<Vec<u8>, X509Error> {
        let body = Writer::build_sequence(|der| {
            der.number(0);
            der.raw(self.subject.as_der());
            der.raw(key.public_key().to_der());
            der.nested(tag::constructed(0), |der| {
                if self.extensions.is_empty() {
                    return;
                }
                der.sequence(|der| {
                    der.oid(&EXTENSION_REQUEST);
                    der.nested(tag::SET, |der| {
                        der.sequence(|der| self.extensions.iter().for_each(|e| e.write(der)));
                    });
                });
            });
        });
        key.sign_der(algorithm, &body)
    }
}

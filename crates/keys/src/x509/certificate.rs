//! Certificates: read, and made.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::signature::{self, VerificationAlgorithm};
use holdfast_types::Timestamp;
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der::{Reader, Writer, tag};
use super::{
    Curve, DistinguishedName, Extension, GeneralName, Hash, KeyAlgorithm, KeyUsage, Oid,
    PrivateKey, SignatureAlgorithm, X509Error, decode_pem, encode_pem, oids,
};

/// A public key, as certificates and requests hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// `SubjectPublicKeyInfo`
    der: Vec<u8>,
    algorithm: KeyAlgorithm,
    /// The contents of its bit string.
    key: Vec<u8>,
}

const RSA_ENCRYPTION: Oid = Oid::known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]);
const EC_PUBLIC_KEY: Oid = Oid::known(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
const ED25519: Oid = Oid::known(&[0x2b, 0x65, 0x70]);

impl PublicKey {
    pub(super) fn rsa(pkcs1: &[u8]) -> Result<Self, X509Error> {
        let algorithm = Writer::build_sequence(|der| {
            der.oid(&RSA_ENCRYPTION);
            der.null();
        });
        Self::from_der(&info(&algorithm, pkcs1))
    }

    pub(super) fn ec(curve: Curve, point: &[u8]) -> Self {
        let algorithm = Writer::build_sequence(|der| {
            der.oid(&EC_PUBLIC_KEY);
            der.oid(&curve.oid());
        });
        let algorithm = info(&algorithm, point);
        Self { der: algorithm, algorithm: KeyAlgorithm::Ec(curve), key: point.to_vec() }
    }

    pub(super) fn ed25519(key: &[u8]) -> Self {
        let algorithm = Writer::build_sequence(|der| der.oid(&ED25519));
        Self { der: info(&algorithm, key), algorithm: KeyAlgorithm::Ed25519, key: key.to_vec() }
    }

    /// From a `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// It does not parse, or its algorithm is not supported.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let mut fields = Reader::new(der).inside(tag::SEQUENCE)?;
        let mut identifier = fields.inside(tag::SEQUENCE)?;
        let oid = identifier.oid()?;
        let Some((0, key)) = fields.value(tag::BIT_STRING)?.split_first() else {
            return Err(X509Error::malformed("a public key of broken bytes"));
        };
        let algorithm = if oid == RSA_ENCRYPTION {
            let modulus = Reader::new(key).inside(tag::SEQUENCE)?.integer()?;
            let first = modulus.first().copied().unwrap_or_default();
            KeyAlgorithm::Rsa(modulus.len() as u32 * 8 - first.leading_zeros())
        } else if oid == EC_PUBLIC_KEY {
            let curve = identifier.oid()?;
            let unsupported = || X509Error::Unsupported(format!("keys on the curve {curve}"));
            KeyAlgorithm::Ec(Curve::from_oid(&curve).ok_or_else(unsupported)?)
        } else if oid == ED25519 && key.len() == 32 {
            KeyAlgorithm::Ed25519
        } else {
            return Err(X509Error::Unsupported(format!("public keys of algorithm {oid}")));
        };
        Ok(Self { der: der.to_vec(), algorithm, key: key.to_vec() })
    }

    /// What it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The `SubjectPublicKeyInfo`.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// The key itself, without its algorithm: what OCSP hashes.
    pub fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// Its name in certificates: SHA-1 of the key, as RFC 5280 suggests in 4.2.1.2 (1).
    pub fn key_id(&self) -> Vec<u8> {
        digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.key).as_ref().to_vec()
    }

    /// Checks a signature.
    ///
    /// # Errors
    /// It does not verify, or the algorithm is not one for this key.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), X509Error> {
        use SignatureAlgorithm as S;
        let check: &'static dyn VerificationAlgorithm = match (self.algorithm, algorithm) {
            (KeyAlgorithm::Rsa(_), S::Rsa(Hash::Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (KeyAlgorithm::Rsa(_), S::Rsa(Hash::Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (KeyAlgorithm::Rsa(_), S::Rsa(Hash::Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (KeyAlgorithm::Rsa(_), S::RsaPss(Hash::Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
            (KeyAlgorithm::Rsa(_), S::RsaPss(Hash::Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
            (KeyAlgorithm::Rsa(_), S::RsaPss(Hash::Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
            (KeyAlgorithm::Ec(curve), S::Ecdsa(hash)) => ecdsa(curve, hash),
            (KeyAlgorithm::Ed25519, S::Ed25519) => &signature::ED25519,
            _ => return Err(X509Error::Signature),
        };
        signature::UnparsedPublicKey::new(check, &self.key)
            .verify(message, signature)
            .map_err(|_| X509Error::Signature)
    }
}

fn ecdsa(curve: Curve, hash: Hash) -> &'static dyn VerificationAlgorithm {
    match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Hash::Sha512) => &signature::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Hash::Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha512) => &signature::ECDSA_P384_SHA512_ASN1,
        (Curve::P521, Hash::Sha256) => &signature::ECDSA_P521_SHA256_ASN1,
        (Curve::P521, Hash::Sha384) => &signature::ECDSA_P521_SHA384_ASN1,
        (Curve::P521, Hash::Sha512) => &signature::ECDSA_P521_SHA512_ASN1,
    }
}

/// A `SubjectPublicKeyInfo` of an `AlgorithmIdentifier` and a key.
fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    Writer::build_sequence(|der| {
        der.raw(algorithm);
        der.bit_string(key);
    })
}

/// A certificate that was read: the parts that an authority looks at.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// All of it.
    pub der: Vec<u8>,
    /// Its number, without leading zeros.
    pub serial: Vec<u8>,
    /// Whom it is for.
    pub subject: DistinguishedName,
    /// Who signed it.
    pub issuer: DistinguishedName,
    /// Valid from here
    pub not_before: Timestamp,
    /// to here.
    pub not_after: Timestamp,
    /// The certified key.
    pub public_key: PublicKey,
    /// Its extensions, in their order.
    pub extensions: Vec<Extension>,
    /// Whether it has basic constraints that make it an authority's.
    pub is_ca: bool,
    /// How many authorities may follow it, where that is limited.
    pub path_length: Option<u32>,
    /// What the key may do; none where the certificate does not say.
    pub key_usage: Option<KeyUsage>,
    /// The name of the certified key.
    pub subject_key_id: Option<Vec<u8>>,
    /// The name of the key that signed it.
    pub authority_key_id: Option<Vec<u8>>,
    /// How it is signed, if that is known here.
    pub signature_algorithm: Option<SignatureAlgorithm>,
    body: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It does not parse, or its key is of an unsupported algorithm.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(X509Error::malformed)?;
        if !rest.is_empty() {
            return Err(X509Error::malformed("trailing data"));
        }
        // The end of the year 9999 is a day past the last timestamp there is.
        let time = |time: x509_parser::time::ASN1Time| match time.timestamp() {
            seconds if seconds > Timestamp::MAX.as_second() => Ok(Timestamp::MAX),
            seconds => Timestamp::from_second(seconds).map_err(X509Error::malformed),
        };
        let constraints = parsed.basic_constraints().map_err(X509Error::malformed)?;
        let constraints = constraints.map(|extension| extension.value);
        let usage = parsed.key_usage().map_err(X509Error::malformed)?;
        let extensions = parsed.extensions().iter().map(read_extension);
        let extensions = extensions.collect::<Result<Vec<_>, _>>()?;
        let contents = |oid: &Oid| {
            extensions.iter().find(|extension| extension.oid == *oid).map(|e| e.value.as_slice())
        };
        let subject_key_id = contents(&oids::SUBJECT_KEY_ID)
            .map(|value| Reader::new(value).value(tag::OCTET_STRING))
            .transpose()?;
        let authority_key_id = contents(&oids::AUTHORITY_KEY_ID)
            .map(|value| Reader::new(value).inside(tag::SEQUENCE)?.optional(tag::primitive(0)))
            .transpose()?;
        let tbs = &parsed.tbs_certificate;
        Ok(Self {
            der: der.to_vec(),
            serial: without_zeros(tbs.raw_serial()).to_vec(),
            subject: DistinguishedName::from_der(tbs.subject.as_raw()),
            issuer: DistinguishedName::from_der(tbs.issuer.as_raw()),
            not_before: time(tbs.validity.not_before)?,
            not_after: time(tbs.validity.not_after)?,
            public_key: PublicKey::from_der(tbs.subject_pki.raw)?,
            is_ca: constraints.is_some_and(|constraints| constraints.ca),
            path_length: constraints.and_then(|constraints| constraints.path_len_constraint),
            key_usage: usage.map(|extension| KeyUsage(extension.value.flags)),
            subject_key_id: subject_key_id.map(<[u8]>::to_vec),
            authority_key_id: authority_key_id.flatten().map(<[u8]>::to_vec),
            signature_algorithm: signature_algorithm(der)
                .ok()
                .and_then(|identifier| SignatureAlgorithm::from_der(identifier).ok()),
            body: tbs.as_ref().to_vec(),
            signature: parsed.signature_value.data.to_vec(),
            extensions,
        })
    }

    /// Reads the first block of a PEM text.
    ///
    /// # Errors
    /// There is none, or it does not parse.
    pub fn from_pem(text: &str) -> Result<Self, X509Error> {
        let (block, _) = decode_pem(text).ok_or_else(|| X509Error::malformed("no PEM block"))?;
        Self::from_der(&block.der)
    }

    /// As PEM, without a line feed at its end.
    pub fn to_pem(&self) -> String {
        encode_pem("CERTIFICATE", &self.der).trim_end().to_owned()
    }

    /// The contents of an extension.
    pub fn extension(&self, oid: &Oid) -> Option<&[u8]> {
        self.extensions.iter().find(|e| e.oid == *oid).map(|e| e.value.as_slice())
    }

    /// Reads every certificate of a PEM text: the blocks `CERTIFICATE` and `TRUSTED CERTIFICATE`.
    ///
    /// # Errors
    /// One of them does not parse, or there is none.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, X509Error> {
        let mut found = Vec::new();
        let mut rest = text;
        while let Some((block, after)) = decode_pem(rest) {
            if matches!(block.label.as_str(), "CERTIFICATE" | "TRUSTED CERTIFICATE") {
                found.push(Self::from_der(&block.der)?);
            }
            rest = after;
        }
        if found.is_empty() {
            return Err(X509Error::malformed("no PEM block with a certificate"));
        }
        Ok(found)
    }

    /// Whether it is valid at `now`, both ends included.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Its subject alternative names, those that are of a known kind.
    pub fn names(&self) -> Vec<GeneralName> {
        let names = self.extension(&oids::SUBJECT_ALT_NAME).map(GeneralName::read_all);
        names.and_then(Result::ok).unwrap_or_default()
    }

    /// Whether the subject signed it, going by the names of the keys, or of the subjects where the
    /// keys have none.
    pub fn is_self_issued(&self) -> bool {
        match (&self.authority_key_id, &self.subject_key_id) {
            (Some(authority), Some(subject)) => authority == subject,
            _ => self.issuer == self.subject,
        }
    }

    /// Checks that `parent` signed it, and may sign certificates.
    ///
    /// # Errors
    /// It did not, or may not.
    pub fn check_signed_by(&self, parent: &Self) -> Result<(), X509Error> {
        let may_sign = parent.key_usage.is_none_or(|usage| usage.has(KeyUsage::CERT_SIGN));
        if !parent.is_ca || !may_sign {
            return Err(X509Error::Signature);
        }
        let algorithm = self.signature_algorithm.ok_or(X509Error::Signature)?;
        parent.public_key.verify(algorithm, &self.body, &self.signature)
    }
}

pub(super) fn read_extension(
    extension: &x509_parser::extensions::X509Extension<'_>,
) -> Result<Extension, X509Error> {
    Ok(Extension {
        oid: Oid::from_der(extension.oid.as_bytes())?,
        critical: extension.critical,
        value: extension.value.to_vec(),
    })
}

/// The number that big-endian bytes are, as decimal text: how Go prints serial numbers.
pub fn decimal(bytes: &[u8]) -> String {
    BigUint::from_bytes_be(bytes).to_string()
}

/// The `AlgorithmIdentifier` of anything signed: the second of its three fields.
pub(super) fn signature_algorithm(der: &[u8]) -> Result<&[u8], X509Error> {
    let mut fields = Reader::new(der).inside(tag::SEQUENCE)?;
    fields.any()?;
    fields.any().map(|(_, _, whole)| whole)
}

pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// A certificate to be made.
#[derive(Debug, Clone)]
pub struct CertificateTemplate {
    /// Its number, at most 20 bytes.
    pub serial: Vec<u8>,
    /// Whom it is for.
    pub subject: DistinguishedName,
    /// Valid from here
    pub not_before: Timestamp,
    /// to here, to the second.
    pub not_after: Timestamp,
    /// The key to certify.
    pub public_key: PublicKey,
    /// Its extensions, in their order.
    pub extensions: Vec<Extension>,
}

impl CertificateTemplate {
    /// Makes the certificate, in DER.
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
            der.nested(tag::constructed(0), |der| der.number(2));
            der.integer(&self.serial);
            der.raw(&algorithm.to_der());
            der.raw(issuer.as_der());
            der.sequence(|der| {
                der.time(self.not_before);
                der.time(self.not_after);
            });
            der.raw(self.subject.as_der());
            der.raw(self.public_key.to_der());
            if !self.extensions.is_empty() {
                der.nested(tag::constructed(3), |der| {
                    der.sequence(|der| self.extensions.iter().for_each(|e| e.write(der)));
                });
            }
        });
        key.sign_der(algorithm, &body)
    }
}

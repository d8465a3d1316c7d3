//! Public keys that check signatures, from PEM or from a JSON Web Key Set.

use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, Pem, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey as Parsed;

/// A signature algorithm with a public key (RFC 7518, RFC 8037). There is no `none` and no `HS256`:
/// a token cannot talk its way into either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512
    Rs512,
    /// RSASSA-PSS with SHA-256
    Ps256,
    /// RSASSA-PSS with SHA-384
    Ps384,
    /// RSASSA-PSS with SHA-512
    Ps512,
    /// ECDSA on P-256 with SHA-256
    Es256,
    /// ECDSA on P-384 with SHA-384
    Es384,
    /// ECDSA on P-521 with SHA-512
    Es512,
    /// Ed25519
    EdDsa,
}

impl Algorithm {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Ps256, "PS256"),
        (Self::Ps384, "PS384"),
        (Self::Ps512, "PS512"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
        (Self::Es512, "ES512"),
        (Self::EdDsa, "EdDSA"),
    ];

    /// The algorithm of that name, exactly as written: `RS256`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(algorithm, _)| algorithm)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(algorithm, _)| *algorithm == self);
        found.map_or("", |(_, name)| name)
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            _ => None,
        }
    }
}

/// Why a text holds no usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM with a public key or a certificate, or one of a kind that is not known here.
    #[error("data does not contain any valid public keys")]
    NoKey,
    /// It is PEM, but what is in it does not parse.
    #[error("x509: malformed certificate")]
    Malformed,
    /// The key set is not of the form `{"keys": [...]}`.
    #[error("failed to decode keys")]
    KeySet,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    material: Material,
    /// `kid`, for which a token asks.
    id: Option<String>,
    /// `alg`: the key is for this one alone.
    algorithm: Option<Algorithm>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The uncompressed point.
    Ec(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    fn algorithm(self) -> (Algorithm, &'static EcdsaVerificationAlgorithm) {
        match self {
            Self::P256 => (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED),
            Self::P384 => (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED),
            Self::P521 => (Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED),
        }
    }

    /// Bytes of one coordinate.
    fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl PublicKey {
    /// Reads the first block of a PEM text: a `PUBLIC KEY` or a `CERTIFICATE`.
    ///
    /// # Errors
    /// There is none, or it is of an unknown kind.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let Some(Ok(block)) = Pem::iter_from_buffer(pem.as_bytes()).next() else {
            return Err(KeyError::NoKey);
        };
        let material = match SubjectPublicKeyInfo::from_der(&block.contents) {
            Ok((_, info)) => Material::from_spki(&info),
            Err(_) => {
                let parsed = X509Certificate::from_der(&block.contents);
                let (_, certificate) = parsed.map_err(|_| KeyError::Malformed)?;
                Material::from_spki(certificate.public_key())
            }
        };
        let material = material.ok_or(KeyError::NoKey)?;
        Ok(Self { material, id: None, algorithm: None })
    }

    /// Whether `signature` over `message` was made by this key with `algorithm`. Keys under 2048
    /// bits of RSA verify nothing.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.is_some_and(|only| only != algorithm) {
            return false;
        }
        match &self.material {
            Material::Rsa { modulus, exponent } => algorithm.rsa().is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }),
            Material::Ec(curve, point) => {
                let (only, verification) = curve.algorithm();
                let key = UnparsedPublicKey::new(verification, point);
                only == algorithm && key.verify(message, signature).is_ok()
            }
            Material::Ed25519(bytes) => {
                let key = UnparsedPublicKey::new(&signature::ED25519, bytes);
                algorithm == Algorithm::EdDsa && key.verify(message, signature).is_ok()
            }
        }
    }
}

impl Material {
    fn from_spki(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        const ED25519: &str = "1.3.101.112";
        let bytes = info.subject_public_key.data.to_vec();
        if info.algorithm.algorithm.to_id_string() == ED25519 {
            return (bytes.len() == 32).then_some(Self::Ed25519(bytes));
        }
        match info.parsed().ok()? {
            Parsed::RSA(key) => Some(Self::Rsa {
                modulus: without_zeros(key.modulus),
                exponent: without_zeros(key.exponent),
            }),
            Parsed::EC(_) => {
                let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
                let curve = match curve.to_id_string().as_str() {
                    "1.2.840.10045.3.1.7" => Curve::P256,
                    "1.3.132.0.34" => Curve::P384,
                    "1.3.132.0.35" => Curve::P521,
                    _ => return None,
                };
                Some(Self::Ec(curve, bytes))
            }
            _ => None,
        }
    }

    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let decode = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Some(Self::Rsa {
                modulus: without_zeros(&decode(&jwk.n)?),
                exponent: without_zeros(&decode(&jwk.e)?),
            }),
            ("EC", Some(curve)) => {
                let curve = match curve {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    "P-521" => Curve::P521,
                    _ => return None,
                };
                let (x, y) = (decode(&jwk.x)?, decode(&jwk.y)?);
                if x.len() != curve.size() || y.len() != curve.size() {
                    return None;
                }
                Some(Self::Ec(curve, [&[4], x.as_slice(), y.as_slice()].concat()))
            }
            ("OKP", Some("Ed25519")) => {
                decode(&jwk.x).filter(|bytes| bytes.len() == 32).map(Self::Ed25519)
            }
            _ => None,
        }
    }
}

fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

/// A key set (RFC 7517).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<PublicKey>,
}

#[derive(Deserialize)]
struct JwksDocument {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    /// Reads `{"keys": [...]}`. Keys of unknown kinds, and those for encryption, are passed over:
    /// a set may hold keys that are none of our business.
    ///
    /// # Errors
    /// [`KeyError::KeySet`]: it is not of that form.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let document: JwksDocument = serde_json::from_slice(json).map_err(|_| KeyError::KeySet)?;
        let keys = document.keys.into_iter().filter_map(|value| {
            let jwk: Jwk = serde_json::from_value(value).ok()?;
            if jwk.purpose.as_deref() == Some("enc") {
                return None;
            }
            let algorithm = match &jwk.alg {
                Some(name) => Some(Algorithm::parse(name)?),
                None => None,
            };
            Some(PublicKey { material: Material::from_jwk(&jwk)?, id: jwk.kid, algorithm })
        });
        Ok(Self { keys: keys.collect() })
    }

    /// The keys that a token may have been signed with: those of its `kid`, or all if it has none.
    pub fn candidates<'s>(&'s self, id: Option<&'s str>) -> impl Iterator<Item = &'s PublicKey> {
        self.keys.iter().filter(move |key| id.is_none() || key.id.as_deref() == id)
    }

    /// How many usable keys it holds.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests;

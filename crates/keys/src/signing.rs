//! Private keys that sign tokens (RFC 7515), with their public halves as JSON Web Keys (RFC 7517).

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_types::SecretBytes;
use serde_json::{Map, Value, json};

use crate::jwks::Algorithm;

/// Why a key could not be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The algorithm is not one that this server signs with.
    #[error("no keys are made for this algorithm")]
    Algorithm,
    /// The operating system or the library failed.
    #[error("cannot make a signing key")]
    Generate,
    /// The bytes are no key of the algorithm.
    #[error("not a private key of this algorithm")]
    Rejected,
    /// The library failed.
    #[error("cannot sign")]
    Sign,
}

/// A private key and the one algorithm that it is for.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Readies the library's random numbers on a thread of its own.
///
/// Before the first one AWS-LC measures the jitter of the processor, for 20 to 40 ms of its time: a
/// server that is about to sign does that while it starts, not while its first client waits.
pub fn ready_randomness() {
    let thread = std::thread::Builder::new().name("randomness".to_owned());
    // Whoever needs them first readies them where no thread can.
    let _ = thread.spawn(|| aws_lc_rs::rand::fill(&mut [0]));
}

impl SigningKey {
    /// Makes a key for `algorithm`, and its PKCS #8 form, to be kept. RSA keys have 2048 bits and
    /// take a tenth of a second: not for a thread that serves others.
    ///
    /// # Errors
    /// RSASSA-PSS is not served; the library's.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, SecretBytes), SigningError> {
        let failed = |_| SigningError::Generate;
        let (pair, pkcs8) = match kind(algorithm)? {
            Kind::Rsa(_) => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                let pkcs8 = SecretBytes::new(der.as_ref().to_vec());
                (Pair::Rsa(pair), pkcs8)
            }
            Kind::Ecdsa(curve) => {
                let pair = EcdsaKeyPair::generate(curve).map_err(failed)?;
                let der = pair.to_pkcs8v1().map_err(failed)?;
                let pkcs8 = SecretBytes::new(der.as_ref().to_vec());
                (Pair::Ecdsa(pair), pkcs8)
            }
            Kind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                let der = pair.to_pkcs8().map_err(failed)?;
                let pkcs8 = SecretBytes::new(der.as_ref().to_vec());
                (Pair::Ed25519(pair), pkcs8)
            }
        };
        Ok((Self { algorithm, pair }, pkcs8))
    }

    /// Reads the PKCS #8 form.
    ///
    /// # Errors
    /// [`SigningError::Rejected`]
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &SecretBytes) -> Result<Self, SigningError> {
        let bytes = pkcs8.expose();
        let rejected = |_| SigningError::Rejected;
        let pair = match kind(algorithm)? {
            Kind::Rsa(_) => Pair::Rsa(RsaKeyPair::from_pkcs8(bytes).map_err(rejected)?),
            Kind::Ecdsa(curve) => {
                Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(curve, bytes).map_err(rejected)?)
            }
            Kind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(bytes).map_err(rejected)?),
        };
        Ok(Self { algorithm, pair })
    }

    /// The signed token that claims `claims`: `header.payload.signature`.
    ///
    /// # Errors
    /// [`SigningError::Sign`]
    pub fn sign(&self, key_id: &str, claims: &Map<String, Value>) -> Result<String, SigningError> {
        let header = json!({ "alg": self.algorithm.as_str(), "kid": key_id, "typ": "JWT" });
        self.compact(&header, claims)
    }

    /// The same without a key's id, and with a type (`typ`) instead.
    ///
    /// # Errors
    /// [`SigningError::Sign`]
    pub fn sign_as(&self, kind: &str, claims: &Map<String, Value>) -> Result<String, SigningError> {
        let header = json!({ "alg": self.algorithm.as_str(), "typ": kind });
        self.compact(&header, claims)
    }

    fn compact(&self, header: &Value, claims: &Map<String, Value>) -> Result<String, SigningError> {
        let claims = serde_json::to_vec(claims).map_err(|_| SigningError::Sign)?;
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let failed = |_| SigningError::Sign;
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let Kind::Rsa(encoding) = kind(self.algorithm)? else {
                    return Err(SigningError::Algorithm);
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// The public half as a JSON Web Key with this `kid`.
    pub fn public_jwk(&self, key_id: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": encode(key.modulus().big_endian_without_leading_zero()),
                    "e": encode(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Pair::Ecdsa(pair) => {
                // 4, then both coordinates at their whole length.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match self.algorithm {
                    Algorithm::Es256 => "P-256",
                    Algorithm::Es384 => "P-384",
                    _ => "P-521",
                };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Pair::Ed25519(pair) => {
                let key = pair.public_key().as_ref();
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key) })
            }
        };
        jwk["use"] = json!("sig");
        jwk["kid"] = json!(key_id);
        jwk["alg"] = json!(self.algorithm.as_str());
        jwk
    }
}

enum Kind {
    Rsa(&'static dyn RsaEncoding),
    Ecdsa(&'static EcdsaSigningAlgorithm),
    Ed25519,
}

fn kind(algorithm: Algorithm) -> Result<Kind, SigningError> {
    Ok(match algorithm {
        Algorithm::Rs256 => Kind::Rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Kind::Rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Kind::Rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::Es256 => Kind::Ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Kind::Ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::Es512 => Kind::Ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        Algorithm::EdDsa => Kind::Ed25519,
        Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512 => {
            return Err(SigningError::Algorithm);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Jwks, SignedToken};

    #[test]
    fn what_a_key_signs_its_public_half_verifies_and_no_other() {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), json!("a"));
        for algorithm in [
            Algorithm::Rs256,
            Algorithm::Rs384,
            Algorithm::Rs512,
            Algorithm::Es256,
            Algorithm::Es384,
            Algorithm::Es512,
            Algorithm::EdDsa,
        ] {
            let (key, pkcs8) = SigningKey::generate(algorithm).unwrap();
            let read = SigningKey::from_pkcs8(algorithm, &pkcs8).unwrap();
            assert_eq!(read.public_jwk("k"), key.public_jwk("k"));
            let (other, _) = SigningKey::generate(algorithm).unwrap();
            let set = |key: &SigningKey| {
                let jwks = json!({ "keys": [key.public_jwk("k")] }).to_string();
                Jwks::parse(jwks.as_bytes()).unwrap()
            };
            let token = read.sign("k", &claims).unwrap();
            let signed = SignedToken::parse(&token).unwrap();
            assert_eq!(signed.algorithm, algorithm);
            assert_eq!(signed.claims().unwrap(), claims);
            for (jwks, want) in [(set(&key), true), (set(&other), false)] {
                let mut candidates = jwks.candidates(signed.key_id.as_deref());
                assert_eq!(candidates.any(|key| signed.is_signed_by(key)), want, "{algorithm:?}");
            }
            assert!(format!("{key:?}").len() < 64, "only the algorithm is shown");
        }
    }

    #[test]
    fn a_key_is_for_its_algorithm_alone() {
        let (_, pkcs8) = SigningKey::generate(Algorithm::Es256).unwrap();
        for algorithm in [Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa] {
            let read = SigningKey::from_pkcs8(algorithm, &pkcs8);
            assert_eq!(read.err(), Some(SigningError::Rejected), "{algorithm:?}");
        }
        assert_eq!(SigningKey::generate(Algorithm::Ps256).err(), Some(SigningError::Algorithm));
    }
}

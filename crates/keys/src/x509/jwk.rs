//! Public keys as JSON Web Keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::der::{Reader, tag};
use super::{Curve, KeyAlgorithm, PublicKey};

impl PublicKey {
    /// The members of a JSON Web Key (RFC 7518, section 6; RFC 8037) that say what the key is, and
    /// none of those that say what it is for.
    pub fn to_jwk(&self) -> Map<String, Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = self.key_bytes();
        let value = match self.algorithm() {
            KeyAlgorithm::Rsa(_) => {
                let mut fields = Reader::new(key).inside(tag::SEQUENCE).ok();
                let mut next = || {
                    let integer = fields.as_mut().and_then(|fields| fields.integer().ok());
                    encode(super::certificate::without_zeros(integer.unwrap_or_default()))
                };
                json!({ "kty": "RSA", "n": next(), "e": next() })
            }
            KeyAlgorithm::Ec(curve) => {
                // 4, then both coordinates at their whole length.
                let point = key.get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                    Curve::P521 => "P-521",
                };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            KeyAlgorithm::Ed25519 => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key) }),
        };
        match value {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{Hash, PrivateKey};
    use crate::{Algorithm, Jwks};

    #[test]
    fn a_json_web_key_verifies_what_its_key_signs() {
        for (algorithm, signed_with) in
            [(KeyAlgorithm::Rsa(2048), Algorithm::Rs256), (KeyAlgorithm::Ed25519, Algorithm::EdDsa)]
        {
            let key = PrivateKey::generate(algorithm).unwrap();
            let set = json!({ "keys": [key.public_key().to_jwk()] }).to_string();
            let set = Jwks::parse(set.as_bytes()).unwrap();
            let signature = key.sign(key.signature_algorithm(Hash::Sha256, false), b"a").unwrap();
            let read = set.candidates(None).next().unwrap();
            assert!(read.verifies(signed_with, b"a", &signature), "{algorithm:?}");
            assert!(!read.verifies(signed_with, b"b", &signature), "{algorithm:?}");
        }
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let key = PrivateKey::generate(KeyAlgorithm::Ec(curve)).unwrap();
            let jwk = key.public_key().to_jwk();
            let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
            let point = [vec![4], part("x"), part("y")].concat();
            assert_eq!(point, key.public_key().key_bytes(), "{curve:?}");
        }
    }
}

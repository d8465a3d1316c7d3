//! The key itself, of whatever kind: made, imported, stored.

use holdfast_types::{Random, SecretBytes};

use super::der::{self, OCTET_STRING, Reader, SEQUENCE, oid};
use super::ecdsa::{Curve, Ecdsa};
use super::ed25519::Ed25519;
use super::key_type::KeyType;
use super::pem;
use super::refused::Refused;
use super::rsa::Rsa;
use super::symmetric::Symmetric;

/// How many bytes an HMAC key may have.
pub(super) const HMAC_SIZES: std::ops::RangeInclusive<usize> = 32..=512;

/// A key, ready for use.
pub(super) enum Material {
    Symmetric(Symmetric),
    Hmac(SecretBytes),
    Ed25519(Ed25519),
    Ecdsa(Ecdsa),
    Rsa(Rsa),
}

impl Material {
    /// A new key. For RSA this takes up to some seconds of computing. `size` is that of an HMAC
    /// key, in bytes.
    pub(super) fn generate(
        kind: KeyType,
        size: usize,
        random: &dyn Random,
    ) -> Result<Self, Refused> {
        let bytes = |length| {
            let mut bytes = vec![0; length];
            random.fill(&mut bytes);
            SecretBytes::new(bytes)
        };
        Ok(match (kind, kind.symmetric_size(), Curve::of(kind)) {
            (_, Some(size), _) => Self::Symmetric(Symmetric::new(kind, bytes(size))?),
            (_, _, Some(curve)) => Self::Ecdsa(Ecdsa::generate(curve)?),
            (KeyType::Hmac, ..) if !HMAC_SIZES.contains(&size) => {
                return Err(Refused::new(
                    "invalid key size for HMAC key, must be between 32 and 512 bytes",
                ));
            }
            (KeyType::Hmac, ..) => Self::Hmac(bytes(size)),
            (KeyType::Ed25519, ..) => Self::Ed25519(Ed25519::generate(random)?),
            _ => Self::Rsa(Rsa::generate(kind)?),
        })
    }

    /// A private key as it is imported: plain bytes, or PKCS #8 for the kinds that have two halves.
    pub(super) fn import(kind: KeyType, bytes: &[u8]) -> Result<Self, Refused> {
        if kind.symmetric_size().is_some() || kind == KeyType::Hmac {
            return Self::import_bytes(kind, bytes);
        }
        let parse = || Refused::new("error parsing asymmetric key: no PKCS #8 private key");
        let found = Pkcs8::read(bytes).ok_or_else(parse)?;
        match found.kind {
            Found::Rsa => {
                let rsa = Rsa::from_pkcs8(bytes).or_else(|_| Rsa::from_pkcs1(found.key));
                let rsa = rsa.map_err(|_| parse())?;
                Self::Rsa(rsa).of(kind, "*rsa.PrivateKey")
            }
            Found::Ec(curve) => {
                let ec = Ecdsa::from_pkcs8(curve, bytes).map_err(|_| parse())?;
                Self::Ecdsa(ec).of(kind, "*ecdsa.PrivateKey")
            }
            Found::Ed25519 => {
                let ed = Ed25519::from_pkcs8(bytes).map_err(|_| parse())?;
                Self::Ed25519(ed).of(kind, "ed25519.PrivateKey")
            }
        }
    }

    /// A public key as it is imported: PEM of a `SubjectPublicKeyInfo`.
    pub(super) fn import_public(kind: KeyType, text: &str) -> Result<Self, Refused> {
        let no_pem = || Refused::new("error parsing public key: not in PEM format");
        let (_, spki) = pem::decode(text).ok_or_else(no_pem)?;
        let (material, name) = Self::from_spki(&spki)?;
        material.of(kind, name)
    }

    /// A public key of any kind, and what Go calls that kind.
    pub(super) fn from_spki(spki: &[u8]) -> Result<(Self, &'static str), Refused> {
        let parse = || Refused::new("error parsing public key: no public key of a known kind");
        let mut fields = Reader(Reader(spki).expect(SEQUENCE).ok_or_else(parse)?);
        let algorithm = fields.expect(SEQUENCE).ok_or_else(parse)?;
        let key = fields.expect(der::BIT_STRING).and_then(<[u8]>::split_first);
        let (_, key) = key.ok_or_else(parse)?;
        Ok(match Found::read(algorithm).ok_or_else(parse)? {
            Found::Rsa => (Self::Rsa(Rsa::from_spki(spki).map_err(|_| parse())?), "*rsa.PublicKey"),
            Found::Ec(curve) => {
                let ec = Ecdsa::from_point(curve, key).map_err(|_| parse())?;
                (Self::Ecdsa(ec), "*ecdsa.PublicKey")
            }
            Found::Ed25519 => {
                let ed = Ed25519::from_public(key).map_err(|_| parse())?;
                (Self::Ed25519(ed), "ed25519.PublicKey")
            }
        })
    }

    /// A key of plain bytes.
    pub(super) fn import_bytes(kind: KeyType, bytes: &[u8]) -> Result<Self, Refused> {
        if kind != KeyType::Hmac {
            return Ok(Self::Symmetric(Symmetric::new(kind, bytes.to_vec().into())?));
        }
        if !HMAC_SIZES.contains(&bytes.len()) {
            let length = bytes.len();
            return Err(Refused::new(format!(
                "invalid key size {length} bytes for key type {kind}"
            )));
        }
        Ok(Self::Hmac(bytes.to_vec().into()))
    }

    /// This key, if it is of that kind. `found` is what Go calls what it is.
    fn of(self, kind: KeyType, found: &str) -> Result<Self, Refused> {
        let wrong = || Refused::new(format!("invalid key type: expected {kind}, got {found}"));
        match &self {
            Self::Ecdsa(ec) => {
                let (want, got) = (Curve::of(kind).ok_or_else(wrong)?, ec.curve());
                if want != got {
                    let (want, got) = (want.name(), got.name());
                    return Err(Refused::new(format!("invalid curve: expected {want}, got {got}")));
                }
            }
            Self::Ed25519(_) if kind != KeyType::Ed25519 => return Err(wrong()),
            Self::Rsa(rsa) => {
                let (want, got) = (kind.rsa_size().ok_or_else(wrong)?, rsa.modulus().len());
                if want != got {
                    return Err(Refused::new(format!(
                        "invalid key size: expected {want} bytes, got {got} bytes"
                    )));
                }
            }
            _ => {}
        }
        Ok(self)
    }

    /// The private half as it is stored: plain bytes, Ed25519's seed and public key, or PKCS #8.
    pub(super) fn private(&self) -> Option<SecretBytes> {
        match self {
            Self::Symmetric(key) => Some(key.bytes().clone()),
            Self::Hmac(key) => Some(key.clone()),
            Self::Ed25519(pair) => pair.private().cloned(),
            Self::Ecdsa(pair) => Some(pair.pkcs8()?.to_vec().into()),
            Self::Rsa(pair) => pair.pkcs8().cloned(),
        }
    }

    /// The key from what [`Material::private`] gave.
    pub(super) fn from_private(kind: KeyType, bytes: &[u8]) -> Result<Self, Refused> {
        Ok(match Curve::of(kind) {
            Some(curve) => Self::Ecdsa(Ecdsa::from_pkcs8(curve, bytes)?),
            None if kind == KeyType::Ed25519 => Self::Ed25519(Ed25519::from_private(bytes)?),
            None if kind.is_rsa() => Self::Rsa(Rsa::from_pkcs8(bytes)?),
            None => Self::import_bytes(kind, bytes)?,
        })
    }

    /// Whether the private half is there.
    pub(super) fn has_private(&self) -> bool {
        match self {
            Self::Symmetric(_) | Self::Hmac(_) => true,
            Self::Ed25519(pair) => pair.private().is_some(),
            Self::Ecdsa(pair) => pair.has_private(),
            Self::Rsa(pair) => pair.has_private(),
        }
    }

    /// The private half as PKCS #8. None: it is missing, or the kind has no halves.
    pub(super) fn pkcs8(&self) -> Option<SecretBytes> {
        match self {
            Self::Symmetric(_) | Self::Hmac(_) => None,
            Self::Ed25519(pair) => pair.pkcs8().map(|der| der.to_vec().into()),
            Self::Ecdsa(_) | Self::Rsa(_) => self.private(),
        }
    }

    /// The public half as a `SubjectPublicKeyInfo`.
    pub(super) fn spki(&self) -> Option<Vec<u8>> {
        match self {
            Self::Symmetric(_) | Self::Hmac(_) => None,
            Self::Ed25519(pair) => Some(pair.spki()),
            Self::Ecdsa(pair) => Some(pair.spki()),
            Self::Rsa(pair) => Some(pair.spki().to_vec()),
        }
    }

    /// Whether both have the same public half.
    pub(super) fn has_public_of(&self, other: &Self) -> bool {
        self.spki().is_some_and(|spki| other.spki() == Some(spki))
    }
}

/// The algorithm of a key in DER.
enum Found {
    Rsa,
    Ec(Curve),
    Ed25519,
}

impl Found {
    fn read(algorithm: &[u8]) -> Option<Self> {
        let mut fields = Reader(algorithm);
        match fields.expect(der::OBJECT_ID)? {
            oid::RSA | oid::RSA_PSS => Some(Self::Rsa),
            oid::ED25519 => Some(Self::Ed25519),
            oid::EC => Curve::of_oid(fields.expect(der::OBJECT_ID)?).map(Self::Ec),
            _ => None,
        }
    }
}

struct Pkcs8<'a> {
    kind: Found,
    key: &'a [u8],
}

impl<'a> Pkcs8<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Reader(Reader(bytes).expect(SEQUENCE)?);
        let _version = fields.expect(der::INTEGER)?;
        let kind = Found::read(fields.expect(SEQUENCE)?)?;
        Some(Self { kind, key: fields.expect(OCTET_STRING)? })
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemRandom;

    use super::super::rsa::tests::PAIR;
    use super::*;

    #[test]
    fn every_kind_is_stored_and_imported() {
        for kind in [
            KeyType::Aes128Gcm96,
            KeyType::Aes256Gcm96,
            KeyType::ChaCha20Poly1305,
            KeyType::Hmac,
            KeyType::Ed25519,
            KeyType::EcdsaP256,
            KeyType::EcdsaP384,
            KeyType::EcdsaP521,
        ] {
            let made = Material::generate(kind, 40, &SystemRandom).unwrap();
            let stored = made.private().unwrap();
            let again = Material::from_private(kind, stored.expose()).unwrap();
            assert_eq!(again.private(), Some(stored.clone()), "{kind}");
            assert!(again.has_private());
            let imported = made.pkcs8().unwrap_or(stored);
            let again = Material::import(kind, imported.expose()).unwrap();
            assert_eq!(again.spki(), made.spki(), "{kind}");
            let Some(spki) = made.spki() else { continue };
            let public = Material::import_public(kind, &pem::encode("PUBLIC KEY", &spki)).unwrap();
            assert!(!public.has_private() && public.has_public_of(&made), "{kind}");
        }
        assert!(Material::generate(KeyType::Hmac, 0, &SystemRandom).is_err());
    }

    #[test]
    fn a_key_of_another_kind_is_named() {
        let ec = Material::generate(KeyType::EcdsaP256, 0, &SystemRandom).unwrap().pkcs8().unwrap();
        let rsa = PAIR.pkcs8().unwrap();
        for (kind, bytes, want) in [
            (KeyType::EcdsaP384, &ec, "invalid curve: expected P-384, got P-256"),
            (KeyType::Rsa2048, &ec, "invalid key type: expected rsa-2048, got *ecdsa.PrivateKey"),
            (KeyType::Ed25519, rsa, "invalid key type: expected ed25519, got *rsa.PrivateKey"),
            (KeyType::Rsa3072, rsa, "invalid key size: expected 384 bytes, got 256 bytes"),
            (
                KeyType::Rsa2048,
                &b"x".to_vec().into(),
                "error parsing asymmetric key: no PKCS #8 private key",
            ),
            (
                KeyType::Aes128Gcm96,
                &vec![0; 17].into(),
                "invalid key size 17 bytes for key type aes128-gcm96",
            ),
        ] {
            let got = Material::import(kind, bytes.expose()).err().map(|error| error.to_string());
            assert_eq!(got.as_deref(), Some(want));
        }
    }
}

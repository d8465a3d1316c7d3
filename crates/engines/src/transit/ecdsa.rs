//! ECDSA and ECDH over P-256, P-384 and P-521.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521};
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _,
    UnparsedPublicKey,
};
use holdfast_types::SecretBytes;
use zeroize::Zeroizing;

use super::der::{self, Reader, SEQUENCE, oid};
use super::key_type::KeyType;
use super::refused::Refused;
use super::symmetric::agreed_key;

/// One of the curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) fn of(kind: KeyType) -> Option<Self> {
        match kind {
            KeyType::EcdsaP256 => Some(Self::P256),
            KeyType::EcdsaP384 => Some(Self::P384),
            KeyType::EcdsaP521 => Some(Self::P521),
            _ => None,
        }
    }

    pub(super) fn of_oid(id: &[u8]) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|curve| curve.oid() == id)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => oid::P256,
            Self::P384 => oid::P384,
            Self::P521 => oid::P521,
        }
    }

    /// How many bytes a coordinate or a scalar has.
    pub(super) fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        }
    }

    fn agreement(self) -> &'static agreement::Algorithm {
        match self {
            Self::P256 => &ECDH_P256,
            Self::P384 => &ECDH_P384,
            Self::P521 => &ECDH_P521,
        }
    }

    /// A hash of any length as the library takes one of the curve's own.
    ///
    /// ECDSA reads as many bits of a hash as the order has, from the left, as a number (FIPS 186-5,
    /// section 6.4.1): so a longer one is cut, and a shorter one has zeros before it.
    fn digest(self, hash: &[u8]) -> Result<Digest, Refused> {
        let (function, size) = match self {
            Self::P256 => (&digest::SHA256, 32),
            Self::P384 => (&digest::SHA384, 48),
            Self::P521 if hash.len() > 64 => {
                return Err(Refused::new("prehashed input is longer than 64 bytes"));
            }
            Self::P521 => (&digest::SHA512, 64),
        };
        let kept = &hash[..hash.len().min(size)];
        let mut padded = vec![0; size];
        padded[size - kept.len()..].copy_from_slice(kept);
        Digest::import_less_safe(&padded, function).map_err(|_| broken())
    }
}

/// A key pair, or the public half of one.
pub(super) struct Ecdsa {
    curve: Curve,
    private: Option<EcdsaKeyPair>,
    /// The uncompressed point: 4, x, y.
    public: Vec<u8>,
}

impl Ecdsa {
    pub(super) fn generate(curve: Curve) -> Result<Self, Refused> {
        let pair = EcdsaKeyPair::generate(curve.signing()).map_err(|_| broken())?;
        Ok(Self::from_pair(curve, pair))
    }

    pub(super) fn from_pkcs8(curve: Curve, pkcs8: &[u8]) -> Result<Self, Refused> {
        let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), pkcs8).map_err(|_| broken())?;
        Ok(Self::from_pair(curve, pair))
    }

    /// A pair from its scalar and its uncompressed point, which must belong together.
    pub(super) fn from_scalar(curve: Curve, scalar: &[u8], point: &[u8]) -> Result<Self, Refused> {
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), scalar, point)
            .map_err(|_| broken())?;
        Ok(Self::from_pair(curve, pair))
    }

    /// The public half alone, from its uncompressed point.
    pub(super) fn from_point(curve: Curve, point: &[u8]) -> Result<Self, Refused> {
        UnparsedPublicKey::new(curve.verification(), point).parse().map_err(|_| broken())?;
        if point.first() != Some(&4) {
            return Err(broken());
        }
        Ok(Self { curve, private: None, public: point.to_vec() })
    }

    fn from_pair(curve: Curve, pair: EcdsaKeyPair) -> Self {
        let public = pair.public_key().as_ref().to_vec();
        Self { curve, private: Some(pair), public }
    }

    pub(super) fn curve(&self) -> Curve {
        self.curve
    }

    pub(super) fn has_private(&self) -> bool {
        self.private.is_some()
    }

    /// The uncompressed point.
    pub(super) fn point(&self) -> &[u8] {
        &self.public
    }

    /// The private number, big-endian, of the curve's size.
    pub(super) fn scalar(&self) -> Option<SecretBytes> {
        let bytes: EcPrivateKeyBin<'static> =
            self.private.as_ref()?.private_key().as_be_bytes().ok()?;
        Some(bytes.as_ref().to_vec().into())
    }

    pub(super) fn pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let document = self.private.as_ref()?.to_pkcs8v1().ok()?;
        Some(document.as_ref().to_vec().into())
    }

    /// RFC 5915's `ECPrivateKey`.
    pub(super) fn sec1(&self) -> Option<Zeroizing<Vec<u8>>> {
        let der = self.private.as_ref()?.private_key().as_der().ok()?;
        Some(der.as_ref().to_vec().into())
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        let ids = [oid::EC, self.curve.oid()].map(|id| der::element(der::OBJECT_ID, &[id]));
        let algorithm = der::element(SEQUENCE, &[&ids[0], &ids[1]]);
        let key = der::element(der::BIT_STRING, &[&[0], &self.public]);
        der::element(SEQUENCE, &[&algorithm, &key]).to_vec()
    }

    /// Signs a hash. The signature is r and s, each of the curve's size.
    pub(super) fn sign(&self, hash: &[u8]) -> Result<Vec<u8>, Refused> {
        let pair = self.private.as_ref().ok_or_else(|| {
            Refused::new("requested version for signing does not contain a private part")
        })?;
        let signature = pair.sign_digest(&self.curve.digest(hash)?).map_err(|_| broken())?;
        Ok(signature.as_ref().to_vec())
    }

    /// Whether r and s, two halves of any length, sign the hash.
    pub(super) fn verify(&self, hash: &[u8], r: &[u8], s: &[u8]) -> Result<bool, Refused> {
        let digest = self.curve.digest(hash)?;
        let size = self.curve.size();
        let mut fixed = vec![0; 2 * size];
        for (number, end) in [(r, size), (s, 2 * size)] {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            let number = &number[zeros..];
            if number.len() > size {
                return Ok(false);
            }
            fixed[end - number.len()..end].copy_from_slice(number);
        }
        let key = UnparsedPublicKey::new(self.curve.verification(), &self.public);
        Ok(key.verify_digest(&digest, &fixed).is_ok())
    }

    /// The key of `length` bytes that this pair and a public key of the same curve agree on.
    pub(super) fn agree(&self, peer: &Self, length: usize) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let no_private = || Refused::new("base key has no private part");
        let scalar = self.scalar().ok_or_else(no_private)?;
        let algorithm = self.curve.agreement();
        let private = agreement::PrivateKey::from_private_key(algorithm, scalar.expose())
            .map_err(|_| broken())?;
        let peer = agreement::UnparsedPublicKey::new(algorithm, &peer.public);
        agreement::agree(&private, peer, broken(), |secret| agreed_key(secret, length))
    }
}

/// r and s as X.509 has them: a sequence of two numbers.
pub(super) fn to_asn1(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let [r, s] = [r, s].map(der::unsigned);
    der::element(SEQUENCE, &[&r, &s]).to_vec()
}

/// r and s out of such a sequence. A negative number comes as none: it signs nothing.
///
/// # Errors
/// It is something else, or is followed by something.
pub(super) fn from_asn1(signature: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    let invalid = || Refused::new("supplied signature is invalid");
    let mut outer = Reader(signature);
    let mut numbers = Reader(outer.expect(SEQUENCE).ok_or_else(invalid)?);
    let r = numbers.expect(der::INTEGER).ok_or_else(invalid)?;
    let s = numbers.expect(der::INTEGER).ok_or_else(invalid)?;
    if r.is_empty() || s.is_empty() {
        return Err(invalid());
    }
    if !outer.is_empty() {
        return Err(Refused::new("supplied signature contains extra data"));
    }
    let negative = |number: &[u8]| number.first().is_some_and(|byte| *byte >= 0x80);
    if negative(r) || negative(s) {
        return Ok((&[], &[]));
    }
    Ok((r, s))
}

fn broken() -> Refused {
    Refused::new("no valid key on this curve")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_any_length_are_signed() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let pair = Ecdsa::generate(curve).unwrap();
            for length in [0, 20, 28, 32, 48, 64] {
                let hash = vec![0x5a; length];
                let fixed = pair.sign(&hash).unwrap();
                assert_eq!(fixed.len(), 2 * curve.size());
                let (r, s) = fixed.split_at(curve.size());
                assert!(pair.verify(&hash, r, s).unwrap(), "{curve:?} {length}");
                assert!(!pair.verify(b"other", r, s).unwrap());
                let asn1 = to_asn1(&fixed);
                let (r, s) = from_asn1(&asn1).unwrap();
                assert!(pair.verify(&hash, r, s).unwrap(), "{curve:?} {length}");
                assert!(from_asn1(&[&asn1[..], &[0]].concat()).is_err());
                assert!(from_asn1(&asn1[1..]).is_err());
            }
            assert!(!pair.verify(b"", &[], &[]).unwrap());
        }
    }

    #[test]
    fn every_form_leads_back() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let pair = Ecdsa::generate(curve).unwrap();
            let again = Ecdsa::from_pkcs8(curve, &pair.pkcs8().unwrap()).unwrap();
            assert_eq!(again.point(), pair.point());
            let scalar = pair.scalar().unwrap();
            let again = Ecdsa::from_scalar(curve, scalar.expose(), pair.point()).unwrap();
            assert_eq!(again.spki(), pair.spki());
            let public = Ecdsa::from_point(curve, pair.point()).unwrap();
            assert!(!public.has_private() && public.pkcs8().is_none() && public.sign(b"").is_err());
            let other = Ecdsa::generate(curve).unwrap();
            assert!(Ecdsa::from_scalar(curve, scalar.expose(), other.point()).is_err());
            assert_eq!(pair.agree(&other, 32).unwrap(), other.agree(&pair, 32).unwrap());
        }
        let (one, other) =
            (Ecdsa::generate(Curve::P256).unwrap(), Ecdsa::generate(Curve::P384).unwrap());
        assert!(one.agree(&other, 32).is_err());
    }
}

//! Ed25519 (RFC 8032).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use holdfast_types::{Random, SecretBytes};
use zeroize::Zeroizing;

use super::der::{self, OCTET_STRING, Reader, SEQUENCE, oid};
use super::refused::Refused;
use super::symmetric::derive;

const SEED: usize = 32;
const PUBLIC: usize = 32;

/// A key pair, or the public half of one.
pub(super) struct Ed25519 {
    private: Option<Private>,
    public: [u8; PUBLIC],
}

struct Private {
    /// The seed, then the public key: Go's form, which OpenBao keeps, exports, and derives from.
    expanded: SecretBytes,
    pair: Ed25519KeyPair,
}

impl Ed25519 {
    pub(super) fn generate(random: &dyn Random) -> Result<Self, Refused> {
        let mut seed = Zeroizing::new([0; SEED]);
        random.fill(&mut *seed);
        Self::from_seed(&*seed)
    }

    /// A key pair from its seed of 32 bytes, or from the seed followed by the public key.
    pub(super) fn from_private(bytes: &[u8]) -> Result<Self, Refused> {
        let pair = match bytes.len() {
            SEED => Self::from_seed(bytes)?,
            64 => Self::from_seed(&bytes[..SEED])?,
            _ => return Err(broken()),
        };
        if bytes.len() == 64 && bytes[SEED..] != pair.public {
            return Err(broken());
        }
        Ok(pair)
    }

    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Refused> {
        let mut fields = Reader(Reader(pkcs8).expect(SEQUENCE).ok_or_else(broken)?);
        let version = fields.expect(der::INTEGER);
        let algorithm = fields.expect(SEQUENCE);
        let key = fields.expect(OCTET_STRING);
        let (Some(_), Some(algorithm), Some(key)) = (version, algorithm, key) else {
            return Err(broken());
        };
        if Reader(algorithm).expect(der::OBJECT_ID) != Some(oid::ED25519) {
            return Err(broken());
        }
        let seed = Reader(key).expect(OCTET_STRING).filter(|seed| seed.len() == SEED);
        Self::from_seed(seed.ok_or_else(broken)?)
    }

    pub(super) fn from_public(public: &[u8]) -> Result<Self, Refused> {
        let public = public.try_into().map_err(|_| broken())?;
        Ok(Self { private: None, public })
    }

    fn from_seed(seed: &[u8]) -> Result<Self, Refused> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| broken())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| broken())?;
        let expanded = [seed, pair.public_key().as_ref()].concat().into();
        Ok(Self { private: Some(Private { expanded, pair }), public })
    }

    /// The pair for `context`.
    ///
    /// # Errors
    /// An empty context, or there is no private half to derive from.
    pub(super) fn derive(&self, context: &[u8]) -> Result<Self, Refused> {
        let private = self.private.as_ref().ok_or_else(no_private)?;
        Self::from_seed(&derive(private.expanded.expose(), context, SEED)?)
    }

    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The seed and the public key.
    pub(super) fn private(&self) -> Option<&SecretBytes> {
        self.private.as_ref().map(|private| &private.expanded)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let private = self.private.as_ref().ok_or_else(no_private)?;
        let signature = private.pair.try_sign(message).map_err(|_| broken())?;
        Ok(signature.as_ref().to_vec())
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(message, signature).is_ok()
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        let algorithm = der::element(SEQUENCE, &[&der::element(der::OBJECT_ID, &[oid::ED25519])]);
        let key = der::element(der::BIT_STRING, &[&[0], &self.public]);
        der::element(SEQUENCE, &[&algorithm, &key]).to_vec()
    }

    pub(super) fn pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let expanded = self.private()?.expose();
        let algorithm = der::element(SEQUENCE, &[&der::element(der::OBJECT_ID, &[oid::ED25519])]);
        let seed = der::element(OCTET_STRING, &[&expanded[..SEED]]);
        let key = der::element(OCTET_STRING, &[&seed]);
        Some(der::element(SEQUENCE, &[&der::element(der::INTEGER, &[&[0]]), &algorithm, &key]))
    }
}

fn broken() -> Refused {
    Refused::new("no valid Ed25519 key")
}

fn no_private() -> Refused {
    Refused::new("requested version for signing does not contain a private part")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: RFC 8032, section 7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let pair = Ed25519::from_private(&seed).unwrap();
        let signature = pair.sign(&[0x72]).unwrap();
        assert_eq!(
            signature,
            hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                 085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
        );
        assert!(pair.verify(&[0x72], &signature));
        assert!(!pair.verify(&[0x73], &signature));
        assert!(!pair.verify(&[0x72], &signature[1..]));
    }

    #[test]
    fn every_form_leads_back() {
        let pair = Ed25519::from_private(&[7; 32]).unwrap();
        let again = Ed25519::from_pkcs8(&pair.pkcs8().unwrap()).unwrap();
        assert_eq!(again.private().unwrap(), pair.private().unwrap());
        let again = Ed25519::from_private(pair.private().unwrap().expose()).unwrap();
        assert_eq!(again.public(), pair.public());
        let public = Ed25519::from_public(pair.public()).unwrap();
        assert!(public.sign(b"").is_err());
        assert!(public.pkcs8().is_none());
        assert!(Ed25519::from_private(&[1; 64]).is_err(), "the halves do not match");
        assert_ne!(pair.derive(b"a").unwrap().public(), pair.derive(b"b").unwrap().public());
        assert!(pair.derive(b"").is_err());
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.bytes().map(|c| (c as char).to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
}

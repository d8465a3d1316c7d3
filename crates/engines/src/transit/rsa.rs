//! RSA: OAEP encryption, PSS and PKCS #1 v1.5 signatures.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA256_MGF1SHA256, OaepAlgorithm,
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
    PublicKey,
};
use aws_lc_rs::signature::{
    self, KeyPair as _, RsaParameters, RsaSignatureEncoding, UnparsedPublicKey,
};
use holdfast_types::SecretBytes;
use zeroize::Zeroizing;

use super::der::{self, OCTET_STRING, Reader, SEQUENCE};
use super::hash_algorithm::HashAlgorithm;
use super::key_type::KeyType;
use super::pss;
use super::refused::Refused;

/// How a hash is padded before it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    Pss(SaltLength),
    Pkcs1v15,
}

/// How long the salt of a PSS signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaltLength {
    /// The longest there is room for; when verifying, whatever the signature has.
    Auto,
    /// As long as the hash.
    Hash,
    /// So many bytes.
    Bytes(usize),
}

/// A key pair, or the public half of one.
pub(super) struct Rsa {
    private: Option<Private>,
    /// `SubjectPublicKeyInfo`.
    spki: Vec<u8>,
    /// The modulus and the exponent, big-endian, without leading zeros.
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

struct Private {
    pkcs8: SecretBytes,
    signing: KeyPair,
    decrypting: OaepPrivateDecryptingKey,
}

impl Rsa {
    /// A new pair. It takes up to some seconds of computing.
    pub(super) fn generate(kind: KeyType) -> Result<Self, Refused> {
        let size = match kind {
            KeyType::Rsa2048 => KeySize::Rsa2048,
            KeyType::Rsa3072 => KeySize::Rsa3072,
            _ => KeySize::Rsa4096,
        };
        Self::from_pair(&KeyPair::generate(size).map_err(|_| broken())?)
    }

    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Refused> {
        let signing = KeyPair::from_pkcs8(pkcs8).map_err(|_| broken())?;
        let decrypting = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| broken())?;
        let decrypting = OaepPrivateDecryptingKey::new(decrypting).map_err(|_| broken())?;
        let spki = signing.public_key().as_der().map_err(|_| broken())?;
        let public = Self::from_spki(spki.as_ref())?;
        let private = Private { pkcs8: pkcs8.to_vec().into(), signing, decrypting };
        Ok(Self { private: Some(private), ..public })
    }

    /// A pair from RFC 8017's `RSAPrivateKey`.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, Refused> {
        Self::from_pair(&KeyPair::from_der(der).map_err(|_| broken())?)
    }

    pub(super) fn from_components(components: &KeyPairComponents<&[u8]>) -> Result<Self, Refused> {
        Self::from_pair(&KeyPair::from_components(components).map_err(|_| broken())?)
    }

    /// The public half alone, from a `SubjectPublicKeyInfo`.
    pub(super) fn from_spki(spki: &[u8]) -> Result<Self, Refused> {
        let public = PublicKey::from_der(spki).map_err(|_| broken())?;
        let mut numbers = Reader(Reader(public.as_ref()).expect(SEQUENCE).ok_or_else(broken)?);
        let modulus = numbers.unsigned().ok_or_else(broken)?.to_vec();
        let exponent = numbers.unsigned().ok_or_else(broken)?.to_vec();
        let spki = public.as_der().map_err(|_| broken())?.as_ref().to_vec();
        Ok(Self { private: None, spki, modulus, exponent })
    }

    /// The public half alone, from its numbers.
    pub(super) fn from_numbers(modulus: &[u8], exponent: &[u8]) -> Result<Self, Refused> {
        let [modulus, exponent] = [modulus, exponent].map(der::unsigned);
        Self::from_spki(&der::element(SEQUENCE, &[&modulus, &exponent]))
    }

    fn from_pair(pair: &KeyPair) -> Result<Self, Refused> {
        let pkcs8 = pair.as_der().map_err(|_| broken())?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    pub(super) fn has_private(&self) -> bool {
        self.private.is_some()
    }

    pub(super) fn pkcs8(&self) -> Option<&SecretBytes> {
        self.private.as_ref().map(|private| &private.pkcs8)
    }

    /// RFC 8017's `RSAPrivateKey`: what PKCS #8 has inside.
    pub(super) fn pkcs1(&self) -> Option<&[u8]> {
        let mut fields = Reader(Reader(self.pkcs8()?.expose()).expect(SEQUENCE)?);
        let _version = fields.next()?;
        let _algorithm = fields.next()?;
        fields.expect(OCTET_STRING)
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The modulus, without leading zeros.
    pub(super) fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent, without leading zeros.
    pub(super) fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// Encrypts by OAEP with SHA-256.
    pub(super) fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, Refused> {
        self.encrypt_with(&OAEP_SHA256_MGF1SHA256, plaintext)
    }

    pub(super) fn encrypt_with(
        &self,
        algorithm: &'static OaepAlgorithm,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let key = PublicEncryptingKey::from_der(&self.spki).map_err(|_| broken())?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| broken())?;
        if plaintext.len() > key.max_plaintext_size(algorithm) {
            return Err(Refused::new(
                "failed to RSA encrypt the plaintext: crypto/rsa: message too long for RSA key size",
            ));
        }
        let mut out = vec![0; key.ciphertext_size()];
        let length = key.encrypt(algorithm, plaintext, &mut out, None).map_err(|_| broken())?.len();
        out.truncate(length);
        Ok(out)
    }

    /// Decrypts by OAEP with SHA-256.
    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        if self.private.is_none() {
            return Err(Refused::new(
                "cannot decrypt ciphertext, key version does not have a private counterpart",
            ));
        }
        self.decrypt_with(&OAEP_SHA256_MGF1SHA256, ciphertext)
            .map_err(|error| Refused::new(format!("failed to RSA decrypt the ciphertext: {error}")))
    }

    pub(super) fn decrypt_with(
        &self,
        algorithm: &'static OaepAlgorithm,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let failed = || Refused::new("crypto/rsa: decryption error");
        let key = &self.private.as_ref().ok_or_else(failed)?.decrypting;
        let mut out = Zeroizing::new(vec![0; key.min_output_size()]);
        let length =
            key.decrypt(algorithm, ciphertext, &mut out, None).map_err(|_| failed())?.len();
        out.truncate(length);
        Ok(out)
    }

    /// Signs a hash.
    pub(super) fn sign(
        &self,
        algorithm: HashAlgorithm,
        hash: &[u8],
        padding: Padding,
    ) -> Result<Vec<u8>, Refused> {
        let private = self.private.as_ref().ok_or_else(|| {
            Refused::new("requested version for signing does not contain a private part")
        })?;
        let encoding: &'static RsaSignatureEncoding = match padding {
            Padding::Pss(salt) => {
                let longest = self.longest_salt(algorithm)?;
                let length = match salt {
                    SaltLength::Auto => longest,
                    SaltLength::Hash => algorithm.size(),
                    SaltLength::Bytes(length) if length > longest => {
                        return Err(invalid_salt(length));
                    }
                    SaltLength::Bytes(length) => length,
                };
                pss::signing(algorithm, length).ok_or_else(|| unsupported(algorithm))?
            }
            Padding::Pkcs1v15 => match algorithm {
                HashAlgorithm::Sha2_256 => &signature::RSA_PKCS1_SHA256,
                HashAlgorithm::Sha2_384 => &signature::RSA_PKCS1_SHA384,
                HashAlgorithm::Sha2_512 => &signature::RSA_PKCS1_SHA512,
                _ => return Err(unsupported(algorithm)),
            },
        };
        let digest = import(algorithm, hash, padding)?;
        let mut out = vec![0; private.signing.public_modulus_len()];
        private.signing.sign_digest(encoding, &digest, &mut out).map_err(|_| broken())?;
        Ok(out)
    }

    /// Whether `signed` is a signature of the hash.
    pub(super) fn verify(
        &self,
        algorithm: HashAlgorithm,
        hash: &[u8],
        padding: Padding,
        signed: &[u8],
    ) -> Result<bool, Refused> {
        let parameters: &'static RsaParameters = match padding {
            Padding::Pss(salt) => {
                let longest = self.longest_salt(algorithm)?;
                let length = match salt {
                    SaltLength::Auto => pss::salt_length(self, algorithm, signed),
                    SaltLength::Hash => Some(algorithm.size()),
                    SaltLength::Bytes(length) if length > longest => {
                        return Err(invalid_salt(length));
                    }
                    SaltLength::Bytes(length) => Some(length),
                };
                // A signature without a readable salt is none.
                let Some(length) = length else { return Ok(false) };
                pss::verification(algorithm, length).ok_or_else(|| unsupported(algorithm))?
            }
            Padding::Pkcs1v15 => match algorithm {
                HashAlgorithm::Sha1 => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
                HashAlgorithm::Sha2_256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                HashAlgorithm::Sha2_384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                HashAlgorithm::Sha2_512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                _ => return Err(unsupported(algorithm)),
            },
        };
        let Ok(digest) = import(algorithm, hash, padding) else { return Ok(false) };
        Ok(UnparsedPublicKey::new(parameters, &self.spki).verify_digest(&digest, signed).is_ok())
    }

    fn longest_salt(&self, algorithm: HashAlgorithm) -> Result<usize, Refused> {
        if !pss::supports(algorithm) {
            return Err(unsupported(algorithm));
        }
        Ok(self.modulus.len() - 2 - algorithm.size())
    }
}

fn import(algorithm: HashAlgorithm, hash: &[u8], padding: Padding) -> Result<Digest, Refused> {
    let function = match algorithm {
        HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha2_256 => &digest::SHA256,
        HashAlgorithm::Sha2_384 => &digest::SHA384,
        HashAlgorithm::Sha2_512 => &digest::SHA512,
        _ => return Err(unsupported(algorithm)),
    };
    Digest::import_less_safe(hash, function).map_err(|_| {
        Refused::new(match padding {
            Padding::Pss(_) => "crypto/rsa: input must be hashed with given hash",
            Padding::Pkcs1v15 => "crypto/rsa: input must be hashed message",
        })
    })
}

fn invalid_salt(length: usize) -> Refused {
    Refused::new(format!("requested salt length {length} is invalid"))
}

fn unsupported(algorithm: HashAlgorithm) -> Refused {
    let name = algorithm.name();
    Refused::new(format!(
        "hash algorithm {name} is not supported for RSA signatures by this server; sha2-256, \
         sha2-384 and sha2-512 are"
    ))
}

fn broken() -> Refused {
    Refused::new("no valid RSA key")
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// One pair for all tests: it takes long to make one.
    pub(in super::super) static PAIR: LazyLock<Rsa> =
        LazyLock::new(|| Rsa::generate(KeyType::Rsa2048).unwrap());

    const HASHES: [HashAlgorithm; 3] =
        [HashAlgorithm::Sha2_256, HashAlgorithm::Sha2_384, HashAlgorithm::Sha2_512];

    #[test]
    fn whatever_the_salt_auto_finds_it() {
        for algorithm in HASHES {
            let hash = algorithm.hash(b"message");
            let longest = 256 - 2 - hash.len();
            for salt in [
                SaltLength::Auto,
                SaltLength::Hash,
                SaltLength::Bytes(0),
                SaltLength::Bytes(1),
                SaltLength::Bytes(longest),
            ] {
                let signed = PAIR.sign(algorithm, &hash, Padding::Pss(salt)).unwrap();
                for (verifying, want) in
                    [(SaltLength::Auto, true), (salt, true), (SaltLength::Bytes(5), false)]
                {
                    let padding = Padding::Pss(verifying);
                    let got = PAIR.verify(algorithm, &hash, padding, &signed).unwrap();
                    assert_eq!(got, want, "{algorithm:?} {salt:?} {verifying:?}");
                }
                let auto = Padding::Pss(SaltLength::Auto);
                let other = algorithm.hash(b"other");
                assert!(!PAIR.verify(algorithm, &other, auto, &signed).unwrap());
                assert!(!PAIR.verify(algorithm, &hash, auto, &signed[1..]).unwrap());
                assert!(!PAIR.verify(algorithm, &hash, auto, &[0xff; 256]).unwrap());
            }
            let too_long = Padding::Pss(SaltLength::Bytes(longest + 1));
            assert!(PAIR.sign(algorithm, &hash, too_long).is_err());
            assert!(PAIR.verify(algorithm, &hash, too_long, &[]).is_err());
        }
    }

    #[test]
    fn pkcs1_signs_hashes_of_the_right_length_alone() {
        for algorithm in HASHES {
            let hash = algorithm.hash(b"message");
            let signed = PAIR.sign(algorithm, &hash, Padding::Pkcs1v15).unwrap();
            assert!(PAIR.verify(algorithm, &hash, Padding::Pkcs1v15, &signed).unwrap());
            assert!(!PAIR.verify(algorithm, &hash[1..], Padding::Pkcs1v15, &signed).unwrap());
            assert!(PAIR.sign(algorithm, &hash[1..], Padding::Pkcs1v15).is_err());
        }
        assert!(PAIR.sign(HashAlgorithm::Sha3_256, &[0; 32], Padding::Pkcs1v15).is_err());
    }

    #[test]
    fn every_form_leads_back() {
        let again = Rsa::from_pkcs1(PAIR.pkcs1().unwrap()).unwrap();
        assert_eq!(again.spki(), PAIR.spki());
        let public = Rsa::from_numbers(PAIR.modulus(), PAIR.exponent()).unwrap();
        assert_eq!(public.spki(), PAIR.spki());
        let sealed = public.encrypt(b"text").unwrap();
        assert_eq!(**PAIR.decrypt(&sealed).unwrap(), *b"text");
        assert!(public.decrypt(&sealed).is_err());
        assert!(PAIR.decrypt(&sealed[1..]).is_err());
        assert!(public.encrypt(&[0; 191]).is_err());
    }
}

//! Authenticated encryption: AES-GCM and ChaCha20-Poly1305, with keys derived for a context, and
//! with nonces that the plaintext decides (convergent encryption).
//!
//! A ciphertext is the nonce of 12 bytes, then what the cipher gives, its tag of 16 bytes last.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce,
    UnboundKey,
};
use aws_lc_rs::{hkdf, hmac};
use holdfast_types::{Random, SecretBytes};
use zeroize::Zeroizing;

use super::key_type::KeyType;
use super::refused::Refused;

/// How long the key is from which a convergent nonce is made.
const NONCE_KEY: usize = 32;

/// What a key's settings say about a single encryption.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode<'a> {
    /// The context that the key in use is derived from. None: the key itself is used.
    pub(super) context: Option<&'a [u8]>,
    /// The same plaintext gives the same ciphertext.
    pub(super) convergent: bool,
    /// Authenticated, but not part of the ciphertext.
    pub(super) associated_data: &'a [u8],
}

/// A key of one of the ciphers.
pub(super) struct Symmetric {
    algorithm: &'static Algorithm,
    key: SecretBytes,
    cipher: LessSafeKey,
}

impl Symmetric {
    /// A key from its bytes.
    ///
    /// # Errors
    /// They are too many or too few for `kind`, or `kind` is no cipher.
    pub(super) fn new(kind: KeyType, key: SecretBytes) -> Result<Self, Refused> {
        let algorithm = match kind {
            KeyType::Aes128Gcm96 => &AES_128_GCM,
            KeyType::Aes256Gcm96 => &AES_256_GCM,
            KeyType::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return Err(Refused::new(format!("unsupported key type {kind}"))),
        };
        let cipher = cipher(algorithm, key.expose()).map_err(|_| {
            let length = key.expose().len();
            Refused::new(format!("invalid key size {length} bytes for key type {kind}"))
        })?;
        Ok(Self { algorithm, key, cipher })
    }

    /// The key's bytes.
    pub(super) fn bytes(&self) -> &SecretBytes {
        &self.key
    }

    /// Encrypts.
    ///
    /// # Errors
    /// An empty context.
    pub(super) fn seal(
        &self,
        plaintext: &[u8],
        mode: Mode<'_>,
        random: &dyn Random,
    ) -> Result<Vec<u8>, Refused> {
        let key_len = self.algorithm.key_len();
        let derived = mode.context.map(|context| {
            let length = key_len + if mode.convergent { NONCE_KEY } else { 0 };
            derive(self.key.expose(), context, length)
        });
        let derived = derived.transpose()?;
        let mut nonce = [0; NONCE_LEN];
        match &derived {
            Some(derived) if mode.convergent => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &derived[key_len..]);
                nonce.copy_from_slice(&hmac::sign(&key, plaintext).as_ref()[..NONCE_LEN]);
            }
            _ => random.fill(&mut nonce),
        }
        let owned;
        let cipher = match &derived {
            Some(derived) => {
                owned = self.cipher_of(&derived[..key_len])?;
                &owned
            }
            None => &self.cipher,
        };
        let mut out = Vec::with_capacity(NONCE_LEN + plaintext.len() + self.algorithm.tag_len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(mode.associated_data);
        let tag = cipher
            .seal_in_place_separate_tag(nonce, aad, &mut out[NONCE_LEN..])
            .map_err(|_| Refused::new("plaintext is too long"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Decrypts.
    ///
    /// # Errors
    /// An empty context, or a ciphertext that this key did not make in this mode.
    pub(super) fn open(
        &self,
        ciphertext: &[u8],
        mode: Mode<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let owned;
        let cipher = match mode.context {
            Some(context) => {
                let key = derive(self.key.expose(), context, self.algorithm.key_len())?;
                owned = self.cipher_of(&key)?;
                &owned
            }
            None => &self.cipher,
        };
        let (nonce, sealed) = ciphertext
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(|| Refused::new("invalid ciphertext length"))?;
        let mut out = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = cipher
            .open_in_place(nonce, Aad::from(mode.associated_data), &mut out)
            .map_err(|_| self.unauthentic())?
            .len();
        out.truncate(length);
        Ok(out)
    }

    fn unauthentic(&self) -> Refused {
        let library =
            if self.algorithm == &CHACHA20_POLY1305 { "chacha20poly1305" } else { "cipher" };
        Refused::new(format!("{library}: message authentication failed"))
    }

    fn cipher_of(&self, key: &[u8]) -> Result<LessSafeKey, Refused> {
        cipher(self.algorithm, key).map_err(|_| Refused::new("could not derive enc key"))
    }
}

fn cipher(
    algorithm: &'static Algorithm,
    key: &[u8],
) -> Result<LessSafeKey, aws_lc_rs::error::Unspecified> {
    Ok(LessSafeKey::new(UnboundKey::new(algorithm, key)?))
}

/// HKDF (RFC 5869) with SHA-256, no salt and `context` as its info.
///
/// # Errors
/// `context` is empty.
pub(super) fn derive(
    key: &[u8],
    context: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    if context.is_empty() {
        return Err(Refused::new(
            "missing 'context' for key derivation; the key was created using a derived key, \
             which means additional, per-request information must be included in order to \
             perform operations with the key",
        ));
    }
    let too_long = |_| Refused::new("unable to derive so many bytes");
    let mut out = Zeroizing::new(vec![0; length]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
    prk.expand(&[context], Length(length)).map_err(too_long)?.fill(&mut out).map_err(too_long)?;
    Ok(out)
}

/// HKDF as above without any info: the key that two parties agree on.
pub(super) fn agreed_key(secret: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let too_long = |_| Refused::new("unable to derive so many bytes");
    let mut out = Zeroizing::new(vec![0; length]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    prk.expand(&[], Length(length)).map_err(too_long)?.fill(&mut out).map_err(too_long)?;
    Ok(out)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemRandom;

    use super::*;

    fn mode<'a>(context: Option<&'a [u8]>, convergent: bool) -> Mode<'a> {
        Mode { context, convergent, associated_data: b"ad" }
    }

    #[test]
    fn what_is_sealed_opens_in_the_same_mode_alone() {
        for (kind, size) in [
            (KeyType::Aes128Gcm96, 16),
            (KeyType::Aes256Gcm96, 32),
            (KeyType::ChaCha20Poly1305, 32),
        ] {
            let key = Symmetric::new(kind, vec![1; size].into()).unwrap();
            for mode in [mode(None, false), mode(Some(b"c"), false), mode(Some(b"c"), true)] {
                let sealed = key.seal(b"text", mode, &SystemRandom).unwrap();
                assert_eq!(**key.open(&sealed, mode).unwrap(), *b"text");
                let again = key.seal(b"text", mode, &SystemRandom).unwrap();
                assert_eq!(again == sealed, mode.convergent, "{kind} {mode:?}");
                for other in
                    [Mode { associated_data: b"", ..mode }, Mode { context: Some(b"d"), ..mode }]
                {
                    assert!(key.open(&sealed, other).is_err(), "{kind} {other:?}");
                }
                for at in 0..sealed.len() {
                    let mut damaged = sealed.clone();
                    damaged[at] ^= 1;
                    assert!(key.open(&damaged, mode).is_err());
                    assert!(key.open(&sealed[..at], mode).is_err());
                }
            }
            assert!(key.seal(b"", mode(Some(b""), false), &SystemRandom).is_err());
            assert!(Symmetric::new(kind, vec![1; size + 1].into()).is_err());
        }
    }

    /// Source: RFC 5869, appendix A.3.
    #[test]
    fn derivation_is_hkdf() {
        let okm = agreed_key(&[0x0b; 22], 42).unwrap();
        assert_eq!(okm[..8], [0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f]);
        assert_eq!(okm[34..], [0x13, 0x95, 0xfa, 0xa4, 0xb6, 0x1a, 0x96, 0xc8]);
    }
}

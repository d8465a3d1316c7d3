//! One encrypted value.
//!
//! ```text
//! term (4 bytes, big-endian) | version (1 byte, 1) | nonce (12 bytes) | ciphertext | tag (16 bytes)
//! ```
//!
//! AES-256-GCM with a random nonce. The associated data is the storage path, so that a value moved
//! to another path does not open there. Term 0 is the root key, later terms are the keyring's.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use holdfast_types::Random;
use zeroize::Zeroizing;

/// Which key of the keyring a value is encrypted with.
pub(crate) type Term = u32;

/// The version byte of the layout above.
const VERSION: u8 = 1;
const TERM_LENGTH: usize = 4;
const HEADER_LENGTH: usize = TERM_LENGTH + 1 + NONCE_LEN;
const TAG_LENGTH: usize = 16;

/// The envelope is not one, or is not what was written there under this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not authenticate")]
pub(crate) struct NotAuthentic;

/// A 256-bit key that values are encrypted with.
pub(crate) struct ValueKey(LessSafeKey);

impl ValueKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes any 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `plain` for `path`.
    pub(crate) fn seal(
        &self,
        term: Term,
        path: &str,
        plain: &[u8],
        random: &dyn Random,
    ) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        let mut envelope = Vec::with_capacity(HEADER_LENGTH + plain.len() + TAG_LENGTH);
        envelope.extend_from_slice(&term.to_be_bytes());
        envelope.push(VERSION);
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(plain);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(path.as_bytes()),
                &mut envelope[HEADER_LENGTH..],
            )
            .expect("AES-GCM encrypts any value that fits into memory");
        envelope.extend_from_slice(tag.as_ref());
        envelope
    }

    /// Decrypts what [`ValueKey::seal`] made for the same path.
    pub(crate) fn open(
        &self,
        path: &str,
        mut envelope: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
        if envelope.len() < HEADER_LENGTH + TAG_LENGTH || envelope[TERM_LENGTH] != VERSION {
            return Err(NotAuthentic);
        }
        let nonce = Nonce::try_assume_unique_for_key(&envelope[TERM_LENGTH + 1..HEADER_LENGTH])
            .map_err(|_| NotAuthentic)?;
        let length = self
            .0
            .open_within(nonce, Aad::from(path.as_bytes()), &mut envelope, HEADER_LENGTH..)
            .map_err(|_| NotAuthentic)?
            .len();
        envelope.truncate(length);
        Ok(Zeroizing::new(envelope))
    }
}

/// The term that an envelope names, whether or not it is authentic.
pub(crate) fn term(envelope: &[u8]) -> Result<Term, NotAuthentic> {
    let bytes = envelope.first_chunk::<TERM_LENGTH>().ok_or(NotAuthentic)?;
    Ok(Term::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemRandom;

    use super::*;

    #[test]
    fn opens_only_whole_and_where_it_was_put() {
        let key = ValueKey::new(&[1; 32]);
        for plain in [&b""[..], b"x", &[0xaa; 5000]] {
            let envelope = key.seal(7, "kv/a", plain, &SystemRandom);
            assert_eq!(term(&envelope), Ok(7));
            assert_eq!(envelope.len(), HEADER_LENGTH + plain.len() + TAG_LENGTH);
            assert_eq!(key.open("kv/a", envelope.clone()).unwrap().as_slice(), plain);
            assert_eq!(key.open("kv/b", envelope.clone()), Err(NotAuthentic));
            assert_eq!(ValueKey::new(&[2; 32]).open("kv/a", envelope), Err(NotAuthentic));
        }
    }

    #[test]
    fn no_bit_and_no_length_can_change() {
        let key = ValueKey::new(&[1; 32]);
        let envelope = key.seal(1, "kv/a", b"value", &SystemRandom);
        // The term chooses the key, which is its own check.
        for bit in TERM_LENGTH * 8..envelope.len() * 8 {
            let mut flipped = envelope.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open("kv/a", flipped), Err(NotAuthentic), "bit {bit}");
        }
        for length in 0..envelope.len() {
            assert_eq!(key.open("kv/a", envelope[..length].to_vec()), Err(NotAuthentic));
        }
    }

    #[test]
    fn nonces_differ() {
        let key = ValueKey::new(&[1; 32]);
        let first = key.seal(1, "kv/a", b"value", &SystemRandom);
        assert_ne!(first, key.seal(1, "kv/a", b"value", &SystemRandom));
    }
}

//! The keys that entries are encrypted with, one for each term.
//!
//! New values take the newest term; older terms stay so that what they wrote can be read. The
//! keyring lies at [`KEYRING_PATH`], encrypted with the root key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use holdfast_types::{Random, SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::KeySetSum;
use crate::envelope::{NotAuthentic, Term, ValueKey, term};
use crate::key_set::KeyMarker;
use crate::root_key::{RootKey, random_key};

/// Where the keyring is stored.
pub(crate) const KEYRING_PATH: &str = "core/keyring";

/// The term that stands for the root key.
pub(crate) const ROOT_TERM: Term = 0;

/// A term that has encrypted this many values is followed by a new one. Random 96-bit nonces are
/// good for 2^32 values (NIST SP 800-38D, section 8.3); half of that leaves room for values that
/// are under way when the limit is met.
const ENCRYPTIONS_PER_TERM: u64 = 1 << 31;

/// Encryptions are counted on disk in steps of this many, each noted before it is used: after a
/// crash the count is too high by at most one step, and never too low.
const ENCRYPTIONS_PER_STEP: u64 = 1 << 16;

/// The unlocked keyring.
pub(crate) struct Keyring {
    /// Sorted by term, never empty.
    terms: Vec<TermKey>,
    marker: KeyMarker,
    marker_key: Zeroizing<[u8; 32]>,
}

struct TermKey {
    term: Term,
    installed: Timestamp,
    key: Zeroizing<[u8; 32]>,
    cipher: ValueKey,
    /// Encryptions so far, one count for all copies of the keyring.
    used: Arc<AtomicU64>,
    /// Encryptions noted on disk.
    noted: u64,
}

/// What the newest key has done, for `sys/key-status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// The newest term, 1 and up.
    pub term: u32,
    /// Since when new values are encrypted with it.
    pub install_time: Timestamp,
    /// Values encrypted with it; after a crash up to 65,536 too many, never too few.
    pub encryptions: u64,
}

/// What must happen before more values can be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// The next step of the count must be noted on disk.
    Note,
    /// The term has done its share.
    Rotate,
}

/// The keyring as stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKeyring {
    terms: Vec<StoredTerm>,
    /// Base64: the key of [`KeyMarker`].
    key_set_key: SecretString,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTerm {
    term: Term,
    installed: Timestamp,
    /// Base64.
    key: SecretString,
    encryptions: u64,
}

/// Why stored bytes are no keyring.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("the keyring's ciphertext does not authenticate")]
    NotAuthentic,
    #[error("the keyring does not decode")]
    Decode(#[source] serde_json::Error),
    #[error("the keyring holds a key that is not 32 bytes of base64")]
    Key,
    #[error("the keyring holds no key, or its terms are not in order")]
    Terms,
}

impl Keyring {
    /// A new keyring with one term.
    pub(crate) fn generate(random: &dyn Random, now: Timestamp) -> Self {
        let marker_key = random_key(random);
        let terms = vec![TermKey::new(1, now, random_key(random), 0)];
        Self { terms, marker: KeyMarker::new(&*marker_key), marker_key }
    }

    /// This keyring with one more term, which new values take from now on.
    pub(crate) fn rotated(&self, random: &dyn Random, now: Timestamp) -> Self {
        let mut next = self.copy();
        let term = next.newest().term + 1;
        next.terms.push(TermKey::new(term, now, random_key(random), 0));
        next
    }

    /// This keyring with the count of the newest term noted a step further, and far enough for
    /// `count` values.
    pub(crate) fn noted_further(&self, count: usize) -> Self {
        let mut next = self.copy();
        if let Some(newest) = next.terms.last_mut() {
            newest.noted = newest.used() + ENCRYPTIONS_PER_STEP.max(count as u64);
        }
        next
    }

    /// The same keys, and the same count.
    pub(crate) fn copy(&self) -> Self {
        let terms = self.terms.iter().map(|term| TermKey {
            term: term.term,
            installed: term.installed,
            key: term.key.clone(),
            cipher: ValueKey::new(&term.key),
            used: term.used.clone(),
            noted: term.noted,
        });
        Self {
            terms: terms.collect(),
            marker: KeyMarker::new(&*self.marker_key),
            marker_key: self.marker_key.clone(),
        }
    }

    /// Decrypts a stored keyring.
    pub(crate) fn open(root: &RootKey, envelope: Vec<u8>) -> Result<Self, KeyringError> {
        if term(&envelope) != Ok(ROOT_TERM) {
            return Err(KeyringError::NotAuthentic);
        }
        let plain =
            root.cipher().open(KEYRING_PATH, envelope).map_err(|_| KeyringError::NotAuthentic)?;
        let stored: StoredKeyring = serde_json::from_slice(&plain).map_err(KeyringError::Decode)?;
        let terms = stored.terms.iter().map(|stored| {
            let key = decode_key(&stored.key)?;
            // What was noted may all have been used.
            Ok(TermKey::new(stored.term, stored.installed, key, stored.encryptions))
        });
        let terms = terms.collect::<Result<Vec<_>, KeyringError>>()?;
        let in_order = terms.windows(2).all(|pair| pair[0].term < pair[1].term);
        if terms.first().is_none_or(|first| first.term == ROOT_TERM) || !in_order {
            return Err(KeyringError::Terms);
        }
        let marker_key = decode_key(&stored.key_set_key)?;
        Ok(Self { terms, marker: KeyMarker::new(&*marker_key), marker_key })
    }

    /// Encrypts the keyring with the root key.
    pub(crate) fn seal(&self, root: &RootKey, random: &dyn Random) -> Vec<u8> {
        let terms = self.terms.iter().map(|term| StoredTerm {
            term: term.term,
            installed: term.installed,
            key: encode_key(&term.key),
            encryptions: term.noted,
        });
        let stored =
            StoredKeyring { terms: terms.collect(), key_set_key: encode_key(&self.marker_key) };
        // Room for all of it, so that no half-grown copy is left unwiped.
        let mut plain = Zeroizing::new(Vec::with_capacity(256 + 256 * stored.terms.len()));
        serde_json::to_writer(&mut *plain, &stored).expect("text and numbers are JSON");
        root.cipher().seal(ROOT_TERM, KEYRING_PATH, &plain, random)
    }

    /// Encrypts one value with the newest term. Its place in the count is taken by
    /// [`Keyring::reserve`].
    pub(crate) fn encrypt(&self, path: &str, plain: &[u8], random: &dyn Random) -> Vec<u8> {
        let newest = self.newest();
        newest.cipher.seal(newest.term, path, plain, random)
    }

    /// Decrypts one value with the term that it names.
    pub(crate) fn decrypt(
        &self,
        path: &str,
        envelope: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
        let term = term(&envelope)?;
        let index = self.terms.binary_search_by_key(&term, |key| key.term);
        let key = &self.terms[index.map_err(|_| NotAuthentic)?];
        key.cipher.open(path, envelope)
    }

    /// Counts `count` more values, which may then be encrypted.
    ///
    /// # Errors
    /// What must happen first; nothing is counted then.
    pub(crate) fn reserve(&self, count: usize) -> Result<(), Due> {
        let newest = self.newest();
        let next = |used: u64| used + count as u64;
        let reserved = newest.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            (next(used) <= newest.noted.min(ENCRYPTIONS_PER_TERM)).then(|| next(used))
        });
        match reserved {
            Ok(_) => Ok(()),
            Err(used) if next(used) > ENCRYPTIONS_PER_TERM => Err(Due::Rotate),
            Err(_) => Err(Due::Note),
        }
    }

    /// What `key` adds to the sum over all keys.
    pub(crate) fn mark(&self, key: &str) -> KeySetSum {
        self.marker.mark(key)
    }

    /// What makes such marks.
    pub(crate) fn marker(&self) -> KeyMarker {
        self.marker.clone()
    }

    pub(crate) fn status(&self) -> KeyStatus {
        let newest = self.newest();
        KeyStatus { term: newest.term, install_time: newest.installed, encryptions: newest.used() }
    }

    fn newest(&self) -> &TermKey {
        self.terms.last().expect("a keyring is never empty")
    }
}

impl TermKey {
    fn new(term: Term, installed: Timestamp, key: Zeroizing<[u8; 32]>, used: u64) -> Self {
        let cipher = ValueKey::new(&key);
        Self { term, installed, key, cipher, used: Arc::new(AtomicU64::new(used)), noted: used }
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

fn encode_key(key: &[u8; 32]) -> SecretString {
    SecretString::new(BASE64_STANDARD.encode(key))
}

fn decode_key(text: &SecretString) -> Result<Zeroizing<[u8; 32]>, KeyringError> {
    let mut key = Zeroizing::new([0; 32]);
    // The decoder wants room for a whole last group of three bytes.
    let mut buffer = Zeroizing::new([0; 33]);
    match BASE64_STANDARD.decode_slice(text.expose(), &mut *buffer) {
        Ok(32) => key.copy_from_slice(&buffer[..32]),
        _ => return Err(KeyringError::Key),
    }
    Ok(key)
}

#[cfg(test)]
mod tests;

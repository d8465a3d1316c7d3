//! Tokens and accessors by their salted hashes: what a thief of the store cannot turn back.

use std::fmt;

use aws_lc_rs::hmac;
use holdfast_barrier::{EntryError, View};
use holdfast_types::Random;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// HMAC-SHA256 of a token, or of an accessor, under this store's salt. Written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    /// A number below `count` that spreads tokens evenly.
    pub(crate) fn stripe(self, count: usize) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]])) % count
    }

    /// Reads 64 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", &hex::encode(&self.0[..4]))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected 64 hex digits"))
    }
}

/// Makes the hashes.
pub(crate) struct Hasher(hmac::Key);

impl Hasher {
    /// The hasher whose salt lies at `salt` in `store`; the first call makes it.
    pub(crate) async fn load(store: &View, random: &dyn Random) -> Result<Self, EntryError> {
        let salt = secret_key(store, "salt", random).await?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &salt)))
    }

    /// The hash of a token.
    pub(crate) fn token(&self, token: &str) -> TokenHash {
        self.hash(b"token\0", token)
    }

    /// The hash of an accessor, which differs from that of a token of the same letters.
    pub(crate) fn accessor(&self, accessor: &str) -> TokenHash {
        self.hash(b"accessor\0", accessor)
    }

    fn hash(&self, domain: &[u8], text: &str) -> TokenHash {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(domain);
        context.update(text.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        TokenHash(bytes)
    }
}

/// The 32 random bytes stored at `name`; the first call makes them.
pub(crate) async fn secret_key(
    store: &View,
    name: &str,
    random: &dyn Random,
) -> Result<Zeroizing<Vec<u8>>, EntryError> {
    if let Some(key) = store.get(name).await? {
        return Ok(key);
    }
    let mut key = Zeroizing::new(vec![0; 32]);
    random.fill(&mut key);
    store.put(name, key.clone()).await?;
    Ok(key)
}

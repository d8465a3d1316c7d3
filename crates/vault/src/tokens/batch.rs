//! Batch tokens: they carry their entry, encrypted, and are stored nowhere.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_barrier::{EntryError, View};
use holdfast_logical::Error;
use holdfast_types::{Random, SecretString};
use zeroize::Zeroizing;

use super::entry::TokenEntry;
use super::hash::secret_key;

const PREFIX: &str = "b.";
const VERSION: u8 = 1;
const NONCE: usize = 12;

/// Seals and opens batch tokens: `b.` and, in base64url without padding, a version byte, a 96-bit
/// nonce, and the entry's JSON under AES-256-GCM with prefix and version as associated data.
pub(crate) struct BatchSealer(RandomizedNonceKey);

impl BatchSealer {
    /// The sealer whose key lies at `batch-key` in `store`; the first call makes it.
    pub(crate) async fn load(store: &View, random: &dyn Random) -> Result<Self, Error> {
        let key = secret_key(store, "batch-key", random).await?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map_err(|_| EntryError::Damaged { key: store.key("batch-key") })?;
        Ok(Self(key))
    }

    /// Whether `token` is of this kind.
    pub(crate) fn is_batch(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// The token that carries `entry`.
    pub(crate) fn seal(&self, entry: &TokenEntry) -> Result<SecretString, Error> {
        let failed = || Error::internal("seal a batch token", "encryption failed");
        let mut buffer = serde_json::to_vec(entry).map_err(|_| failed())?;
        let nonce = self.0.seal_in_place_append_tag(aad(), &mut buffer).map_err(|_| failed())?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + NONCE + buffer.len()));
        bytes.push(VERSION);
        bytes.extend_from_slice(nonce.as_ref());
        bytes.extend_from_slice(&buffer);
        Ok(SecretString::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*bytes))))
    }

    /// The entry that `token` carries. None: it is not one of ours.
    pub(crate) fn open(&self, token: &str) -> Option<TokenEntry> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (header, body) = bytes.split_at_checked(1 + NONCE)?;
        if header[0] != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(&header[1..]).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self.0.open_in_place(nonce, aad(), &mut body).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

fn aad() -> Aad<[u8; 3]> {
    let prefix = PREFIX.as_bytes();
    Aad::from([prefix[0], prefix[1], VERSION])
}

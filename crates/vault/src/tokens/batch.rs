//! Batch tokens: they carry their entry, encrypted, and are stored nowhere.
//!
//! The key is made anew with the keyring (`sys/rotate`). Each token names the key that sealed it, so
//! that older tokens go on until they end.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_barrier::{EntryError, View};
use holdfast_logical::Error;
use holdfast_types::{Random, SecretString};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::entry::TokenEntry;
use super::hash::secret_key;

const PREFIX: &str = "b.";
const VERSION: u8 = 2;
/// The version, and the key's number.
const HEADER: usize = 5;
const NONCE: usize = 12;
/// The number of the first key.
const FIRST: u32 = 1;

/// Seals and opens batch tokens: `b.` and, in base64url without padding, a version byte, the key's
/// number in four bytes, a 96-bit nonce, and the entry's JSON under AES-256-GCM with the prefix and
/// all that stands before the nonce as associated data.
pub(crate) struct BatchSealer {
    store: View,
    keys: ArcSwap<Keys>,
    /// Held while a key is made.
    change: Mutex<()>,
}

/// By their numbers; the last one seals.
type Keys = BTreeMap<u32, Arc<RandomizedNonceKey>>;

impl BatchSealer {
    /// The sealer whose keys lie at `batch-key/<number>` in `store`; the first call makes one.
    pub(crate) async fn load(store: &View, random: &dyn Random) -> Result<Self, Error> {
        let mut keys = Keys::new();
        for name in store.list("batch-key/").await? {
            let Ok(number) = name.parse() else { continue };
            keys.insert(number, read(store, number, random).await?);
        }
        if keys.is_empty() {
            keys.insert(FIRST, read(store, FIRST, random).await?);
        }
        let keys = ArcSwap::from_pointee(keys);
        Ok(Self { store: store.clone(), keys, change: Mutex::new(()) })
    }

    /// Makes a key for the tokens to come. Those that the older ones sealed stay good.
    pub(crate) async fn rotate(&self, random: &dyn Random) -> Result<(), Error> {
        let _change = self.change.lock().await;
        let mut keys = self.keys.load().as_ref().clone();
        let last = keys.last_key_value().map_or(0, |(number, _)| *number);
        let number = last.saturating_add(1);
        keys.insert(number, read(&self.store, number, random).await?);
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// Whether `token` is of this kind.
    pub(crate) fn is_batch(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// The token that carries `entry`.
    pub(crate) fn seal(&self, entry: &TokenEntry) -> Result<SecretString, Error> {
        let failed = || Error::internal("seal a batch token", "encryption failed");
        let keys = self.keys.load();
        let (number, key) = keys.last_key_value().ok_or_else(failed)?;
        let header = header(*number);
        let mut buffer = serde_json::to_vec(entry).map_err(|_| failed())?;
        let nonce =
            key.seal_in_place_append_tag(aad(&header), &mut buffer).map_err(|_| failed())?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER + NONCE + buffer.len()));
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(nonce.as_ref());
        bytes.extend_from_slice(&buffer);
        Ok(SecretString::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*bytes))))
    }

    /// The entry that `token` carries. None: it is not one of ours.
    pub(crate) fn open(&self, token: &str) -> Option<TokenEntry> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let (nonce, body) = rest.split_at_checked(NONCE)?;
        let [VERSION, number @ ..] = *header else { return None };
        let key = self.keys.load().get(&u32::from_be_bytes(number))?.clone();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = key.open_in_place(nonce, aad(header), &mut body).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

async fn read(
    store: &View,
    number: u32,
    random: &dyn Random,
) -> Result<Arc<RandomizedNonceKey>, Error> {
    let name = format!("batch-key/{number}");
    let key = secret_key(store, &name, random).await?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, &key)
        .map_err(|_| EntryError::Damaged { key: store.key(&name) })?;
    Ok(Arc::new(key))
}

fn header(number: u32) -> [u8; HEADER] {
    let [a, b, c, d] = number.to_be_bytes();
    [VERSION, a, b, c, d]
}

fn aad(header: &[u8; HEADER]) -> Aad<Vec<u8>> {
    Aad::from([PREFIX.as_bytes(), header].concat())
}

//! The interface that engines and the core store their state through.

use std::collections::BTreeSet;
use std::error::Error;

use async_trait::async_trait;
use zeroize::Zeroizing;

/// Why an entry could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The barrier is sealed: nothing can be decrypted.
    #[error("Vault is sealed")]
    Sealed,
    /// The entry's ciphertext does not authenticate: it was damaged, or moved from another key.
    #[error("entry {key:?} is damaged: its ciphertext does not authenticate")]
    Damaged {
        /// The full storage key.
        key: String,
    },
    /// The disk under the store is full.
    #[error("the disk under the store is full")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    /// The storage failed.
    #[error("storage failed")]
    Storage(#[source] Box<dyn Error + Send + Sync>),
    /// A stored value is not what its reader expects.
    #[error("entry {key:?} does not decode")]
    Decode {
        /// The key, as the reader knows it.
        key: String,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
}

/// One change of a batch.
pub enum Change {
    /// Writes the value, replacing any older one.
    Put(String, Zeroizing<Vec<u8>>),
    /// Removes the entry; one that is not there is no error.
    Delete(String),
}

/// Changes that are written together: after a crash all of them are there, or none.
#[derive(Default)]
pub struct Batch(pub Vec<Change>);

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write of raw bytes.
    pub fn put(&mut self, key: impl Into<String>, value: impl Into<Zeroizing<Vec<u8>>>) {
        self.0.push(Change::Put(key.into(), value.into()));
    }

    /// Adds a removal.
    pub fn delete(&mut self, key: impl Into<String>) {
        self.0.push(Change::Delete(key.into()));
    }

    /// Adds all changes of `other`, after those already here.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Named values behind the barrier. Keys are `/`-separated, such as `sys/policy/default`.
#[async_trait]
pub trait Entries: Send + Sync + 'static {
    /// The value at `key`, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError>;

    /// The names one level under `prefix` (which is empty or ends in `/`), sorted, a folder with
    /// its trailing `/`. Only names after `after`, and at most `limit` of them.
    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError>;

    /// Every key under `prefix` at any depth, sorted, without the prefix.
    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError>;

    /// Writes a batch. When this returns `Ok`, the batch is on disk.
    async fn commit(&self, batch: Batch) -> Result<(), EntryError>;
}

/// The names one level deep of `keys`, sorted, a folder with its trailing `/`; only names after
/// `after`, and at most `limit` of them.
pub(crate) fn names<'a>(
    keys: impl Iterator<Item = &'a str>,
    after: Option<&str>,
    limit: Option<usize>,
) -> Vec<String> {
    let names: BTreeSet<_> = keys
        .map(|key| key.find('/').map_or(key, |slash| &key[..=slash]))
        .filter(|name| after.is_none_or(|after| *name > after))
        .collect();
    names.into_iter().take(limit.unwrap_or(usize::MAX)).map(str::to_owned).collect()
}

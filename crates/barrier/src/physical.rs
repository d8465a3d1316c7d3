//! Where ciphertext is kept: SQLite, memory, and in time PostgreSQL.
//!
//! This layer knows no keys. It stores opaque values under readable names, lands a commit whole or
//! not at all, and answers for the medium: a full disk, rot, a second server on the same file.

mod inmem;
mod sqlite;

use std::error::Error;

use async_trait::async_trait;

pub use inmem::InMemory;
pub use sqlite::{OpenError, Sqlite};

use crate::{EntryError, KeySetSum};

/// Why the storage under the barrier did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum PhysicalError {
    /// No room. What is stored can still be read, and writes work again once there is room.
    #[error("the disk under the store is full")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    /// Anything else.
    #[error("storage failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl PhysicalError {
    /// Wraps any other failure.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }
}

impl From<PhysicalError> for EntryError {
    fn from(error: PhysicalError) -> Self {
        match error {
            PhysicalError::Full(source) => Self::Full(source),
            PhysicalError::Failed(source) => Self::Storage(source),
        }
    }
}

/// One change of a commit.
#[derive(Debug, Clone)]
pub struct Write {
    /// The name to change.
    pub key: String,
    /// The new ciphertext; `None` removes the entry.
    pub value: Option<Vec<u8>>,
    /// What this key adds to the sum over all keys that are there (see [`KeySetSum`]).
    pub mark: KeySetSum,
}

/// Every key that is stored, and the sum that the store kept of them, as of one moment.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    /// All keys, sorted.
    pub keys: Vec<String>,
    /// The sum of the marks of all keys written and not removed since.
    pub sum: KeySetSum,
}

/// Storage for ciphertext.
#[async_trait]
pub trait Physical: Send + Sync + 'static {
    /// The kind, as the API names it: `sqlite`, `inmem`.
    fn kind(&self) -> &'static str;

    /// The value at `key`, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, PhysicalError>;

    /// The names one level under `prefix`, sorted, a folder with its trailing `/`; only names after
    /// `after`, and at most `limit` of them.
    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, PhysicalError>;

    /// Every key under `prefix` at any depth, sorted, without the prefix.
    async fn scan(&self, prefix: &str) -> Result<Vec<String>, PhysicalError>;

    /// All keys, and the sum kept of them, read in one snapshot.
    async fn key_set(&self) -> Result<KeySet, PhysicalError>;

    /// Writes all of `writes` or none. When this returns `Ok`, they are on disk.
    ///
    /// A `mark` joins the sum when its key was not there, and leaves it when its key is removed.
    async fn commit(&self, writes: Vec<Write>) -> Result<(), PhysicalError>;

    /// Stops cleanly: waits for the writes under way and leaves nothing to recover. Later calls
    /// fail.
    async fn close(&self) -> Result<(), PhysicalError>;
}

//! Where ciphertext is kept: SQLite, memory, and in time PostgreSQL.
//!
//! This layer knows no keys. It stores opaque values under readable names, lands a commit whole or
//! not at all, and answers for the medium: a full disk, rot, a second server on the same file.

mod inmem;
mod sqlite;

use std::error::Error;
use std::sync::mpsc::SyncSender;

use async_trait::async_trait;

pub use inmem::InMemory;
pub use sqlite::{Look, OpenError, Sqlite, Standing};

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

/// Which keys a sum is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySet {
    /// All keys.
    All,
    /// Those that stay few while the store grows: of mounts, policies, settings.
    Core,
}

/// Keys, many in one piece of memory: a store can hold millions.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    text: String,
    /// Where each key ends in `text`.
    ends: Vec<usize>,
}

impl Keys {
    /// Adds one.
    pub fn push(&mut self, key: &str) {
        self.text.push_str(key);
        self.ends.push(self.text.len());
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether this is as much as is handed on at once.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= 64 << 10
    }
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

    /// Sends the keys of `which`, sorted, and gives the sum of their marks that was kept: of all
    /// keys written and not removed since. Both are read in one snapshot. None: an older format of
    /// the storage did not keep this sum.
    ///
    /// Whoever receives must do so on another thread: sending waits for it.
    async fn key_set(
        &self,
        which: KeySet,
        keys: SyncSender<Keys>,
    ) -> Result<Option<KeySetSum>, PhysicalError>;

    /// Keeps the sum over the core's keys, which is `sum`, where it was not kept. Nothing is being
    /// written.
    ///
    /// # Errors
    /// Another sum was kept.
    async fn keep_core_sum(&self, sum: KeySetSum) -> Result<(), PhysicalError>;

    /// Whether the medium is being checked beside what is asked of it. If not, it was checked.
    fn is_checked_beside(&self) -> bool {
        false
    }

    /// Waits for the end of that check.
    ///
    /// # Errors
    /// Damage that is not confined to the values of single entries.
    async fn checked(&self) -> Result<(), PhysicalError> {
        Ok(())
    }

    /// Takes note that damage was `found`: it is not to be opened again.
    fn distrust(&self, _found: &str) {}

    /// Writes all of `writes` or none. When this returns `Ok`, they are on disk.
    ///
    /// A `mark` joins the sum when its key was not there, and leaves it when its key is removed.
    async fn commit(&self, writes: Vec<Write>) -> Result<(), PhysicalError>;

    /// Stops cleanly: waits for the writes under way and leaves nothing to recover. Later calls
    /// fail.
    async fn close(&self) -> Result<(), PhysicalError>;
}

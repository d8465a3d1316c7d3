//! Ciphertext in one SQLite file.
//!
//! One thread writes, and commits whatever is waiting as one transaction, so that many callers
//! share one disk flush; another copies the log into the file beside it. Reads go to a cache, or to a few connections of their own, and never wait
//! for the writer.
//!
//! Beside the store `store.db` lie `store.db.lock`, `store.db-wal` and `store.db-shm` while it is
//! open, and `store.db.clean` after a clean stop: a digest of the whole file, checked at the next
//! start.

mod cache;
mod checkpointer;
mod files;
mod format;
mod inspect;
mod open;
mod reader;
mod stop;
mod wal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use async_trait::async_trait;

pub use open::OpenError;

use super::{Keys, Physical, PhysicalError, Write};
use crate::KeySetSum;
use cache::{Cache, Lookup};
use reader::Readers;
use writer::Writer;

/// The SQLite file that holds a store.
pub struct Sqlite {
    path: PathBuf,
    cache: Arc<Cache>,
    readers: Arc<Readers>,
    writer: Writer,
    damaged: Vec<String>,
    closed: AtomicBool,
}

impl Sqlite {
    /// Opens the store at `path`, or makes one there. Files get mode 0600, a directory made for
    /// them 0700. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Another server has it open, it is of a newer format, it is damaged in a way that no single
    /// entry accounts for, or the system does not let us. Each says what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        open::open(path, &format::FORMATS)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keys of the entries that were found damaged at start, sorted. Reading them fails; all
    /// others are sound.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// Runs a query that may take long where it holds up nobody.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Readers) -> Result<T, PhysicalError> + Send + 'static,
    ) -> Result<T, PhysicalError> {
        let readers = self.readers.clone();
        tokio::task::spawn_blocking(move || query(&readers)).await.map_err(PhysicalError::failed)?
    }
}

#[async_trait]
impl Physical for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, PhysicalError> {
        match self.cache.get(key) {
            Lookup::Known(_) if self.closed.load(Ordering::Acquire) => {
                Err(PhysicalError::failed("the store is closed"))
            }
            Lookup::Known(value) => Ok(value),
            Lookup::Unknown(epoch) => {
                // This takes some microseconds: less than handing it to another thread.
                let value = self.readers.get(key)?;
                self.cache.fill(key, value.as_deref(), epoch);
                Ok(value)
            }
        }
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, PhysicalError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.query(move |readers| readers.list_page(&prefix, after.as_deref(), limit)).await
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, PhysicalError> {
        let prefix = prefix.to_owned();
        self.query(move |readers| readers.scan(&prefix)).await
    }

    async fn key_set(&self, keys: SyncSender<Keys>) -> Result<KeySetSum, PhysicalError> {
        self.query(move |readers| readers.key_set(&keys)).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), PhysicalError> {
        self.writer.commit(writes).await
    }

    async fn close(&self) -> Result<(), PhysicalError> {
        // The last connection to close removes the write-ahead log: that is to be the writer's.
        self.closed.store(true, Ordering::Release);
        self.readers.close();
        self.writer.close().await
    }
}

/// Tells a full disk from other failures.
fn failure(error: rusqlite::Error) -> PhysicalError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => PhysicalError::Full(Box::new(error)),
        _ => PhysicalError::failed(error),
    }
}

#[cfg(test)]
mod tests;

//! Ciphertext in one SQLite file.
//!
//! One thread writes, and commits whatever is waiting as one transaction, so that many callers
//! share one disk flush; another copies the log into the file beside it. Reads go to a cache, or to a few connections of their own, and never wait
//! for the writer.
//!
//! Beside the store `store.db` lie `store.db.lock`, `store.db-wal` and `store.db-shm` while it is
//! open, and `store.db.clean` after a clean stop: a digest of the whole file, checked at the next
//! start. `store.db.suspect` is there after damage was found in a store that was already open: it is
//! not opened again.

mod cache;
mod check;
mod checkpointer;
mod files;
mod format;
mod inspect;
mod look;
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

pub use look::{Look, Standing};
pub use open::OpenError;

use super::{KeySet, Keys, Physical, PhysicalError, Write};
use crate::KeySetSum;
use cache::{Cache, Lookup};
use check::{Check, Suspicion};
use reader::Readers;
use writer::Writer;

/// The SQLite file that holds a store.
pub struct Sqlite {
    path: PathBuf,
    cache: Arc<Cache>,
    readers: Arc<Readers>,
    writer: Writer,
    check: Check,
    /// Whether it was opened before the check had ended.
    is_beside: bool,
    closed: AtomicBool,
}

impl Sqlite {
    /// Opens the store at `path`, or makes one there. Files get mode 0600, a directory made for
    /// them 0700. Blocks for as long as the disk takes.
    ///
    /// A large store is checked afterwards, see [`Physical::is_checked_beside`].
    ///
    /// # Errors
    /// Another server has it open, it is of a newer format, it is damaged in a way that no single
    /// entry accounts for, or the system does not let us. Each says what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        open::open(path, &format::FORMATS, open::SMALL)
    }

    /// As [`Sqlite::open`], with a check beside for a store of any size.
    ///
    /// # Errors
    /// As there; damage of the file is told by [`Physical::checked`] instead.
    pub fn open_and_check_beside(path: &Path) -> Result<Self, OpenError> {
        open::open(path, &format::FORMATS, 0)
    }

    /// Looks at the store at `path` without opening it: takes no lock, changes and makes nothing.
    /// Blocks for as long as reading all of it takes; one in use is only looked at.
    ///
    /// # Errors
    /// What a start would refuse it for.
    pub fn look(path: &Path) -> Result<Look, OpenError> {
        look::look(path, &format::FORMATS)
    }

    /// The value of `key` in the file of the store at `path`, as [`Sqlite::look`] reads: what is
    /// only in the log is not seen.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn peek(path: &Path, key: &str) -> Result<Option<Vec<u8>>, OpenError> {
        look::peek(path, &format::FORMATS, key)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keys of the entries that the check has found damaged, sorted. Reading them fails; all others
    /// are sound, once it has ended.
    pub fn damaged(&self) -> &[String] {
        match self.check.verdict() {
            Some(Ok(damaged)) => damaged,
            _ => &[],
        }
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

    async fn key_set(
        &self,
        which: KeySet,
        keys: SyncSender<Keys>,
    ) -> Result<Option<KeySetSum>, PhysicalError> {
        self.query(move |readers| readers.key_set(which, &keys)).await
    }

    async fn keep_core_sum(&self, sum: KeySetSum) -> Result<(), PhysicalError> {
        self.writer.keep_core_sum(sum).await
    }

    fn is_checked_beside(&self) -> bool {
        self.is_beside
    }

    async fn checked(&self) -> Result<(), PhysicalError> {
        let check = self.check.clone();
        let waiting = tokio::task::spawn_blocking(move || check.wait().as_ref().err().cloned());
        match waiting.await.map_err(PhysicalError::failed)? {
            None => Ok(()),
            Some(what) => Err(PhysicalError::failed(format!("the store is damaged: {what}"))),
        }
    }

    fn distrust(&self, found: &str) {
        self.writer.distrust();
        if let Err(error) = Suspicion::of(&self.path).write(found) {
            tracing::warn!(%error, "note that the store is damaged");
        }
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), PhysicalError> {
        self.writer.commit(writes).await
    }

    async fn close(&self) -> Result<(), PhysicalError> {
        // What is wrong is told below, by the writer.
        let _ = self.checked().await;
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

//! Reads, each in a snapshot of its own.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::{Connection, OptionalExtension as _};

use super::failure;
use super::open::{configure, connect};
use crate::KeySetSum;
use crate::growth::growing_folder;
use crate::key_set::KeySums;
use crate::physical::{KeySet, Keys, PhysicalError};

/// A few connections that only read.
pub(super) struct Readers {
    connections: Vec<Mutex<Option<Connection>>>,
    next: AtomicUsize,
}

impl Readers {
    /// Opens one connection per processor, at least two and at most eight.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let count = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let connections = (0..count).map(|_| {
            let connection = connect(path)?;
            configure(&connection)?;
            connection.pragma_update(None, "query_only", true)?;
            Ok(Mutex::new(Some(connection)))
        });
        Ok(Self {
            connections: connections.collect::<rusqlite::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Closes all connections once their reads are done; later reads fail.
    pub(super) fn close(&self) {
        for connection in &self.connections {
            connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, PhysicalError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT value FROM entry WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
    }

    pub(super) fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, PhysicalError> {
        let limit = limit.unwrap_or(usize::MAX);
        self.with(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(KEYS_FROM)?;
            let mut names = Vec::new();
            let mut from = after.map_or_else(|| prefix.to_owned(), |after| past(prefix, after));
            // Each round reads names up to a folder, and the next one starts behind all that is in
            // the folder.
            'round: while names.len() < limit {
                let mut rows = statement.query([&from])?;
                while let Some(row) = rows.next()? {
                    let key = row.get_ref(0)?.as_str()?;
                    let Some(name) = key.strip_prefix(prefix) else { break };
                    if let Some(slash) = name.find('/') {
                        names.push(name[..=slash].to_owned());
                        from = past(prefix, &name[..=slash]);
                        continue 'round;
                    }
                    names.push(name.to_owned());
                    if names.len() == limit {
                        break;
                    }
                }
                break;
            }
            Ok(names)
        })
    }

    pub(super) fn scan(&self, prefix: &str) -> Result<Vec<String>, PhysicalError> {
        self.with(|connection| keys(connection, prefix))
    }

    pub(super) fn key_set(
        &self,
        which: KeySet,
        receiver: &SyncSender<Keys>,
    ) -> Result<Option<KeySetSum>, PhysicalError> {
        self.with(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(KEYS_FROM)?;
            let mut keys = Keys::default();
            let mut from = String::new();
            // For the core, each round reads keys up to a growing folder, and the next one starts
            // behind it.
            'round: loop {
                let mut rows = statement.query([&from])?;
                while let Some(row) = rows.next()? {
                    let key = row.get_ref(0)?.as_str()?;
                    if which == KeySet::Core
                        && let Some(folder) = growing_folder(key)
                    {
                        from = past("", folder);
                        continue 'round;
                    }
                    keys.push(key);
                    if keys.is_full() && receiver.send(std::mem::take(&mut keys)).is_err() {
                        // Nobody is interested any more.
                        break;
                    }
                }
                break;
            }
            let _ = receiver.send(keys);
            Ok(key_sums(&snapshot)?.of(which))
        })
    }

    fn with<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PhysicalError> {
        let guard = self.free();
        let connection =
            guard.as_ref().ok_or_else(|| PhysicalError::failed("the store is closed"))?;
        query(connection).map_err(failure)
    }

    /// A connection that nobody uses, or else the next in turn.
    fn free(&self) -> MutexGuard<'_, Option<Connection>> {
        let count = self.connections.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for offset in 0..count {
            match self.connections[first.wrapping_add(offset) % count].try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.connections[first % count].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const KEYS_FROM: &str = "SELECT key FROM entry WHERE key >= ?1 ORDER BY key";

/// The sums that the store keeps of its keys' marks.
pub(super) fn key_sums(connection: &Connection) -> rusqlite::Result<KeySums> {
    let read = |name: &str| {
        let query = "SELECT value FROM meta WHERE name = ?1";
        connection.query_row(query, [name], |row| row.get(0)).map(KeySetSum)
    };
    Ok(KeySums { all: read("key_set_sum")?, core: read("core_key_set_sum").optional()? })
}

/// The first key that can come behind `name` and, if it is a folder, behind all that is in it.
fn past(prefix: &str, name: &str) -> String {
    match name.strip_suffix('/') {
        // '0' is the character after '/'.
        Some(folder) => format!("{prefix}{folder}0"),
        None => format!("{prefix}{name}\0"),
    }
}

fn keys(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(KEYS_FROM)?;
    let mut rows = statement.query([prefix])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        match row.get_ref(0)?.as_str()?.strip_prefix(prefix) {
            Some(rest) => keys.push(rest.to_owned()),
            None => break,
        }
    }
    Ok(keys)
}

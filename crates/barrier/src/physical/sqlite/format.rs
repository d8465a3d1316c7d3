//! The layout of the store, and its number.

use std::fs::{self, OpenOptions};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::OpenError;
use super::files::{beside, private, sync_directory};

/// Marks the file as ours, in SQLite's `application_id`: `HFST`.
const APPLICATION_ID: i32 = 0x4846_5354;

/// Format 1. A row's checksum comes before its value, so that looking at all checksums does not
/// read all values.
const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE entry (
        key TEXT PRIMARY KEY,
        checksum BLOB NOT NULL,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('key_set_sum', zeroblob(32));
";

/// A change of the layout, from one format to the next.
pub(super) type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The formats that a program knows: 1, and one more for each migration.
#[derive(Clone, Copy)]
pub(super) struct Formats {
    /// The first leads from format 1 to 2, and so on.
    pub(super) migrations: &'static [Migration],
}

/// The formats of this release. Format 2 has a sum of the core's keys, `core_key_set_sum` in `meta`.
/// It takes the key of the marks: so a migrated store gets it when it is unsealed.
pub(super) const FORMATS: Formats = Formats { migrations: &[|_| Ok(())] };

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// Nothing yet.
    Empty,
    /// A store of this format, which is one we know.
    Store {
        /// How many migrations made it.
        migrated: usize,
    },
}

impl Formats {
    /// Looks at the file without changing it.
    pub(super) fn identify(
        &self,
        path: &Path,
        connection: &Connection,
    ) -> Result<Contents, OpenError> {
        let not_a_store = || OpenError::NotAStore { path: path.to_owned() };
        let Some(found) = read_format(connection)? else {
            let query = "SELECT count(*) = 0 FROM sqlite_schema";
            let empty = connection.query_row(query, [], |row| row.get(0))?;
            return if empty { Ok(Contents::Empty) } else { Err(not_a_store()) };
        };
        let newest = self.newest();
        if found > newest {
            return Err(OpenError::Newer { path: path.to_owned(), found, newest });
        }
        let migrated = usize::try_from(found - 1).map_err(|_| not_a_store())?;
        Ok(Contents::Store { migrated })
    }

    /// Brings the store at `path` to the newest format: makes its tables if it is empty; copies it
    /// to `<path>.format-<n>` before it changes an older one.
    pub(super) fn bring_up_to_date(
        &self,
        path: &Path,
        connection: &mut Connection,
        contents: Contents,
    ) -> Result<(), OpenError> {
        let done = match contents {
            Contents::Empty => return Ok(self.create(connection)?),
            Contents::Store { migrated } => migrated,
        };
        let outstanding = &self.migrations[done..];
        if outstanding.is_empty() {
            return Ok(());
        }
        let from = done + 1;
        let copy = beside(path, &format!(".format-{from}"));
        copy_aside(connection, &copy)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in outstanding {
            migration(&transaction)?;
        }
        let newest = self.newest();
        transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'format'", [newest])?;
        transaction.commit()?;
        tracing::info!(from, to = newest, copy = %copy.display(), "store migrated");
        Ok(())
    }

    fn newest(&self) -> i64 {
        1 + self.migrations.len() as i64
    }

    fn create(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute_batch(SCHEMA)?;
        for migration in self.migrations {
            migration(&transaction)?;
        }
        let empty = "INSERT INTO meta VALUES ('core_key_set_sum', zeroblob(32))";
        transaction.execute(empty, [])?;
        let format = params!["format", self.newest()];
        transaction.execute("INSERT INTO meta VALUES (?1, ?2)", format)?;
        transaction.commit()
    }
}

/// The format number of a store of ours.
fn read_format(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != APPLICATION_ID {
        return Ok(None);
    }
    connection
        .query_row("SELECT value FROM meta WHERE name = 'format'", [], |row| row.get(0))
        .optional()
}

/// Copies the whole store to `copy`, unless an earlier try has left a complete copy there.
fn copy_aside(connection: &Connection, copy: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { what: "copy the store before its migration", source };
    if copy.try_exists().map_err(fail)? {
        return Ok(());
    }
    let partial = beside(copy, ".partial");
    // SQLite copies into an empty file that is there already, and so keeps its mode.
    let file = private(OpenOptions::new().write(true).create(true).truncate(true))
        .open(&partial)
        .map_err(fail)?;
    connection.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    file.sync_all().map_err(fail)?;
    fs::rename(&partial, copy).map_err(fail)?;
    sync_directory(copy).map_err(fail)
}

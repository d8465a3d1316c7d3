//! Looks at every row for damage, without any key.
//!
//! A row's checksum has two parts: 4 bytes of the SHA-256 of its key and 12 of that of its value.
//! So a damaged value, which costs one entry, can be told from a damaged key, which may hide one.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{Context, SHA256, digest};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

const LENGTH: usize = 16;
const KEY_PART: usize = 4;

/// What [`inspect`] found.
#[derive(Debug)]
pub(super) struct Inspection {
    /// Keys of rows whose value does not fit its checksum, sorted.
    pub(super) damaged: Vec<String>,
    /// Digest of all rows' keys and checksums.
    pub(super) rows: [u8; 32],
}

/// The checksum that a row with this key and value has.
pub(super) fn checksum(key: &str, value: &[u8]) -> [u8; LENGTH] {
    let mut checksum = [0; LENGTH];
    let (of_key, of_value) = checksum.split_at_mut(KEY_PART);
    of_key.copy_from_slice(&digest(&SHA256, key.as_bytes()).as_ref()[..KEY_PART]);
    of_value.copy_from_slice(&digest(&SHA256, value).as_ref()[..LENGTH - KEY_PART]);
    checksum
}

/// Checks the structure of the file and, on another thread, every row. `connect` opens the store.
///
/// # Errors
/// Damage that is not confined to the values of entries, in words.
pub(super) fn inspect(
    connect: impl Fn() -> rusqlite::Result<Connection> + Sync,
) -> Result<Inspection, String> {
    let connect = || connect().map_err(|error| error.to_string());
    let broken = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rows = scope.spawn(|| inspect_rows(&connect()?, &broken));
        let structure = connect().and_then(|connection| check_structure(&connection));
        // The rows of a broken tree may be endless.
        broken.store(structure.is_err(), Ordering::Relaxed);
        let rows = rows.join().map_err(|_| "its rows cannot be read".to_owned());
        structure.map_err(|error| format!("its structure is broken ({error})"))?;
        rows?
    })
}

/// Checks every row, until `broken` says that there is no point in it.
fn inspect_rows(connection: &Connection, broken: &AtomicBool) -> Result<Inspection, String> {
    let mut damaged = Vec::new();
    let rows = each_row(connection, "key, checksum, value", |key, found, value| {
        if broken.load(Ordering::Relaxed) {
            return Err("its structure is broken".to_owned());
        }
        let wanted = checksum(key, value);
        if found[..KEY_PART] != wanted[..KEY_PART] {
            return Err(format!("the key of an entry changed to {key:?}"));
        }
        if found != wanted {
            damaged.push(key.to_owned());
        }
        Ok(())
    })?;
    Ok(Inspection { damaged, rows })
}

/// The digest of all rows' keys and checksums alone.
pub(super) fn rows_digest(connection: &Connection) -> Result<[u8; 32], String> {
    each_row(connection, "key, checksum, x''", |_, _, _| Ok(()))
}

fn check_structure(connection: &Connection) -> Result<(), String> {
    let verdict: rusqlite::Result<String> =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(verdict.replace('\n', ": ")),
        Err(error) => Err(error.to_string()),
    }
}

/// Calls `visit` with the key, checksum and value of each row, in order, and gives their digest.
fn each_row(
    connection: &Connection,
    columns: &str,
    mut visit: impl FnMut(&str, &[u8], &[u8]) -> Result<(), String>,
) -> Result<[u8; 32], String> {
    let text = |error: rusqlite::Error| format!("its rows cannot be read ({error})");
    let query = format!("SELECT {columns} FROM entry ORDER BY key");
    let mut statement = connection.prepare(&query).map_err(text)?;
    let mut rows = statement.query([]).map_err(text)?;
    let mut digest = Context::new(&SHA256);
    while let Some(row) = rows.next().map_err(text)? {
        let column = |index| row.get_ref(index).map_err(text);
        let (ValueRef::Text(key), ValueRef::Blob(checksum), ValueRef::Blob(value)) =
            (column(0)?, column(1)?, column(2)?)
        else {
            return Err("a row is not of the types that its table has".to_owned());
        };
        let key = std::str::from_utf8(key).map_err(|_| "the key of an entry is not UTF-8")?;
        if checksum.len() != LENGTH {
            return Err(format!("the checksum of entry {key:?} has another length"));
        }
        visit(key, checksum, value)?;
        digest.update(&(key.len() as u64).to_be_bytes());
        digest.update(key.as_bytes());
        digest.update(checksum);
    }
    Ok(digest.finish().as_ref().try_into().expect("SHA-256 is 32 bytes"))
}

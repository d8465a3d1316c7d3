//! Looking at a store from outside, also at one that a server has open.
//!
//! The file is read as one that nobody changes: without SQLite's locks and without the log. So a
//! server that runs, or is about to start, is not held up.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::OpenError;
use super::check::{Suspicion, compare};
use super::files::{check_directory, check_links, has_content, holder, wal_of};
use super::format::{Contents, Formats};
use super::inspect::inspect;
use super::open::{
    check_log, damage, find_kept, find_record, immutable_uri, in_words, io as while_doing,
};

/// What a look at a store shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Size of its log in bytes.
    pub log_bytes: u64,
    /// Permissions of the file; 0 where there is none.
    pub mode: u32,
    /// Its format; none where it holds nothing yet.
    pub format: Option<usize>,
    /// How it stands.
    pub standing: Standing,
}

/// How a store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is no file; a start makes one.
    Absent,
    /// A server has it open: this process.
    InUse(String),
    /// All of it was checked. The keys of entries that are damaged, where all else is sound.
    Checked(Vec<String>),
    /// It was not stopped cleanly. Its log is sound, and the next start reads it and checks the rest.
    Unfinished,
}

pub(super) fn look(path: &Path, formats: &Formats) -> Result<Look, OpenError> {
    let path = &own_name(path);
    let find_holder = || holder(path).map_err(while_doing("find out who has the store open"));
    let before = find_holder()?;
    let looked = look_at(path, formats, before.clone());
    let looked = match (looked, before) {
        // A server that came meanwhile changes what is being read.
        (Err(error), None) => match find_holder()? {
            None => Err(error),
            found => look_at(path, formats, found),
        },
        (looked, _) => looked,
    };
    looked.map_err(|error| in_words(path, error))
}

pub(super) fn peek(
    path: &Path,
    formats: &Formats,
    key: &str,
) -> Result<Option<Vec<u8>>, OpenError> {
    let path = &own_name(path);
    let peek = || -> Result<_, OpenError> {
        let connection = connect(path)?;
        if formats.identify(path, &connection)? == Contents::Empty {
            return Ok(None);
        }
        let query = "SELECT value FROM entry WHERE key = ?1";
        Ok(connection.query_row(query, [key], |row| row.get(0)).optional()?)
    };
    peek().map_err(|error| in_words(path, error))
}

/// The name that a start would take, if there is a file.
fn own_name(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn look_at(path: &Path, formats: &Formats, holder: Option<String>) -> Result<Look, OpenError> {
    let read = while_doing("read the store");
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match check_directory(path) {
                Err(error @ OpenError::DirectoryOpen { .. }) => Err(error),
                // A directory that is not there yet is made at the start.
                _ => Ok(Look {
                    bytes: 0,
                    log_bytes: 0,
                    mode: 0,
                    format: None,
                    standing: Standing::Absent,
                }),
            };
        }
        file => file.map_err(&read)?,
    };
    check_directory(path)?;
    let metadata = file.metadata().map_err(&read)?;
    check_links(path, &metadata)?;
    if let Some(found) = Suspicion::of(path).read().map_err(&read)? {
        return Err(damage(path, found));
    }
    let format = match formats.identify(path, &connect(path)?)? {
        Contents::Empty => None,
        Contents::Store { migrated } => Some(migrated + 1),
    };
    let standing = match holder {
        Some(holder) => Standing::InUse(holder),
        None => stand(path, &file, format.is_some())?,
    };
    Ok(Look {
        bytes: metadata.len(),
        log_bytes: fs::metadata(wal_of(path)).map_or(0, |log| log.len()),
        mode: metadata.mode() & 0o7777,
        format,
        standing,
    })
}

/// How a store stands that nobody has open: what a start would check at once.
fn stand(path: &Path, file: &File, has_entries: bool) -> Result<Standing, OpenError> {
    let damaged = match find_record(path)? {
        Some(record) => compare(path, file, record),
        None => {
            check_log(path)?;
            let kept = find_kept(path)?.map(|record| compare(path, file, record));
            let kept = kept.transpose().map_err(|what| damage(path, what))?;
            let log = wal_of(path);
            if has_content(&log).map_err(while_doing("look at the store's log"))? {
                return Ok(Standing::Unfinished);
            }
            if !has_entries {
                return Ok(Standing::Checked(Vec::new()));
            }
            match kept {
                Some(damaged) => Ok(damaged),
                None => inspect(|| connect(path)).map(|inspection| inspection.damaged),
            }
        }
    };
    damaged.map(Standing::Checked).map_err(|what| damage(path, what))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(immutable_uri(path), flags)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Sqlite;
    use super::*;
    use crate::KeySetSum;
    use crate::physical::{Physical as _, Write};

    /// All files of a folder and what is in them.
    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    #[tokio::test]
    async fn a_look_tells_how_a_store_stands_and_leaves_it_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        assert_eq!(Sqlite::look(&path).unwrap().standing, Standing::Absent);
        assert!(contents(folder.path()).is_empty());

        let store = Sqlite::open(&path).unwrap();
        let value = Some(b"ciphertext".to_vec());
        let write = Write { key: "a".to_owned(), value, mark: KeySetSum::default() };
        store.commit(vec![write]).await.unwrap();
        let process = std::process::id().to_string();
        assert_eq!(Sqlite::look(&path).unwrap().standing, Standing::InUse(process));
        store.close().await.unwrap();
        drop(store);

        let before = contents(folder.path());
        let looked = Sqlite::look(&path).unwrap();
        assert_eq!((looked.mode, looked.format), (0o600, Some(2)));
        assert_eq!(looked.standing, Standing::Checked(Vec::new()));
        assert_eq!(Sqlite::peek(&path, "a").unwrap().as_deref(), Some(&b"ciphertext"[..]));
        assert_eq!(Sqlite::peek(&path, "b").unwrap(), None);
        assert_eq!(contents(folder.path()), before);
    }

    #[test]
    fn what_a_start_would_refuse_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fs::write(&path, "this is a text, and longer than SQLite's name for itself").unwrap();
        assert!(matches!(Sqlite::look(&path), Err(OpenError::NotAStore { .. })));
        fs::remove_file(&path).unwrap();
        drop(Sqlite::open(&path).unwrap());
        fs::write(super::super::files::beside(&path, ".suspect"), "rot").unwrap();
        assert!(matches!(Sqlite::look(&path), Err(OpenError::Damaged { .. })));
    }
}

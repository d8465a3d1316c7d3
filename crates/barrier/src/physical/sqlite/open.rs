//! What a start does with the file it finds.
//!
//! A store that was stopped cleanly must be byte for byte as its record says. If it is not, it is
//! searched row by row: when damaged values account for all of the difference, the server starts
//! and names their keys; otherwise it is refused. A store that was not stopped cleanly has its log,
//! its structure and every row checked, with the same outcome. A store that is refused is left as
//! it was found.
//!
//! All of that reads the whole file. A large one is opened first and checked beside what follows
//! (see [`super::check`]); only its log is checked at once. If damage is found in it then, it is not
//! opened again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nix::fcntl::Flock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::cache::Cache;
use super::check::{Check, Suspicion, compare};
use super::format::{Contents, Formats};
use super::inspect::inspect;
use super::reader::Readers;
use super::stop::{Found, StopRecord};
use super::wal::{WalState, check_wal};
use super::writer::{LOG_BYTES, Writer};
use super::{Sqlite, files};

/// Why a store was not opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is another server.
    #[error(
        "the store {} is in use by another server (process {holder}): stop that one first, or give \
         this one a store of its own", .path.display()
    )]
    Locked {
        /// The store.
        path: PathBuf,
        /// Its process id, as it wrote it down.
        holder: String,
    },
    /// Written by a later release.
    #[error(
        "the store {} has format {found}, and this program knows formats up to {newest}: use the \
         release that wrote it, or a later one", .path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest that is known here.
        newest: i64,
    },
    /// A file of something else.
    #[error(
        "{} is not a store: give the path of a store, or of a file that is not there yet",
        .path.display()
    )]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// Others can replace the store.
    #[error(
        "others may write to the store's directory {} (mode {mode:o}): make it yours alone with \
         chmod 700", .path.display()
    )]
    DirectoryOpen {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It has a second name.
    #[error(
        "the store {} has {links} names (hard links), and would be ruined by whoever opens it by \
         another one: remove the others; a copy is made with the server stopped", .path.display()
    )]
    Linked {
        /// The store.
        path: PathBuf,
        /// How many names.
        links: u64,
    },
    /// Rot, or somebody's hand.
    #[error(
        "the store {} is damaged: {what}. It was not opened, and nothing in it was changed: \
         restore it from a backup", .path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// No room to start in.
    #[error("the disk under the store {} is full: make room, and start again", .path.display())]
    Full {
        /// The store.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// SQLite could not work with the file.
    #[error("open the store")]
    Sqlite(#[from] rusqlite::Error),
}

/// A store of up to so many bytes is checked before it is opened: that takes no time to speak of.
pub(super) const SMALL: u64 = 16 << 20;

/// Opens the store at `path`, which may be of one of `formats`. One of more than `small` bytes is
/// checked beside what follows.
pub(super) fn open(path: &Path, formats: &Formats, small: u64) -> Result<Sqlite, OpenError> {
    files::prepare_directory(path)?;
    let path = &files::own_name(path)?;
    files::check_directory(path)?;
    let lock = files::lock(path)?;
    files::prepare_file(path)?;
    open_locked(path, formats, lock, small).map_err(|error| in_words(path, error))
}

fn open_locked(
    path: &Path,
    formats: &Formats,
    lock: Flock<File>,
    small: u64,
) -> Result<Sqlite, OpenError> {
    let read = io("read the store");
    let file = File::open(path).map_err(&read)?;
    let is_beside = file.metadata().map_err(&read)?.len() > small;
    if let Some(found) = Suspicion::of(path).read().map_err(&read)? {
        return Err(damage(path, found));
    }
    let record = match find_record(path)? {
        Some(record) => Some(record),
        None => {
            check_log(path)?;
            find_kept(path)?
        }
    };
    let compared = match record {
        None => None,
        Some(_) if is_beside => None,
        Some(record) => Some(compare(path, &file, record).map_err(|what| damage(path, what))?),
    };
    // Before the first connection: closed later, it would drop SQLite's locks.
    drop(file);
    let mut connection = connect(path)?;
    let contents = formats.identify(path, &connection)?;
    let check = match (compared, contents) {
        (Some(damaged), _) => Check::passed(damaged),
        (None, Contents::Empty) => Check::passed(Vec::new()),
        (None, Contents::Store { .. }) if is_beside => Check::begin(path, record).map_err(read)?,
        (None, Contents::Store { .. }) => {
            let inspection = inspect(|| connect(path)).map_err(|what| damage(path, what))?;
            Check::passed(inspection.damaged)
        }
    };

    // From here on the store is accepted, and may change.
    let settled = match check.verdict() {
        Some(_) => StopRecord::remove(path),
        None => StopRecord::keep(path),
    };
    settled.map_err(io("remove the record of the last stop"))?;
    configure(&connection)?;
    connection.pragma_update(None, "secure_delete", true)?;
    formats.bring_up_to_date(path, &mut connection, contents)?;
    if let Some(Ok(damaged)) = check.verdict() {
        for key in damaged {
            tracing::warn!(key, "an entry is damaged: write it anew, or restore it");
        }
    }
    let readers = Arc::new(Readers::open(path)?);
    let cache = Arc::new(Cache::new());
    let writer = Writer::start(path, connection, cache.clone(), check.clone(), lock)?;
    let (path, closed) = (path.to_owned(), AtomicBool::new(false));
    Ok(Sqlite { path, cache, readers, writer, check, is_beside, closed })
}

/// The record of the last clean stop, if there was one, and nobody wrote to the store since.
pub(super) fn find_record(path: &Path) -> Result<Option<StopRecord>, OpenError> {
    let Some(record) = legible(path, StopRecord::find)? else { return Ok(None) };
    if files::has_content(&files::wal_of(path)).map_err(io("look at the store's log"))? {
        return Err(damage(path, "another program wrote to it after its last clean stop"));
    }
    Ok(Some(record))
}

/// The record of the last clean stop where a start after it was killed before it had compared the
/// file. Only the log may hold more.
pub(super) fn find_kept(path: &Path) -> Result<Option<StopRecord>, OpenError> {
    legible(path, StopRecord::find_kept)
}

fn legible(
    path: &Path,
    find: fn(&Path) -> io::Result<Found>,
) -> Result<Option<StopRecord>, OpenError> {
    match find(path).map_err(io("read the record of the last stop"))? {
        Found::Record(record) => Ok(Some(record)),
        Found::Nothing => Ok(None),
        Found::Illegible => {
            tracing::warn!(path = %path.display(), "the record of the last stop is damaged");
            Ok(None)
        }
    }
}

/// Refuses a log from which SQLite would silently forget what was acknowledged.
pub(super) fn check_log(path: &Path) -> Result<(), OpenError> {
    match check_wal(&files::wal_of(path)).map_err(io("read the store's log"))? {
        WalState::Sound => Ok(()),
        WalState::Forgotten(commits) => Err(damage(
            path,
            format!("a part of its log does not check, and {commits} commits follow it"),
        )),
    }
}

/// A connection that leaves the log alone when it is closed: only a clean stop empties it.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    Ok(connection)
}

/// Our settings, for a store that has been accepted.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A thread of its own copies the log into the store.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // It is written over from its start, which is faster than growing. Cut off is what it seldom needs.
    connection.pragma_update(None, "journal_size_limit", 2 * LOG_BYTES as i64)?;
    connection.pragma_update(None, "trusted_schema", false)
}

pub(super) fn damage(path: &Path, what: impl Into<String>) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.into() }
}

pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { what, source }
}

/// Tells damage, which SQLite reports in many ways, from what the system does not let us do.
pub(super) fn in_words(path: &Path, error: OpenError) -> OpenError {
    use ErrorCode::*;

    let OpenError::Sqlite(error) = error else { return error };
    match error.sqlite_error_code() {
        Some(NotADatabase) => OpenError::NotAStore { path: path.to_owned() },
        Some(DiskFull) => OpenError::Full { path: path.to_owned() },
        Some(
            CannotOpen | DatabaseBusy | DatabaseLocked | OutOfMemory | PermissionDenied | ReadOnly
            | SystemIoFailure,
        ) => OpenError::Sqlite(error),
        _ => damage(path, error.to_string()),
    }
}

/// `path` as a URI that makes SQLite take the file for unchangeable.
pub(super) fn immutable_uri(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte));
            }
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri.push_str("?immutable=1");
    uri
}

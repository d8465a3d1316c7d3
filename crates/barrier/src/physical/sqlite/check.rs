//! The check of the file at start: before it is opened, or, where that would take long, beside the
//! first requests.
//!
//! Until a check beside has ended, the log is not copied into the file. So the file is what the last
//! process left, and is compared with the record of its clean stop as if nothing had happened since.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rusqlite::{Connection, OpenFlags};

use super::files::{beside, private, sync_directory};
use super::inspect::inspect;
use super::open::{connect, immutable_uri};
use super::stop::{StopRecord, hash};

/// Keys of the entries that are damaged, sorted, where all else is sound; or what is not, in words.
pub(super) type Verdict = Result<Vec<String>, String>;

/// A check that has ended, or is under way.
#[derive(Clone)]
pub(super) struct Check(Arc<State>);

struct State {
    verdict: OnceLock<Verdict>,
    /// Read by a check that runs beside. It stays open as long as any connection: closing any
    /// descriptor of the file would drop SQLite's locks on it.
    file: Option<File>,
}

impl Check {
    /// One that has ended well.
    pub(super) fn passed(damaged: Vec<String>) -> Self {
        Self(Arc::new(State { verdict: OnceLock::from(Ok(damaged)), file: None }))
    }

    /// Begins one on a thread of its own.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub(super) fn begin(path: &Path, record: Option<StopRecord>) -> io::Result<Self> {
        let file = Some(File::open(path)?);
        let check = Self(Arc::new(State { verdict: OnceLock::new(), file }));
        let (own, path) = (check.clone(), path.to_owned());
        std::thread::Builder::new().name("store-checker".to_owned()).spawn(move || {
            let checked = catch_unwind(AssertUnwindSafe(|| match (record, &own.0.file) {
                (Some(record), Some(file)) => compare(&path, file, record),
                _ => inspect(|| connect(&path)).map(|found| found.damaged),
            }));
            let mut verdict = checked.unwrap_or_else(|_| Err("it cannot be checked".to_owned()));
            // Before the log is copied into the file, which is what it was until then.
            if verdict.is_ok()
                && let Err(error) = StopRecord::remove(&path)
            {
                verdict = Err(format!("the record of the last stop stays ({error})"));
            }
            for key in verdict.iter().flatten() {
                tracing::error!(key, "this entry is damaged: what it held cannot be read");
            }
            // Nobody else sets it.
            let _ = own.0.verdict.set(verdict);
        })?;
        Ok(check)
    }

    /// What it found, if it has ended.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        self.0.verdict.get()
    }

    /// Blocks until it has ended.
    pub(super) fn wait(&self) -> &Verdict {
        self.0.verdict.wait()
    }
}

/// Compares the store with the record of its last clean stop, and gives the keys of the entries
/// whose damage accounts for all of the difference.
pub(super) fn compare(path: &Path, file: &File, record: StopRecord) -> Verdict {
    if hash(file).map_err(|error| format!("it cannot be read ({error})"))? == record.file {
        return Ok(Vec::new());
    }
    // Read without locks and log, so that a store that is refused stays as it was found.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let inspection = inspect(|| Connection::open_with_flags(immutable_uri(path), flags))?;
    if inspection.damaged.is_empty() || inspection.rows != record.rows {
        return Err("it is not as it was at its last clean stop".to_owned());
    }
    Ok(inspection.damaged)
}

/// The note that damage was found in a store while it was open. It is not opened again.
pub(super) struct Suspicion(PathBuf);

impl Suspicion {
    /// The note on the store at `path`.
    pub(super) fn of(path: &Path) -> Self {
        Self(beside(path, ".suspect"))
    }

    /// What was found, if there is a note.
    pub(super) fn read(&self) -> io::Result<Option<String>> {
        match fs::read(&self.0) {
            Ok(found) => {
                let found = String::from_utf8_lossy(&found).trim().to_owned();
                let note = self.0.display();
                Ok(Some(format!("{found} (remove {note} to have it checked anew)")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes what was found.
    pub(super) fn write(&self, found: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = private(options.write(true).create(true).truncate(true)).open(&self.0)?;
        writeln!(file, "{found}")?;
        file.sync_all()?;
        sync_directory(&self.0)
    }
}

//! Copies the log into the store while others commit.
//!
//! A pass takes as long as the disk takes to flush what was copied, which commits must not wait for.
//! So it runs on a thread and a connection of its own. SQLite begins the log anew only when nothing
//! is left to copy; what was added during a pass is left for the writing thread, and is little.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::JoinHandle;

use rusqlite::{Connection, ffi};

use super::OpenError;
use super::open::{configure, connect};

/// What a pass left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    /// Pages in the log.
    pub(super) logged: usize,
    /// Of them, those that the store has as well.
    pub(super) copied: usize,
}

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    /// The log is as long as it was, and can be copied later.
    #[error("copy the log into the store")]
    Copy(#[from] rusqlite::Error),
    /// Nobody knows what of the store is on disk.
    #[error("flush the store")]
    Flush(#[source] io::Error),
}

impl PassError {
    /// Whether what was written may be lost, though the next flush succeeds: the kernel tells of it
    /// once, and then takes what it could not write for written.
    pub(super) fn is_unflushed(&self) -> bool {
        match self {
            Self::Copy(error) => is_unflushed(error),
            Self::Flush(_) => true,
        }
    }
}

/// The same for what SQLite flushes itself.
pub(super) fn is_unflushed(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// The way to the copying thread.
pub(super) struct Checkpointer {
    start: SyncSender<()>,
    finished: Receiver<Result<Pass, PassError>>,
    thread: JoinHandle<File>,
    is_running: bool,
}

impl Checkpointer {
    /// Starts the thread, which waits for [`Checkpointer::begin`].
    pub(super) fn start(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { what: "open the store's file", source };
        // Opened once and kept: closing any descriptor of the file would drop SQLite's locks on it.
        Self::start_with(path, File::open(path).map_err(io)?)
    }

    /// The same with the file to flush.
    pub(super) fn start_with(path: &Path, file: File) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { what: "start the copying thread", source };
        let connection = connect(path)?;
        configure(&connection)?;
        let (start, begins) = mpsc::sync_channel(1);
        let (ends, finished) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-copier".to_owned())
            .spawn(move || {
                while begins.recv().is_ok() && ends.send(pass(&connection, &file)).is_ok() {}
                file
            })
            .map_err(io)?;
        Ok(Self { start, finished, thread, is_running: false })
    }

    /// Whether a pass has begun whose end was not asked for yet.
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Begins a pass, unless one runs.
    pub(super) fn begin(&mut self) {
        if !self.is_running {
            self.is_running = self.start.try_send(()).is_ok();
        }
    }

    /// What the pass did, if one has just ended.
    pub(super) fn ended(&mut self) -> Option<Result<Pass, PassError>> {
        if !self.is_running {
            return None;
        }
        match self.finished.try_recv() {
            Ok(pass) => {
                self.is_running = false;
                Some(pass)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Waits for the end of the pass that runs, if one does.
    pub(super) fn wait(&mut self) -> Option<Result<Pass, PassError>> {
        if !std::mem::take(&mut self.is_running) {
            return None;
        }
        self.finished.recv().ok()
    }

    /// Ends the thread. The descriptor must outlive all connections to the store.
    pub(super) fn stop(mut self) -> Option<File> {
        self.wait();
        drop(self.start);
        self.thread.join().ok()
    }
}

/// Copies what is in the log when it begins, and has it on disk when it returns.
fn pass(connection: &Connection, file: &File) -> Result<Pass, PassError> {
    let pass = copy(connection)?;
    // SQLite flushes only what completes a pass, and this seldom does: others went on writing.
    file.sync_data().map_err(PassError::Flush)?;
    Ok(pass)
}

/// Copies of the log what no reader is in the way of.
pub(super) fn copy(connection: &Connection) -> rusqlite::Result<Pass> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let pages = |index| row.get(index).map(|pages: i64| usize::try_from(pages).unwrap_or(0));
        Ok(Pass { logged: pages(1)?, copied: pages(2)? })
    })
}

//! Appending lines to a file: in order, whole, and handed to the kernel before the call returns.
//!
//! Callers join: each adds its line to what waits, lets others that can run do the same, and then
//! whoever comes first writes all that waits in one call. There is no fsync, as in the real server:
//! a record survives the process, not the machine.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::options::Target;

/// A file that cannot be opened is not tried again with every record.
const REOPEN_EVERY: Duration = Duration::from_millis(100);

pub(super) struct LogFile {
    target: Target,
    waiting: Mutex<Waiting>,
    output: Mutex<Output>,
}

/// Lines that nobody has written yet.
#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    batch: Arc<Batch>,
}

/// Lines that are written together, and how that went.
#[derive(Default)]
struct Batch(OnceLock<Result<(), Failure>>);

/// A line that was added to a file, and may wait to be written.
pub(super) struct Queued(Arc<Batch>);

/// An I/O error that several threads can be told of.
#[derive(Clone)]
struct Failure {
    kind: io::ErrorKind,
    text: String,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { kind: error.kind(), text: error.to_string() }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.text)
    }
}

#[derive(Default)]
struct Output {
    file: Option<File>,
    /// When opening last failed, and how.
    failed: Option<(Instant, Failure)>,
    /// The last write broke off within a line.
    torn: bool,
    /// Memory for the next batch.
    spare: Vec<u8>,
}

impl LogFile {
    pub(super) fn new(target: Target) -> Self {
        Self { target, waiting: Mutex::default(), output: Mutex::default() }
    }

    /// Where the file is; none for standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::File { path, .. } => Some(path),
            Target::Stdout => None,
        }
    }

    /// Opens the file. On failure an open one stays in use.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let opened = open(&self.target)?;
        let mut output = lock(&self.output);
        output.file = Some(opened);
        output.torn = false;
        output.failed = None;
        Ok(())
    }

    /// Adds `line`, which ends in a newline, to what is written next.
    pub(super) fn queue(&self, line: &[u8]) -> Queued {
        let mut waiting = lock(&self.waiting);
        waiting.lines.extend_from_slice(line);
        Queued(Arc::clone(&waiting.batch))
    }

    /// Returns once the line is written, with all that wait.
    pub(super) fn write(&self, Queued(batch): &Queued) -> io::Result<()> {
        if let Some(result) = batch.0.get() {
            return result.clone().map_err(io::Error::from);
        }
        let mut output = lock(&self.output);
        let result = batch.0.get_or_init(|| {
            // Nobody has written this batch, so it is still the one that waits.
            let spare = std::mem::take(&mut output.spare);
            let lines = {
                let mut waiting = lock(&self.waiting);
                waiting.batch = Arc::default();
                std::mem::replace(&mut waiting.lines, spare)
            };
            let result = output.write(&self.target, &lines).map_err(Failure::from);
            output.spare = lines;
            output.spare.clear();
            result
        });
        result.clone().map_err(io::Error::from)
    }
}

impl Output {
    fn write(&mut self, target: &Target, lines: &[u8]) -> io::Result<()> {
        let torn = self.torn;
        let file = self.file(target)?;
        // A torn line ends here, so that the next record stands on a line of its own.
        if torn {
            file.write_all(b"\n")?;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.torn = rest.len() < lines.len() || torn;
                    return Err(error);
                }
            }
        }
        self.torn = false;
        Ok(())
    }

    fn file(&mut self, target: &Target) -> io::Result<&mut File> {
        if self.file.is_none() {
            if let Some((when, failure)) = &self.failed
                && when.elapsed() < REOPEN_EVERY
            {
                return Err(failure.clone().into());
            }
            match open(target) {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    let failure = Failure::from(error);
                    self.failed = Some((Instant::now(), failure.clone()));
                    return Err(failure.into());
                }
            }
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn open(target: &Target) -> io::Result<File> {
    match target {
        Target::Stdout => {
            use std::os::fd::AsFd;
            // A handle of its own, past the line buffer of `std::io::stdout`.
            Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
        }
        Target::File { path, mode } => {
            if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
                std::fs::create_dir_all(folder)?;
            }
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(mode.unwrap_or(0o600));
            let file = options.open(path)?;
            let metadata = file.metadata()?;
            if let Some(mode) = mode
                && metadata.is_file()
                && metadata.permissions().mode() & 0o777 != *mode
            {
                file.set_permissions(Permissions::from_mode(*mode))?;
            }
            Ok(file)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

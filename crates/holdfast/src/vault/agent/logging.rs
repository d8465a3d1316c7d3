//! Log lines of the agent: their level changes while it runs, and its file can be moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_agent::config::LogConfig;
use tracing::error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::Failure;

/// The log of this process.
pub(super) struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    file: Option<LogFile>,
}

/// A file that lines are added to.
#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Logging {
    /// Starts to log.
    pub(super) fn start(config: &LogConfig) -> Result<Self, Failure> {
        let (filter, handle) = reload::Layer::new(log_filter(config.level));
        let file = config.file.as_deref().map(LogFile::open).transpose()?;
        let registry = tracing_subscriber::registry().with(filter);
        let lines = fmt::layer().with_ansi(false);
        match (&file, config.json) {
            (Some(file), json) => {
                let file = file.clone();
                let lines = lines.with_writer(move || file.clone());
                match json {
                    true => registry.with(lines.json()).init(),
                    false => registry.with(lines).init(),
                }
            }
            (None, true) => registry.with(lines.with_writer(io::stderr).json()).init(),
            (None, false) => registry.with(lines.with_writer(io::stderr)).init(),
        }
        Ok(Self { filter: handle, file })
    }

    /// Takes another level, and opens the file again: somebody may have moved it away.
    pub(super) fn reload(&self, config: &LogConfig) {
        if let Err(error) = self.filter.reload(log_filter(config.level)) {
            error!(%error, "change the log level");
        }
        if let Some(file) = &self.file {
            match LogFile::append(&file.path) {
                Ok(opened) => *file.file.lock().unwrap_or_else(PoisonError::into_inner) = opened,
                Err(error) => error!(%error, "open the log file again"),
            }
        }
    }
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = Self::append(path).map_err(|error| {
            Failure::Usage(format!("open the log file {}: {error}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    fn append(path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// The agent's own parts at `level`. Libraries below it warn and no more, whatever the level: what
/// they have to say of requests is not theirs to write down.
fn log_filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("warn,holdfast={level},holdfast_agent={level},holdfast_client={level}"))
}

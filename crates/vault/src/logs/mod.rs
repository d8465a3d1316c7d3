//! The server's own log: how much each of its parts says, and who reads along.
//!
//! Lines go to stderr and, where one is set, to a file, at the levels set, and besides to whoever reads `sys/monitor`, at the level
//! that the reader asked for. Nobody waits for a reader: one that does not keep up is cut off.
//! Libraries warn and no more, whatever the level: what they have to say of a request, such as the
//! statements that a database is sent, is not theirs to write down.

mod file;
mod line;
mod paths;
mod reader;
mod subsystem;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_types::Clock;
use tokio::sync::broadcast;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Registry, reload};

pub use file::LogFileSettings;
pub(crate) use paths::loggers;
pub(crate) use reader::monitor;

use file::LogFile;
use line::{Line, Lines};
use subsystem::{OWN, SUBSYSTEMS};

/// How far the slowest reader may be behind, in lines.
const BACKLOG: usize = 1024;
/// Readers at the same time; more are refused.
const READERS: usize = 16;

/// What sets a filter anew.
type Set = Box<dyn Fn(Targets) + Send + Sync>;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Standard,
    /// A JSON document a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file cannot be written to.
    #[error("open the log file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process has a log already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// The log of a process.
pub struct Logs {
    /// The level of the configuration, which everything returns to.
    configured: Level,
    state: Mutex<State>,
    lines: broadcast::Sender<Arc<Line>>,
    written: Set,
    heard: Set,
}

/// What is said at the moment.
struct State {
    /// The level of what belongs to no subsystem.
    others: Level,
    levels: BTreeMap<&'static str, Level>,
    /// The levels that readers asked for, by the number of the reader.
    readers: BTreeMap<usize, Level>,
}

/// A reader's place, given back when it is dropped.
struct Place {
    logs: Arc<Logs>,
    number: usize,
}

impl Logs {
    /// Makes this the log of the process: lines go to stderr, and to `file`.
    ///
    /// # Errors
    /// The process has one already, or the file cannot be written to.
    pub fn install(
        level: Level,
        format: LogFormat,
        file: Option<LogFileSettings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, InstallError> {
        let lines = broadcast::Sender::new(BACKLOG);
        let (written, to_write) = reload::Layer::new(filter(level, &BTreeMap::new()));
        let file = file.map(|settings| {
            let path = settings.path.clone();
            LogFile::open(settings, Arc::clone(&clock))
                .map_err(|source| InstallError::File { path, source })
        });
        let writer = match file.transpose()? {
            None => BoxMakeWriter::new(io::stderr),
            Some(file) => BoxMakeWriter::new(io::stderr.and(move || file.clone())),
        };
        let lines_out = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
        let written = match format {
            LogFormat::Json => lines_out.json().with_filter(written).boxed(),
            LogFormat::Standard => lines_out.with_filter(written).boxed(),
        };
        let (heard, to_hear) = reload::Layer::new(silence());
        let readers = Lines::new(lines.clone(), clock).with_filter(heard);
        Registry::default().with(written).with(readers).try_init()?;
        let set = |result: Result<(), reload::Error>| {
            if let Err(error) = result {
                tracing::warn!(%error, "the levels of the log stay as they are");
            }
        };
        Ok(Arc::new(Self {
            configured: level,
            state: State::new(level),
            lines,
            written: Box::new(move |filter| set(to_write.reload(filter))),
            heard: Box::new(move |filter| set(to_hear.reload(filter))),
        }))
    }

    /// One that nothing writes to, for servers inside another process.
    pub fn detached() -> Arc<Self> {
        Arc::new(Self {
            configured: Level::INFO,
            state: State::new(Level::INFO),
            lines: broadcast::Sender::new(BACKLOG),
            written: Box::new(|_| {}),
            heard: Box::new(|_| {}),
        })
    }

    /// The level of each subsystem.
    fn levels(&self) -> BTreeMap<&'static str, Level> {
        self.lock().levels.clone()
    }

    /// Sets the level of one subsystem, or of all; `None` is the configuration's. False: there is
    /// no such subsystem.
    fn set(&self, name: Option<&str>, level: Option<Level>) -> bool {
        let level = level.unwrap_or(self.configured);
        let mut state = self.lock();
        match name {
            None => {
                state.others = level;
                state.levels.values_mut().for_each(|old| *old = level);
            }
            Some(name) => match state.levels.get_mut(name) {
                Some(old) => *old = level,
                None => return false,
            },
        }
        (self.written)(filter(state.others, &state.levels));
        true
    }

    /// Lines of `level` and above from now on. None where there are as many readers as there may
    /// be.
    fn listen(self: &Arc<Self>, level: Level) -> Option<(Place, broadcast::Receiver<Arc<Line>>)> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut state = self.lock();
        if state.readers.len() >= READERS {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        state.readers.insert(number, level);
        (self.heard)(state.heard());
        let lines = self.lines.subscribe();
        Some((Place { logs: Arc::clone(self), number }, lines))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(level: Level) -> Mutex<Self> {
        let levels = SUBSYSTEMS.iter().map(|(name, _)| (*name, level)).collect();
        Mutex::new(Self { others: level, levels, readers: BTreeMap::new() })
    }

    /// What is said aloud for the most curious of the readers.
    fn heard(&self) -> Targets {
        match self.readers.values().max() {
            Some(level) => filter(*level, &BTreeMap::new()),
            None => silence(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.logs.lock();
        state.readers.remove(&self.number);
        (self.logs.heard)(state.heard());
    }
}

/// The server's own parts at `level`, but for those with a level of their own.
fn filter(level: Level, levels: &BTreeMap<&'static str, Level>) -> Targets {
    let own = OWN.iter().map(|part| (*part, level));
    let others = SUBSYSTEMS
        .iter()
        .filter_map(|(name, targets)| Some((*targets, *levels.get(name)?)))
        .flat_map(|(targets, level)| targets.iter().map(move |target| (*target, level)));
    Targets::new().with_default(Level::WARN).with_targets(own).with_targets(others)
}

fn silence() -> Targets {
    Targets::new().with_default(LevelFilter::OFF)
}

#[cfg(test)]
mod tests;

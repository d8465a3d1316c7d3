//! Who asked the server for what: a line of JSON for each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_types::{Clock, rfc3339};
use serde_json::{Value, json};

struct Log {
    file: File,
    /// The last write broke off, perhaps within a line.
    is_torn: bool,
}

/// The audit log. Where it cannot be written, what was asked is not done.
pub struct Audit {
    clock: Arc<dyn Clock>,
    file: Option<Mutex<Log>>,
}

impl Audit {
    /// A log that is added to, or none: then the lines go to the process's own log alone.
    ///
    /// # Errors
    /// The file cannot be opened or made.
    pub fn open(path: Option<&Path>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let open = |path| OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file = path.map(open).transpose()?;
        let file = file.map(|file| Mutex::new(Log { file, is_torn: false }));
        Ok(Self { clock, file })
    }

    /// Writes that `caller` asked for `action`, and what came of it: null, or why it was refused.
    ///
    /// # Errors
    /// The line could not be written.
    pub fn write(
        &self,
        caller: &str,
        action: &str,
        details: &Value,
        error: Option<&str>,
    ) -> io::Result<()> {
        let time = rfc3339(self.clock.now());
        let line = json!({
            "time": time, "caller": caller, "action": action, "details": details, "error": error,
        });
        tracing::info!(target: "audit", caller, action, %details, error, "asked");
        let Some(file) = &self.file else { return Ok(()) };
        let mut log = file.lock().unwrap_or_else(PoisonError::into_inner);
        // What a full disk broke off ends here, so that this line stands on its own.
        let start = if log.is_torn { "\n" } else { "" };
        // One call, so that lines of several servers on one file do not mix.
        let written = log.file.write_all(format!("{start}{line}\n").as_bytes());
        log.is_torn = written.is_err();
        written
    }
}

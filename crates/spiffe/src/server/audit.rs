//! Who asked the server for what: a line of JSON for each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_types::{Clock, rfc3339};
use serde_json::{Value, json};

struct Log {
    file: File,
    /// The last write broke off, perhaps within a line; it may have been that of a server before this one.
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
        let open = |path| {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            io::Result::Ok(Mutex::new(Log { file, is_torn: ends_within_a_line(path) }))
        };
        let file = path.map(open).transpose()?;
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

/// Whether a file ends within a line. What cannot be read has none.
fn ends_within_a_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        // Reading from anything else would wait, or take what is another's.
        let length = std::fs::metadata(path).map(|it| if it.is_file() { it.len() } else { 0 })?;
        let at = length.checked_sub(1).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut byte = [0];
        File::open(path)?.read_exact_at(&mut byte, at)?;
        Ok(byte[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemClock;

    use super::*;

    #[test]
    fn a_line_that_was_cut_off_takes_no_line_of_the_next_start_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let write = |action| {
            let audit = Audit::open(Some(&path), Arc::new(SystemClock)).unwrap();
            audit.write("me", action, &Value::Null, None).unwrap();
        };
        write("one");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 5).unwrap();
        write("two");
        write("three");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Result<Value>> =
            text.lines().map(serde_json::from_str).collect();
        let read: Vec<_> = lines.iter().map(|line| Some(&line.as_ref().ok()?["action"])).collect();
        assert_eq!(read, [None, Some(&json!("two")), Some(&json!("three"))]);
    }
}

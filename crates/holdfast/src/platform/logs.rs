//! What the parts print: every line with its time, in files that do not grow without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_types::{Clock, SystemClock, Timestamp};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

/// A part's log and the one before it take at most twice this much, in bytes.
const ROTATE_AT: u64 = 4 << 20;
/// Longer lines are cut, in bytes.
const LONGEST_LINE: u64 = 16 << 10;

/// A part's log file.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogWriter {
    /// Opens the log at `path`, to write on at its end.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Open { path: path.to_owned(), file, bytes }))))
    }

    /// Adds a line.
    pub(crate) fn line(&self, text: &str) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the part that wanted to say something.
        let _ = open.line(SystemClock.now(), text);
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).path.clone()
    }

    /// Copies what comes out of `pipe` until its other end is closed.
    pub(crate) async fn copy(self, pipe: io::PipeReader) {
        let Ok(pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe.into()) else { return };
        let mut reader = tokio::io::BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.line(String::from_utf8_lossy(&line).trim_end()),
            }
        }
    }
}

impl Open {
    fn line(&mut self, time: Timestamp, text: &str) -> io::Result<()> {
        if self.bytes >= ROTATE_AT {
            fs::rename(&self.path, previous(&self.path))?;
            self.file = open(&self.path)?;
            self.bytes = 0;
        }
        let line = format!("{} {text}\n", format_time(time));
        self.bytes += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }
}

/// The last `count` lines of the log at `path`, without their times.
pub(crate) fn tail(path: &Path, count: usize) -> Vec<String> {
    let Ok(text) = fs::read(path) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(count).collect();
    let strip = |line: &str| line.split_once(' ').map_or(line, |(_, text)| text).to_owned();
    lines.into_iter().rev().map(strip).collect()
}

/// Reads the lines of several logs in the order of their times, and then, as `follow` is called,
/// what was added.
pub(crate) struct LogReader {
    logs: Vec<Followed>,
    since: Option<Timestamp>,
}

struct Followed {
    part: String,
    path: PathBuf,
    inode: u64,
    offset: u64,
}

impl LogReader {
    /// Of the named parts; nothing older than `since`.
    pub(crate) fn new(logs: Vec<(String, PathBuf)>, since: Option<Timestamp>) -> Self {
        let logs =
            logs.into_iter().map(|(part, path)| Followed { part, path, inode: 0, offset: 0 });
        Self { logs: logs.collect(), since }
    }

    /// All lines so far, as `(time, part, text)`.
    pub(crate) fn read(&mut self) -> io::Result<Vec<(String, String, String)>> {
        let mut lines = Vec::new();
        for log in &self.logs {
            log.lines_of(&previous(&log.path), 0, &mut lines)?;
        }
        lines.extend(self.follow()?);
        lines.sort_by(|left, right| left.0.cmp(&right.0));
        let since = self.since.map(format_time);
        lines.retain(|(time, ..)| since.as_ref().is_none_or(|since| time >= since));
        Ok(lines)
    }

    /// The lines since the last call.
    pub(crate) fn follow(&mut self) -> io::Result<Vec<(String, String, String)>> {
        let mut lines = Vec::new();
        for log in &mut self.logs {
            let Ok(metadata) = fs::metadata(&log.path) else { continue };
            if metadata.ino() != log.inode {
                // What was added to the old file between the last look and the change.
                if log.inode != 0 {
                    log.lines_of(&previous(&log.path), log.offset, &mut lines)?;
                }
                (log.inode, log.offset) = (metadata.ino(), 0);
            }
            log.offset = log.lines_of(&log.path, log.offset, &mut lines)?;
        }
        lines.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(lines)
    }
}

impl Followed {
    /// Adds the whole lines from `offset` on, and gives where they end.
    fn lines_of(
        &self,
        path: &Path,
        mut offset: u64,
        lines: &mut Vec<(String, String, String)>,
    ) -> io::Result<u64> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(offset),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::new(file.take(4 * ROTATE_AT));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            offset += line.len() as u64;
            let text = String::from_utf8_lossy(&line);
            let (time, text) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
            lines.push((time.to_owned(), self.part.clone(), text.to_owned()));
            line.clear();
        }
        Ok(offset)
    }
}

/// Milliseconds always, so that times sort as text.
fn format_time(time: Timestamp) -> String {
    format!("{time:.3}")
}

fn previous(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_read_in_order_across_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.log");
        let writer = LogWriter::open(&path).unwrap();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut open = writer.0.lock().unwrap();
        open.line(at(1), "one").unwrap();
        open.line(at(2), "two").unwrap();
        open.bytes = ROTATE_AT;
        open.line(at(3), "three").unwrap();
        let logs = vec![("vault".to_owned(), path.clone())];
        let mut reader = LogReader::new(logs, Some(at(2)));
        let texts = |lines: Vec<(String, String, String)>| -> Vec<String> {
            lines.into_iter().map(|(_, _, text)| text).collect()
        };
        assert_eq!(texts(reader.read().unwrap()), ["two", "three"]);
        open.line(at(4), "four").unwrap();
        open.bytes = ROTATE_AT;
        open.line(at(5), "five").unwrap();
        assert_eq!(texts(reader.follow().unwrap()), ["four", "five"]);
        assert_eq!(tail(&path, 5), ["five"]);
    }

    #[tokio::test]
    async fn what_a_pipe_brings_is_cut_into_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("part.log");
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"first\nsecond").unwrap();
        drop(writer);
        LogWriter::open(&path).unwrap().copy(reader).await;
        assert_eq!(tail(&path, 5), ["first", "second"]);
    }
}

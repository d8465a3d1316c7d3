//! The log's file, which begins anew when it has grown or aged enough.
//!
//! The file in use keeps its name; a full one is renamed after the time at which it ended, in
//! nanoseconds since 1970: `vault.log` becomes `vault-1795305600000000000.log`. A file that cannot be
//! put away goes on being written to: a longer file is better than a lost line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_types::{Clock, Timestamp};

/// The name of the file where the path is a folder; OpenBao's.
const NAME: &str = "bao.log";

/// Where the log is written besides, and when a new file begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFileSettings {
    /// The file, or with a slash at the end its folder.
    pub path: PathBuf,
    /// How many bytes a file holds before the next line begins another; 0 for any number.
    pub rotate_bytes: u64,
    /// How long a file is written to.
    pub rotate_after: Duration,
    /// How many older files stay: 0 for all of them, and none where it is negative.
    pub max_files: i64,
}

impl LogFileSettings {
    /// How long a file is written to where nothing is said, as in OpenBao.
    pub const ROTATE_AFTER: Duration = Duration::from_secs(24 * 3600);

    /// A file that only its age ends, and that stays.
    pub fn new(path: PathBuf) -> Self {
        Self { path, rotate_bytes: 0, rotate_after: Self::ROTATE_AFTER, max_files: 0 }
    }
}

/// The file, shared by all that write to it.
#[derive(Clone)]
pub(super) struct LogFile(Arc<Mutex<Open>>);

struct Open {
    settings: LogFileSettings,
    clock: Arc<dyn Clock>,
    file: File,
    began: Timestamp,
    written: u64,
}

impl LogFile {
    /// Goes on with the file, or begins it; readable by its owner and group.
    ///
    /// # Errors
    /// It cannot be written to.
    pub(super) fn open(mut settings: LogFileSettings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        if settings.path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            settings.path.push(NAME);
        }
        let file = append(&settings.path)?;
        let open = Open { settings, file, began: clock.now(), written: 0, clock };
        open.prune()?;
        Ok(Self(Arc::new(Mutex::new(open))))
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_full() {
            // Nobody could be told but by the log itself; it is tried again with the next line.
            let _ = open.rotate();
        }
        let written = open.file.write(line)?;
        open.written = open.written.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

impl Open {
    fn is_full(&self) -> bool {
        let settings = &self.settings;
        let age = self.clock.now().as_second().saturating_sub(self.began.as_second());
        (settings.rotate_bytes > 0 && self.written >= settings.rotate_bytes)
            || u64::try_from(age).is_ok_and(|age| age >= settings.rotate_after.as_secs())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let (prefix, suffix) = around(&self.settings.path);
        let name = format!("{prefix}{}{suffix}", now.as_nanosecond());
        match std::fs::rename(&self.settings.path, self.settings.path.with_file_name(name)) {
            // Somebody has put it away already, or the last try came no further than this.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        self.file = append(&self.settings.path)?;
        (self.began, self.written) = (now, 0);
        self.prune()
    }

    /// Removes the oldest of the files that were put away.
    fn prune(&self) -> io::Result<()> {
        if self.settings.max_files == 0 {
            return Ok(());
        }
        let (prefix, suffix) = around(&self.settings.path);
        let folder = match self.settings.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut older = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let ended = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            let ended = ended.and_then(|rest| rest.strip_suffix(&suffix));
            if let Some(ended) = ended.and_then(|digits| digits.parse::<i128>().ok()) {
                older.push((ended, entry.path()));
            }
        }
        older.sort();
        let kept = usize::try_from(self.settings.max_files).unwrap_or(0);
        let surplus = older.len().saturating_sub(kept);
        older[..surplus].iter().try_for_each(|(_, path)| std::fs::remove_file(path))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// What stands before and after the time in the name of a file that was put away.
fn around(path: &Path) -> (String, String) {
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let suffix = path.extension().map_or("log".into(), |suffix| text(Some(suffix)));
    (format!("{}-", text(path.file_stem())), format!(".{suffix}"))
}

#[cfg(test)]
mod tests {
    use holdfast_testkit::FakeClock;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_full_or_old_is_put_away() {
        for (max_files, want) in [
            (0, &["v-1000000000.log", "v-1000000001.log", "v-1000000060.log", "v.log"][..]),
            (2, &["v-1000000001.log", "v-1000000060.log", "v.log"]),
            (-1, &["v.log"]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("v-other.log"), "not one of them").unwrap();
            let clock = Arc::new(FakeClock::at(1_000_000_000));
            let settings = LogFileSettings {
                path: folder.path().join("v.log"),
                rotate_bytes: 10,
                rotate_after: Duration::from_secs(59),
                max_files,
            };
            let mut file = LogFile::open(settings, clock.clone()).unwrap();
            let mut say = |text: &str| file.write_all(text.as_bytes()).unwrap();
            say("0123456789\n");
            say("0123456789\n");
            clock.advance(Duration::from_secs(1));
            say("short\n");
            clock.advance(Duration::from_secs(59));
            say("last\n");
            let names: Vec<_> =
                names(folder.path()).into_iter().filter(|name| name != "v-other.log").collect();
            let names: Vec<_> =
                names.iter().map(|name| name.replace("000000000.log", ".log")).collect();
            assert_eq!(names, want, "{max_files}");
            let now = std::fs::read_to_string(folder.path().join("v.log")).unwrap();
            assert_eq!(now, "last\n");
            assert!(folder.path().join("v-other.log").exists());
        }
    }

    #[test]
    fn a_file_that_somebody_put_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.log");
        let settings = LogFileSettings {
            path: path.clone(),
            rotate_bytes: 1,
            rotate_after: LogFileSettings::ROTATE_AFTER,
            max_files: 0,
        };
        let mut file = LogFile::open(settings, Arc::new(FakeClock::at(0))).unwrap();
        file.write_all(b"first\n").unwrap();
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        file.write_all(b"second\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
    }

    #[test]
    fn a_folder_is_given_a_name_and_an_old_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bao.log"), "before\n").unwrap();
        let settings = LogFileSettings {
            path: format!("{}/", folder.path().display()).into(),
            rotate_bytes: 0,
            rotate_after: LogFileSettings::ROTATE_AFTER,
            max_files: 0,
        };
        let mut file = LogFile::open(settings, Arc::new(FakeClock::at(0))).unwrap();
        file.write_all(b"after\n").unwrap();
        let text = std::fs::read_to_string(folder.path().join("bao.log")).unwrap();
        assert_eq!(text, "before\nafter\n");
        assert_eq!(around(Path::new("/x/plain")), ("plain-".to_owned(), ".log".to_owned()));
    }
}

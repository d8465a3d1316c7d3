//! The state directory: what a platform remembers between two runs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use super::account::path_number;
use super::config::{Engine, Platform};
use super::files;

/// The layout of the state directory that this version writes. A newer one is refused by name.
const FORMAT: u32 = 1;

/// A state directory that exists and belongs to the caller.
#[derive(Debug, Clone)]
pub(crate) struct State {
    directory: PathBuf,
}

/// What is known about the platform from earlier runs; `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    /// The platform's name.
    pub(crate) name: String,
    /// The platform directory that was started last.
    pub(crate) platform: PathBuf,
    /// Which engine the secrets server's store belongs to.
    pub(crate) engine: String,
    /// Whether the secrets server's first start was seen to the end. Until then its store is empty
    /// of anything but its own beginnings, and is made anew.
    pub(crate) vault_initialised: bool,
    /// Whether the secrets server knows the supervisor by its SVID.
    #[serde(default)]
    pub(crate) svid_login: bool,
    /// Whether the database engine alone knows PostgreSQL's password for it.
    pub(crate) database_connected: bool,
    /// Where the seal key is kept.
    pub(crate) seal: PathBuf,
    pub(crate) ports: Ports,
    /// Where secret files are; on a tmpfs, so gone after a restart of the machine.
    pub(crate) secrets: Option<PathBuf>,
}

/// Ports that were picked once and are kept, so that addresses stay the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) vault: u16,
    /// OpenBao's own, for servers of a cluster to reach each other.
    pub(crate) vault_cluster: u16,
    pub(crate) postgres: u16,
    /// Where the SPIFFE server publishes keys.
    #[serde(default)]
    pub(crate) spiffe: u16,
}

/// Held by the one supervisor of a state directory; the kernel lets go of it when that dies. It is let
/// go of by name, not by a close: a process that is being started has the file open until it executes.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl State {
    /// The state directory of a platform called `name`.
    pub(crate) fn default_path(name: &str) -> anyhow::Result<PathBuf> {
        if Uid::effective().is_root() {
            return Ok(Path::new("/var/lib/holdfast").join(name));
        }
        let base = match std::env::var_os("XDG_STATE_HOME").map(PathBuf::from) {
            Some(base) if base.is_absolute() => base,
            _ => files::home()?.join(".local/state"),
        };
        Ok(base.join("holdfast").join(name))
    }

    /// Opens the directory, or makes it.
    ///
    /// # Errors
    /// It belongs to somebody else, or cannot be made.
    pub(crate) fn create(directory: &Path) -> anyhow::Result<Self> {
        let directory = std::path::absolute(directory)?;
        if fs::symlink_metadata(&directory).is_ok() {
            let state = Self { directory: directory.clone() };
            let strange = || fs::read_dir(&directory).map(|mut entries| entries.next().is_some());
            ensure!(
                state.lock_path().exists() || !strange().unwrap_or(true),
                "{} holds something else already; choose another with --state",
                directory.display()
            );
        }
        // Parts with a uid of their own must be able to pass through, not to look.
        let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
        files::directory(&directory, mode, None)?;
        Ok(Self { directory })
    }

    /// Opens the directory, when there is one.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Option<Self>> {
        let directory = std::path::absolute(directory)?;
        let state = Self { directory };
        match fs::symlink_metadata(state.lock_path()) {
            Ok(_) => Ok(Some(state)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                bail!("{} belongs to somebody else", state.directory.display())
            }
            Err(_) => Ok(None),
        }
    }

    /// Becomes the directory's only supervisor, or says that there is one.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<Lock>> {
        let path = self.lock_path();
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).with_context(|| format!("open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) if self.is_lock(&held)? => Ok(Some(Lock(held))),
            // Purged between the two steps: who comes next makes another file, and holds that.
            Ok(_) => bail!("{} is being removed; try again", self.directory.display()),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// Whether the file is still the one that others would lock.
    fn is_lock(&self, file: &File) -> anyhow::Result<bool> {
        let held = file.metadata()?;
        let there = fs::metadata(self.lock_path());
        Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())))
    }

    /// Passes when parts with users of their own, which only root gives them, can get here.
    pub(crate) fn check_passable(&self) -> anyhow::Result<()> {
        for above in self.directory.ancestors().skip(1).filter(|_| Uid::effective().is_root()) {
            let mode = fs::metadata(above)?.permissions().mode() & 0o777;
            ensure!(
                mode & 0o001 != 0,
                "{} is closed to the users of the parts (mode {mode:04o}); choose another state directory with --state, or run: chmod o+x {}",
                above.display(),
                above.display()
            );
        }
        Ok(())
    }

    /// What earlier runs left, or nothing before the first.
    ///
    /// # Errors
    /// It is unreadable, or was written by a newer holdfast.
    pub(crate) fn record(&self) -> anyhow::Result<Option<Record>> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let path = self.record_path();
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        let damaged = || {
            format!(
                "{} is damaged; restore it from a backup, or start afresh with `holdfast down --purge`",
                path.display()
            )
        };
        let Format { format } = serde_json::from_slice(&bytes).with_context(damaged)?;
        ensure!(
            format <= FORMAT,
            "{} was written by a newer holdfast (format {format}; this one knows {FORMAT}); use that one",
            self.directory.display()
        );
        serde_json::from_slice(&bytes).with_context(damaged).map(Some)
    }

    /// Remembers `record`.
    pub(crate) fn save(&self, record: &Record) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(record)?;
        files::write(&self.record_path(), &bytes, 0o600, None)
            .with_context(|| format!("write {}", self.record_path().display()))
    }

    /// The directory itself, absolute.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path within it.
    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// Every client's only trust anchor.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.join("ca.pem")
    }

    /// Where a part writes what it has to say.
    pub(crate) fn log_file(&self, part: &str) -> PathBuf {
        self.join("logs").join(format!("{part}.log"))
    }

    /// Tells the platforms of one name apart, such as `zero-trust-1f2e3d4c`.
    pub(crate) fn unique_name(&self, name: &str) -> String {
        format!("{name}-{:08x}", path_number(&self.directory))
    }

    fn lock_path(&self) -> PathBuf {
        self.join("lock")
    }

    fn record_path(&self) -> PathBuf {
        self.join("state.json")
    }
}

impl Record {
    /// The record of a platform that is started for the first time.
    pub(crate) fn new(platform: &Platform, seal: PathBuf) -> Self {
        Self {
            format: FORMAT,
            name: platform.name.clone(),
            platform: platform.directory.clone(),
            engine: platform.vault.engine.word().to_owned(),
            vault_initialised: false,
            svid_login: false,
            database_connected: false,
            seal,
            ports: Ports::default(),
            secrets: None,
        }
    }

    /// Passes when `platform` may be started on this state.
    ///
    /// # Errors
    /// The state is another platform's, or its store another engine's.
    pub(crate) fn check(&self, platform: &Platform, state: &State) -> anyhow::Result<()> {
        ensure!(
            self.name == platform.name,
            "{} is the state of the platform {:?}, not of {:?}; choose another with --state",
            state.directory.display(),
            self.name,
            platform.name
        );
        let word = platform.vault.engine.word();
        let supervised = !matches!(platform.vault.engine, Engine::External { .. });
        ensure!(
            self.engine == word || !self.vault_initialised || !supervised,
            "the secrets in {} were written by the {} engine, which {word} cannot read; set vault.engine back, or start afresh with `holdfast down --purge`",
            state.directory.display(),
            self.engine
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: u32) -> Record {
        Record {
            format,
            name: "demo".to_owned(),
            platform: "/p/demo".into(),
            engine: "embedded".to_owned(),
            vault_initialised: true,
            svid_login: false,
            database_connected: false,
            seal: "/etc/holdfast/demo.seal".into(),
            ports: Ports { vault: 8200, vault_cluster: 0, postgres: 5432, spiffe: 0 },
            secrets: None,
        }
    }

    #[test]
    fn a_record_comes_back_and_a_newer_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        assert_eq!(state.record().unwrap(), None);
        state.save(&record(FORMAT)).unwrap();
        assert_eq!(state.record().unwrap(), Some(record(FORMAT)));
        state.save(&record(FORMAT + 1)).unwrap();
        let error = state.record().unwrap_err().to_string();
        assert!(error.contains("newer holdfast (format 2; this one knows 1)"), "{error}");
    }

    #[test]
    fn half_a_record_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        fs::write(state.record_path(), "{\"format\": 1").unwrap();
        let error = state.record().unwrap_err().to_string();
        assert!(error.contains("is damaged; restore it from a backup"), "{error}");
    }

    #[test]
    fn one_supervisor_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        let lock = state.lock().unwrap();
        assert!(lock.is_some());
        assert!(state.lock().unwrap().is_none());
        drop(lock);
        assert!(state.lock().unwrap().is_some());
        // One that is purged is nobody's.
        let path = state.lock_path();
        let opened = File::open(&path).unwrap();
        assert!(state.is_lock(&opened).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!state.is_lock(&opened).unwrap());
        let again = state.lock().unwrap();
        assert!(again.is_some() && !state.is_lock(&opened).unwrap());
    }

    #[test]
    fn a_directory_that_parts_cannot_reach_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        let set = |mode| {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        let closed = format!("{} is closed to the users of the parts", directory.path().display());
        for (mode, is_closed) in [(0o700, Uid::effective().is_root()), (0o711, false)] {
            set(mode);
            let checked = state.check_passable().map_err(|error| error.to_string());
            let is_named = checked.as_ref().is_err_and(|error| error.starts_with(&closed));
            assert_eq!(is_named, is_closed, "{mode:o}: {checked:?}");
        }
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.tex"), "").unwrap();
        let error = State::create(directory.path()).unwrap_err().to_string();
        assert!(error.contains("holds something else already"), "{error}");
    }
}

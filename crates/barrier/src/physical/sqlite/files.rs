//! The store's files: who may read them, and who has them open.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::OpenError;

/// `path` with `suffix` after its last character.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The write-ahead log of the store at `path`.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// Makes the directory of `path`, for its owner alone, or checks the one that is there: whoever
/// may write to it could swap the store for another.
pub(super) fn prepare_directory(path: &Path) -> Result<(), OpenError> {
    let directory = directory_of(path);
    let fail = |source| OpenError::Io { what: "make the store's directory", source };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
    let mode = fs::metadata(directory).map_err(fail)?.mode();
    let others_write = mode & 0o022 != 0;
    let only_own_files = mode & 0o1000 != 0;
    if others_write && !only_own_files {
        return Err(OpenError::DirectoryOpen { path: directory.to_owned(), mode: mode & 0o7777 });
    }
    Ok(())
}

/// Makes an empty file for the store if there is none, and takes it from everybody else's eyes.
/// SQLite gives the files that it makes beside it the same mode.
pub(super) fn prepare_file(path: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { what: "make the store's file", source };
    let is_new = !path.try_exists().map_err(fail)?;
    let file = private(OpenOptions::new().append(true).create(true)).open(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.mode();
    if mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(fail)?;
        tracing::warn!(path = %path.display(), "the store's file was open to others; not any more");
    }
    if is_new { sync_directory(path).map_err(fail) } else { Ok(()) }
}

/// Makes sure that no other server has the store open, for as long as the result lives.
pub(super) fn lock(path: &Path) -> Result<Flock<File>, OpenError> {
    // A file of its own: SQLite's locks on the store are lost when any descriptor of it is closed.
    let lock_path = beside(path, ".lock");
    let fail = |source| OpenError::Io { what: "lock the store", source };
    let file = private(OpenOptions::new().read(true).append(true).create(true))
        .open(&lock_path)
        .map_err(fail)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            lock.set_len(0).map_err(fail)?;
            writeln!(&*lock, "{}", std::process::id()).map_err(fail)?;
            Ok(lock)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // Only to say who it is; the lock counts even when this fails.
            let _ = file.read_to_string(&mut holder);
            Err(OpenError::Locked { path: path.to_owned(), holder: holder.trim().to_owned() })
        }
        Err((_, error)) => Err(fail(error.into())),
    }
}

/// Makes new, removed and renamed files of `path`'s directory outlive a crash.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Options for a file that only its owner may read.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Whether there is a file at `path` with something in it.
pub(super) fn has_content(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

//! The store's files: who may read them, and who has them open.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{major, minor};

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

/// The file that is locked while the store at `path` is open.
pub(super) fn lock_of(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// Makes the directory of `path`, for its owner alone, or checks the one that is there: whoever
/// may write to it could swap the store for another.
pub(super) fn prepare_directory(path: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { what: "make the store's directory", source };
    DirBuilder::new().recursive(true).mode(0o700).create(directory_of(path)).map_err(fail)?;
    check_directory(path)
}

/// Refuses a directory of `path` that others may write to.
pub(super) fn check_directory(path: &Path) -> Result<(), OpenError> {
    let directory = directory_of(path);
    let fail = |source| OpenError::Io { what: "look at the store's directory", source };
    let mode = fs::metadata(directory).map_err(fail)?.mode();
    let others_write = mode & 0o022 != 0;
    let only_own_files = mode & 0o1000 != 0;
    if others_write && !only_own_files {
        return Err(OpenError::DirectoryOpen { path: directory.to_owned(), mode: mode & 0o7777 });
    }
    Ok(())
}

/// The store's own name, free of symbolic links; an empty file is made if there is none. By another
/// name, lock and log would be others: SQLite keeps its log beside the file itself.
pub(super) fn own_name(path: &Path) -> Result<PathBuf, OpenError> {
    let fail = |source| OpenError::Io { what: "make the store's file", source };
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private(OpenOptions::new().append(true).create(true)).open(path).map_err(fail)?;
            let path = fs::canonicalize(path).map_err(fail)?;
            sync_directory(&path).map_err(fail)?;
            Ok(path)
        }
        found => found.map_err(fail),
    }
}

/// Takes the store's file, which is there, from everybody else's eyes. SQLite gives the files that it
/// makes beside it the same mode.
pub(super) fn prepare_file(path: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { what: "make the store's file", source };
    let file = OpenOptions::new().append(true).open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    check_links(path, &metadata)?;
    if metadata.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(fail)?;
        tracing::warn!(path = %path.display(), "the store's file was open to others; not any more");
    }
    Ok(())
}

/// Refuses a file with a second name: opened by that, it would have another log, and another lock.
pub(super) fn check_links(path: &Path, metadata: &fs::Metadata) -> Result<(), OpenError> {
    match metadata.nlink() {
        0 | 1 => Ok(()),
        links => Err(OpenError::Linked { path: path.to_owned(), links }),
    }
}

/// Which file a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of the file at `path`. None: there is no file.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(found) => Ok(Some(Self { device: found.dev(), inode: found.ino() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The process that holds the lock of [`lock`], by its id; found without taking the lock.
pub(super) fn holder(path: &Path) -> io::Result<Option<String>> {
    let lock_path = lock_of(path);
    let (file, locks) = match (fs::metadata(&lock_path), fs::read_to_string("/proc/locks")) {
        (Ok(file), Ok(locks)) => (file, locks),
        (Err(error), _) | (_, Err(error)) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error);
        }
        _ => return Ok(None),
    };
    // Only a hint: some file systems show the kernel's list another device than they show us.
    let written = fs::read_to_string(&lock_path).unwrap_or_default();
    let device = format!("{:02x}:{:02x}", major(file.dev()), minor(file.dev()));
    Ok(lock_holder(&locks, &device, file.ino(), written.trim()).map(str::to_owned))
}

/// The process that has the file `inode` of `device` in `locks`, which are lines such as
/// `1: FLOCK  ADVISORY  WRITE 713 fd:01:12345 0 EOF`.
fn lock_holder<'l>(locks: &'l str, device: &str, inode: u64, written: &str) -> Option<&'l str> {
    locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, process, place, ..] = fields[..] else { return None };
        let (on, number) = place.rsplit_once(':')?;
        let is_it = number.parse() == Ok(inode) && (on == device || process == written);
        is_it.then_some(process)
    })
}

/// Makes sure that no other server has the store open, for as long as the result lives.
pub(super) fn lock(path: &Path) -> Result<Flock<File>, OpenError> {
    // A file of its own: SQLite's locks on the store are lost when any descriptor of it is closed.
    let lock_path = lock_of(path);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_in_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 5 fd:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 713 fd:01:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 714 fd:01:78 0 EOF\n";
        for (device, inode, written, want) in [
            ("fd:01", 77, "", Some("713")),
            ("00:2a", 77, "713", Some("713")),
            ("00:2a", 77, "9", None),
            ("fd:01", 78, "", None),
            ("fd:01", 7, "713", None),
        ] {
            assert_eq!(lock_holder(locks, device, inode, written), want, "{device} {inode}");
        }
    }

    #[test]
    fn a_lock_that_is_held_is_seen_and_one_let_go_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        assert_eq!(holder(&path).unwrap(), None);
        let held = lock(&path).unwrap();
        assert_eq!(holder(&path).unwrap(), Some(std::process::id().to_string()));
        drop(held);
        assert_eq!(holder(&path).unwrap(), None);
    }
}

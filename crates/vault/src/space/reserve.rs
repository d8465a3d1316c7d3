//! Room that is taken while there is plenty, to be given back when there is none.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, posix_fallocate};

use super::usage::Usage;

/// The size where the configuration names none; less on small disks.
const SIZE: u64 = 64 << 20;
/// The share of a disk that the reserve takes at most, where the configuration names no size.
const SHARE: u64 = 100;
/// It is made where this many times its size is free.
const ROOM: u64 = 10;

/// The file beside a store or an audit log: `vault.db.reserve` beside `vault.db`. Nobody keeps it open, so that
/// removing it frees its room at once.
#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
}

/// Why there is no reserve. The server works without.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// It would itself fill the disk.
    #[error("it is made where {needed} bytes are free, and {available} are")]
    NoRoom {
        /// What must be free.
        needed: u64,
        /// What is.
        available: u64,
    },
    /// The file system promises room without setting it aside.
    #[error("the file system does not set room aside")]
    NotAllocated,
    /// There is something else by its name.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Anything else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Reserve {
    /// That of what grows at `file`.
    pub fn beside(file: &Path) -> Self {
        let mut path = OsString::from(file);
        path.push(".reserve");
        Self { path: path.into() }
    }

    /// The one that is the file at `path`.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file, whether it is there or not.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is one to free.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file())
    }

    /// Makes it, or what is missing of it, with mode 0600: of `bytes`, or else of 64 MiB or a
    /// hundredth of the disk. 0 bytes remove it. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// There is no room to spare, or no way to set it aside; then there is no half of it either.
    pub fn hold(&self, bytes: Option<u64>) -> Result<(), ReserveError> {
        if bytes == Some(0) {
            self.free()?;
            return Ok(());
        }
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let usage = Usage::of(folder.unwrap_or(Path::new(".")))?;
        let bytes = bytes.unwrap_or_else(|| SIZE.min(usage.size / SHARE));
        if let Ok(found) = fs::symlink_metadata(&self.path)
            && found.is_file()
            && found.len() == bytes
            && allocated(&found) >= bytes
        {
            return Ok(());
        }
        // One of another size, or one that a crash left half made.
        self.free()?;
        let available = Usage::of(folder.unwrap_or(Path::new(".")))?.available;
        let needed = bytes.saturating_mul(ROOM);
        if available < needed {
            return Err(ReserveError::NoRoom { needed, available });
        }
        self.make(bytes).inspect_err(|_| {
            let _ = fs::remove_file(&self.path);
        })
    }

    fn make(&self, bytes: u64) -> Result<(), ReserveError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = options.open(&self.path)?;
        // The umask has taken bits away.
        file.set_permissions(Permissions::from_mode(0o600))?;
        allocate(&file, bytes)?;
        if allocated(&file.metadata()?) < bytes {
            return Err(ReserveError::NotAllocated);
        }
        Ok(())
    }

    /// Removes it, and says how many bytes that gives back; none where there was no such file.
    ///
    /// # Errors
    /// It cannot be removed, or is no file.
    pub fn free(&self) -> Result<Option<u64>, ReserveError> {
        let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Err(ReserveError::NotAFile(self.path.clone())),
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(Some(allocated(&found))),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    loop {
        match posix_fallocate(file, 0, length) {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// What a file takes up on its disk, in bytes.
fn allocated(file: &fs::Metadata) -> u64 {
    file.blocks().saturating_mul(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 256 << 10;

    #[test]
    fn it_is_allocated_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("vault.db"));
        assert_eq!(reserve.path(), folder.path().join("vault.db.reserve"));
        assert_eq!(reserve.free().unwrap(), None);
        reserve.hold(Some(BYTES)).unwrap();
        let made = fs::metadata(reserve.path()).unwrap();
        assert_eq!((made.len(), made.mode() & 0o777), (BYTES, 0o600));
        assert!(allocated(&made) >= BYTES, "not sparse");
        reserve.hold(Some(BYTES)).unwrap();
        assert_eq!(fs::metadata(reserve.path()).unwrap().ino(), made.ino(), "left alone");
        assert!(reserve.free().unwrap().unwrap() >= BYTES);
        assert_eq!(reserve.free().unwrap(), None);
    }

    #[test]
    fn another_size_makes_it_anew_and_none_removes_it() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("vault.db"));
        // As a crash in the middle leaves it: with a length, without the room.
        File::create(reserve.path()).unwrap().set_len(BYTES).unwrap();
        reserve.hold(Some(BYTES)).unwrap();
        assert!(allocated(&fs::metadata(reserve.path()).unwrap()) >= BYTES);
        reserve.hold(Some(BYTES / 2)).unwrap();
        assert_eq!(fs::metadata(reserve.path()).unwrap().len(), BYTES / 2);
        reserve.hold(Some(0)).unwrap();
        assert!(!reserve.is_there());
    }

    #[test]
    fn it_does_not_fill_the_disk_itself_nor_remove_what_is_not_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("vault.db"));
        let too_much = Usage::of(folder.path()).unwrap().available / 5;
        let refused = reserve.hold(Some(too_much));
        assert!(matches!(refused, Err(ReserveError::NoRoom { .. })), "{refused:?}");
        assert!(!reserve.is_there());
        fs::create_dir(reserve.path()).unwrap();
        assert!(matches!(reserve.free(), Err(ReserveError::NotAFile(_))));
        assert!(matches!(reserve.hold(Some(BYTES)), Err(ReserveError::NotAFile(_))));
    }
}

//! What the kernel says of the file system that a path lies on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// All of it.
    pub size: u64,
    /// Taken.
    pub used: u64,
    /// What this process may still take. Less than what is free, where some is kept for root.
    pub available: u64,
}

impl Usage {
    /// Of the file system under `path`, which is there.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = statvfs(path)?;
        #[allow(clippy::unnecessary_cast, reason = "the fields' width differs between platforms")]
        let bytes = |blocks| (blocks as u64).saturating_mul(found.fragment_size() as u64);
        let size = bytes(found.blocks());
        Ok(Self {
            size,
            used: size.saturating_sub(bytes(found.blocks_free())),
            available: bytes(found.blocks_available()),
        })
    }

    /// Used, of what this process could ever have, in percent and rounded up: the figure of `df`.
    pub fn percent(self) -> u8 {
        let whole = u128::from(self.used) + u128::from(self.available);
        if whole == 0 {
            // A file system without a size, such as /proc, does not fill up.
            return 0;
        }
        u8::try_from((u128::from(self.used) * 100).div_ceil(whole)).unwrap_or(100)
    }
}

/// The number of the file system that `path` lies on or would be made on, and its usage. None for
/// what takes no room, such as a terminal.
///
/// # Errors
/// The system does not say.
pub fn find(path: &Path) -> io::Result<Option<(u64, Usage)>> {
    for path in path.ancestors() {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        match fs::metadata(path) {
            Ok(found) if found.is_file() || found.is_dir() => {
                return Ok(Some((found.dev(), Usage::of(path)?)));
            }
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_that_of_df() {
        let percent = |used, available| Usage { size: 100, used, available }.percent();
        assert_eq!(percent(0, 100), 0);
        assert_eq!(percent(1, 999), 1, "rounded up");
        assert_eq!(percent(80, 20), 80);
        assert_eq!(percent(76, 19), 80, "5 are kept for root");
        assert_eq!(percent(95, 0), 100);
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 50);
    }

    #[test]
    fn a_file_that_is_not_there_yet_lies_on_the_disk_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (here, usage) = find(folder.path()).unwrap().unwrap();
        assert!(usage.size >= usage.available && usage.size > 0, "{usage:?}");
        let (there, _) = find(&folder.path().join("not/there/audit.log")).unwrap().unwrap();
        assert_eq!(here, there);
        assert!(find(Path::new("vault.db")).unwrap().is_some(), "relative to where we are");
        assert_eq!(find(Path::new("/dev/null")).unwrap(), None);
    }
}

//! Small files of the agent's own, whole or absent.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::generation;

/// Writes a file in place of what is there, at once, with `mode`.
///
/// # Errors
/// The system refused it.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    generation::replace(path, contents, mode, generation::Owner::default())
}

/// Opens a regular file to read, without waiting. A pipe, which may wait for ever, or a device, which
/// may have no end, is refused.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub(crate) fn open_regular(path: &Path, flags: OFlag) -> io::Result<fs::File> {
    let flags = flags | OFlag::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

/// Makes a directory that is its owner's alone, with those above it.
///
/// # Errors
/// It cannot be made, or is somebody else's: whoever may write there could read what is put there.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if metadata.uid() != nix::unistd::Uid::effective().as_raw() {
        return Err(not_ours(path));
    }
    check_above(path)
}

/// Passes when nobody but root and the caller could put something else in the place of `path`: it
/// and all above it are theirs, and no other may write there, or may but only to add.
///
/// # Errors
/// Which directory somebody else could change.
pub(crate) fn check_above(path: &Path) -> io::Result<()> {
    let own = nix::unistd::Uid::effective().as_raw();
    for directory in path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        let metadata = match fs::metadata(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let open = metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0;
        let known = [0, own].contains(&metadata.uid());
        if !metadata.is_dir() || !known || open {
            return Err(not_ours(directory));
        }
    }
    Ok(())
}

fn not_ours(path: &Path) -> io::Error {
    let text = format!("{} can be changed by others than the agent's user", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (between, inner) = (folder.path().join("a"), folder.path().join("a/b"));
        private_directory(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o777, 0o700);
        for (mode, fine) in [(0o755, true), (0o1777, true), (0o777, false), (0o720, false)] {
            fs::set_permissions(&between, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(private_directory(&inner).is_ok(), fine, "{mode:o}");
        }
        if nix::unistd::Uid::effective().is_root() {
            fs::set_permissions(&between, fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(&between, Some(65534), None).unwrap();
            assert!(private_directory(&inner).is_err(), "it is somebody else's");
        }
    }
}

//! Small files of the agent's own, whole or absent.

use std::fs;
use std::io;
use std::path::Path;

use crate::generation;

/// Writes a file in place of what is there, at once, with `mode`.
///
/// # Errors
/// The system refused it.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    generation::replace(path, contents, mode, generation::Owner::default())
}

/// Makes a directory that is its owner's alone, with those above it.
///
/// # Errors
/// It cannot be made, or is somebody else's: whoever may write there could read what is put there.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    let own = nix::unistd::Uid::effective().as_raw();
    if !metadata.is_dir() || metadata.uid() != own || metadata.mode() & 0o022 != 0 {
        let text = format!("{} is not a directory of the agent's own", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

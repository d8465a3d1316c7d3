//! Single steps on the file system, each of which is whole or did not happen.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::Owner;

/// Makes a file that has its owner and mode before it has contents.
pub(super) fn write(path: &Path, contents: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    give(&file, mode, owner)?;
    file.write_all(contents)
}

fn give(file: &File, mode: u32, owner: Owner) -> io::Result<()> {
    if owner != Owner::default() {
        std::os::unix::fs::fchown(file, owner.user, owner.group)?;
    }
    // After the owner: changing that takes bits away, and so did the umask.
    file.set_permissions(Permissions::from_mode(mode))
}

/// Makes the directories above `path` that are missing, each with `mode`.
pub(super) fn make_above(path: &Path, mode: u32) -> io::Result<()> {
    match path.parent() {
        Some(parent) => make(parent, mode),
        None => Ok(()),
    }
}

/// Makes a directory and those above it that are missing, each with `mode`.
pub(super) fn make(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_above(path, mode)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
    }
}

/// Puts a file into another place as well: the same bytes, owner and mode.
pub(super) fn share(from: &Path, to: &Path, owner: Owner) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // Another file system, too many links, or a file that belongs to somebody else.
        Err(_) => {
            let mode = fs::metadata(from)?.permissions().mode() & 0o7777;
            write(to, &fs::read(from)?, mode, owner)
        }
    }
}

/// Makes `path` a link to `target`, in place of whatever file is there, at once. `check` looks at
/// the new link before it counts.
pub(super) fn link(
    path: &Path,
    target: &Path,
    check: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    replace(path, |temporary| {
        symlink(target, temporary)?;
        check(temporary)
    })
}

/// Makes something beside `path` and moves it there, in place of whatever file is there.
pub(super) fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let temporary = beside(path)?;
    remove(&temporary)?;
    let done = make(&temporary).and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Removes a file or link, when there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory with all that is in it, when there is one.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".holdfast");
    Ok(path.with_file_name(temporary))
}

//! Files that are whole or absent, and whose owner is known.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown,
};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Uid, User};

use super::account::Account;

/// Writes `contents` so that a reader, or the next start after a crash, sees all or nothing of it.
///
/// The file has `mode` from its first moment, and belongs to `owner` where that is another.
pub(crate) fn write(
    path: &Path,
    contents: &[u8],
    mode: u32,
    owner: Option<&Account>,
) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidFilename));
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    let temporary = directory.join(temporary);
    // What a crash left behind, which may have another mode or owner.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    // The umask has taken bits away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
    }
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}

/// Memory with a descriptor and no name, which `owner` alone may read. Reading it leaves it as it is,
/// so that a part that is started again finds it again.
pub(crate) fn in_memory(name: &str, contents: &[u8], owner: &Account) -> anyhow::Result<File> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.set_permissions(fs::Permissions::from_mode(0o400))?;
    file.write_all(contents)?;
    if !owner.is_caller() {
        fchown(&file, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
    }
    Ok(file)
}

/// Makes a directory, with its parents, or checks the one that is there: `mode` exactly, and
/// belonging to `owner`, or else to the caller.
pub(crate) fn directory(path: &Path, mode: u32, owner: Option<&Account>) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            if let Some(owner) = owner {
                chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
                    .with_context(|| format!("give {} to {}", path.display(), owner.name))?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let want = owner.map_or_else(Uid::effective, |owner| owner.uid);
            let metadata = fs::symlink_metadata(path)?;
            ensure!(metadata.is_dir(), "{} is no directory; move it away", path.display());
            if metadata.uid() != want.as_raw() {
                // A crash between making the directory and giving it away leaves it ours and empty.
                let ours = metadata.uid() == Uid::effective().as_raw();
                match owner {
                    Some(owner) if ours && fs::read_dir(path)?.next().is_none() => {
                        chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
                    }
                    _ => wrong_owner(path, Uid::from_raw(metadata.uid()), want)?,
                }
            }
        }
        Err(error) => return Err(error).with_context(|| format!("make {}", path.display())),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

/// Removes a directory with all that is in it, when there is one.
pub(crate) fn remove_directory(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a file, when there is one.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The file's contents, or nothing when there is no such file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Passes when `path` belongs to the caller and nobody else may read it.
pub(crate) fn check_private(path: &Path) -> anyhow::Result<()> {
    let metadata =
        fs::symlink_metadata(path).with_context(|| format!("look at {}", path.display()))?;
    ensure!(metadata.is_file(), "{} is no file", path.display());
    if metadata.uid() != Uid::effective().as_raw() {
        wrong_owner(path, Uid::from_raw(metadata.uid()), Uid::effective())?;
    }
    let mode = metadata.mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "{} can be read by others (mode {mode:04o}); if you trust them with it, run: chmod 600 {}",
        path.display(),
        path.display()
    );
    Ok(())
}

fn wrong_owner(path: &Path, owner: Uid, want: Uid) -> anyhow::Result<()> {
    let (owner, want) = (user_name(owner), user_name(want));
    bail!(
        "{} belongs to {owner}, not to {want}; run this as {owner}, or choose another with --state",
        path.display()
    )
}

/// `root`, or `uid 60600` where the uid has no name.
pub(crate) fn user_name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// The caller's home directory.
pub(crate) fn home() -> anyhow::Result<PathBuf> {
    if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        return Ok(home.into());
    }
    let user = User::from_uid(Uid::effective())?.context("the caller has no home directory")?;
    Ok(user.dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_has_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        fs::write(directory.path().join(".record.new"), "left by a crash").unwrap();
        for (contents, mode) in [("one", 0o600), ("two", 0o644)] {
            write(&path, contents.as_bytes(), mode, None).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), contents);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_can_read_is_not_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write(&path, b"k", 0o640, None).unwrap();
        let error = check_private(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
        write(&path, b"k", 0o600, None).unwrap();
        check_private(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        fs::write(&path, "").unwrap();
        let error = super::directory(&path, 0o700, None).unwrap_err().to_string();
        assert!(error.contains("is no directory"), "{error}");
    }
}

//! A place for secret files that is memory, not disk, and proven to be.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::Uid;

use super::files;
use super::state::State;

/// Enough for every certificate and rendered file of a platform.
const SIZE: &str = "size=16m,nr_inodes=4096";

/// Makes the directory for secret files, or finds the one that is there.
///
/// As root it is a mount of our own within the state directory; otherwise a directory in
/// `$XDG_RUNTIME_DIR`, or else in `/dev/shm`.
///
/// # Errors
/// No tmpfs is to be had.
pub(crate) fn prepare(state: &State, name: &str) -> anyhow::Result<PathBuf> {
    if Uid::effective().is_root() {
        let path = mount_point(state);
        files::directory(&path, 0o711, None)?;
        if !is_mount_point(&path)? {
            mount_tmpfs(&path)?;
        }
        prove(&path)?;
        return Ok(path);
    }
    let uid = Uid::effective();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute() && prove(path).is_ok());
    let base = match runtime {
        Some(runtime) => runtime.join("holdfast"),
        None => PathBuf::from(format!("/dev/shm/holdfast-{uid}")),
    };
    match fs::DirBuilder::new().mode(0o700).create(&base) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| {
                format!("make {}; secrets need a tmpfs: set XDG_RUNTIME_DIR to one", base.display())
            });
        }
        _ => {}
    }
    // Everybody may write to /dev/shm: what stands there already may be somebody else's trap.
    let metadata = fs::symlink_metadata(&base)?;
    ensure!(
        metadata.is_dir() && metadata.uid() == uid.as_raw() && metadata.mode() & 0o077 == 0,
        "{} is not a directory of yours alone (mode 0700); remove it",
        base.display()
    );
    let path = base.join(state.unique_name(name));
    files::directory(&path, 0o700, None)?;
    prove(&path)?;
    Ok(path)
}

/// Removes the secret files, and the mount.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    if Uid::effective().is_root() && path.exists() {
        while is_mount_point(path)? {
            umount2(path, MntFlags::MNT_DETACH)
                .with_context(|| format!("unmount {}", path.display()))?;
        }
    }
    files::remove_directory(path)?;
    if let Some(base) = path.parent().filter(|_| !Uid::effective().is_root()) {
        // Shared by the caller's platforms, so it goes with the last of them.
        let _ = fs::remove_dir(base);
    }
    Ok(())
}

/// Where root's tmpfs is mounted.
pub(crate) fn mount_point(state: &State) -> PathBuf {
    state.join("secrets")
}

/// Passes when `path` is on a tmpfs.
pub(crate) fn prove(path: &Path) -> anyhow::Result<()> {
    let kind = statfs(path).with_context(|| format!("look at {}", path.display()))?;
    if kind.filesystem_type() != TMPFS_MAGIC {
        bail!("{} is not on a tmpfs, so secrets in it would reach a disk", path.display());
    }
    Ok(())
}

fn mount_tmpfs(path: &Path) -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // noswap is known to Linux 6.4 and later; without it the kernel refuses the whole mount.
    let tries = [format!("mode=711,{SIZE},noswap"), format!("mode=711,{SIZE}")];
    let mut failure = None;
    for options in &tries {
        match mount(Some("holdfast"), path, Some("tmpfs"), flags, Some(options.as_str())) {
            Ok(()) => return Ok(()),
            Err(error) => failure = Some(error),
        }
    }
    let error = failure.map_or_else(String::new, |error| error.to_string());
    bail!("mount a tmpfs for secrets on {}: {error}", path.display())
}

fn is_mount_point(path: &Path) -> anyhow::Result<bool> {
    let parent = path.parent().context("not the root directory")?;
    Ok(fs::symlink_metadata(path)?.dev() != fs::symlink_metadata(parent)?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_no_tmpfs() {
        prove(Path::new("/dev/shm")).unwrap();
        let error = prove(Path::new("/proc")).unwrap_err().to_string();
        assert!(error.contains("not on a tmpfs"), "{error}");
    }
}

//! Where a reader looks for its file, and how that leads to the generation.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::directory;
use super::place::Place;

/// A mode for files of which nobody said one: secrets are their owner's.
const PRIVATE: u32 = 0o600;

/// A file that is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where, absolute.
    pub path: PathBuf,
    /// Its mode. None keeps that of a file that is there, and is `0600` otherwise.
    pub mode: Option<u32>,
    /// Its owner.
    pub owner: Owner,
    /// Whether what was there is kept as `<path>.bak`.
    pub backup: bool,
    /// Whether directories above it are made.
    pub make_directories: bool,
}

/// The owner of a file; None leaves what is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user's id.
    pub user: Option<u32>,
    /// The group's id.
    pub group: Option<u32>,
}

/// How a destination leads to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// As a link: it changes together with all others.
    Link,
    /// As a copy that is replaced whole, because a link does not work there: it changes by itself.
    Copy,
}

/// Why one file cannot be delivered. Others are.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A directory stands in its place.
    #[error("{} is a directory; move it away, or change the destination", .0.display())]
    IsDirectory(PathBuf),
    /// There is no directory for it.
    #[error("there is no directory {}; make it, or set create_dest_dirs", .0.display())]
    NoDirectory(PathBuf),
    /// The system refused it.
    #[error("place {}: {source}", path.display())]
    Io {
        /// The destination.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Destination {
    /// Looks whether a file can be placed here, and makes room for it.
    pub(super) fn prepare(&self) -> Result<(), Problem> {
        let failed = |source| Problem::Io { path: self.path.clone(), source };
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        if !parent.is_dir() {
            if !self.make_directories {
                return Err(Problem::NoDirectory(parent.to_owned()));
            }
            directory::make(parent, 0o755).map_err(failed)?;
        }
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Err(Problem::IsDirectory(self.path.clone())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The mode that its file is to have, and whether anybody chose it.
    pub(super) fn mode(&self) -> (u32, bool) {
        let present = || fs::metadata(&self.path).ok().filter(fs::Metadata::is_file);
        match self.mode {
            Some(mode) => (mode, true),
            None => match present() {
                Some(metadata) => (metadata.permissions().mode() & 0o7777, true),
                None => (PRIVATE, false),
            },
        }
    }

    /// Keeps what a reader finds now as `<path>.bak`.
    pub(super) fn keep_old(&self) -> Result<(), Problem> {
        let Ok(old) = fs::canonicalize(&self.path) else { return Ok(()) };
        let mut backup = self.path.clone().into_os_string();
        backup.push(".bak");
        directory::replace(Path::new(&backup), |temporary| {
            directory::share(&old, temporary, self.owner)
        })
        .map_err(|source| Problem::Io { path: backup.into(), source })
    }

    /// Lets the destination lead to its file in the current generation.
    pub(super) fn place(&self, place: &Place, links: bool) -> Result<Placement, Problem> {
        let link = place.link(&self.path);
        if links {
            if fs::read_link(&self.path).is_ok_and(|there| there == link) {
                return Ok(Placement::Link);
            }
            let file = place.current().join(place.name(&self.path));
            let leads_there = |temporary: &Path| {
                let (through, real) = (fs::metadata(temporary)?, fs::metadata(&file)?);
                let same = (through.dev(), through.ino()) == (real.dev(), real.ino());
                if same { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
            };
            if directory::link(&self.path, &link, leads_there).is_ok() {
                return Ok(Placement::Link);
            }
        }
        self.copy(place).map_err(|source| Problem::Io { path: self.path.clone(), source })?;
        Ok(Placement::Copy)
    }

    fn copy(&self, place: &Place) -> io::Result<()> {
        let file = place.current().join(place.name(&self.path));
        let mode = fs::metadata(&file)?.permissions().mode() & 0o7777;
        let contents = fs::read(&file)?;
        // What is there already need not change under its readers.
        let there = fs::symlink_metadata(&self.path).ok().filter(fs::Metadata::is_file);
        if there.is_some_and(|there| there.permissions().mode() & 0o7777 == mode)
            && fs::read(&self.path).is_ok_and(|there| there == contents)
        {
            return Ok(());
        }
        directory::replace(&self.path, |temporary| {
            directory::write(temporary, &contents, mode, self.owner)
        })
    }

    /// Removes a link of ours to a file that is no longer delivered.
    pub(super) fn abandon(path: &Path, place: &Place) -> io::Result<()> {
        match fs::read_link(path) {
            Ok(there) if there == place.link(path) => directory::remove(path),
            _ => Ok(()),
        }
    }
}

//! Where a reader looks for its file, and how that leads to the generation.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use holdfast_types::SecretBytes;
use nix::sys::stat::{FileStat, SFlag};

use super::folder::{Folder, is_a, is_ours};
use super::place::Place;

/// Where a file is in a generation: its directory, and its name there.
pub(super) type Found = (Folder, OsString);

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
    /// The generation before has it no more: somebody removed it there.
    #[error("{} is gone; it is rendered again", .0.display())]
    Gone(PathBuf),
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
    /// Opens the directory that a file is to be placed in, and looks whether it can be.
    pub(super) fn prepare(&self) -> Result<Folder, Problem> {
        let failed = |source| Problem::Io { path: self.path.clone(), source };
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let folder = match self.make_directories {
            true => Folder::make(parent, 0o755),
            false => Folder::open(parent),
        };
        let folder = folder.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Problem::NoDirectory(parent.to_owned()),
            _ => failed(error),
        })?;
        match folder.stat(self.name()).map_err(failed)? {
            Some(stat) if is_a(&stat, SFlag::S_IFDIR) => {
                Err(Problem::IsDirectory(self.path.clone()))
            }
            _ => Ok(folder),
        }
    }

    /// Its name in that directory.
    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// The mode that its file is to have, and whether anybody chose it. `current` is where the file
    /// is in the current generation.
    pub(super) fn mode(&self, place: &Place, current: Option<&Found>) -> (u32, bool) {
        let present = || {
            let (folder, name) = Folder::above(&self.path).ok()?;
            let is_link = folder.read_link(&name).ok()?;
            let stat = match (is_link, current) {
                (Some(to), Some((folder, name))) if to == place.link(&self.path) => {
                    folder.stat(name).ok()??
                }
                _ => folder.stat(&name).ok()??,
            };
            // One that somebody else put there chooses nothing for a secret of ours.
            let is_its = is_ours(stat.st_uid) || self.owner.user == Some(stat.st_uid);
            (is_a(&stat, SFlag::S_IFREG) && is_its).then_some(stat.st_mode & 0o7777)
        };
        match self.mode.or_else(present) {
            Some(mode) => (mode, true),
            None => (PRIVATE, false),
        }
    }

    /// Keeps what a reader finds now as `<path>.bak`: our own file from `current`, and of anything
    /// else what stands there itself. A link that is not ours stays a link: what it leads to may be
    /// readable to us alone.
    pub(super) fn keep_old(
        &self,
        folder: &Folder,
        place: &Place,
        current: Option<&Found>,
    ) -> Result<(), Problem> {
        let mut backup = self.name().to_owned();
        backup.push(".bak");
        let kept = self.keep_as(folder, &backup, place, current);
        kept.map_err(|source| Problem::Io { path: self.path.with_file_name(backup), source })
    }

    fn keep_as(
        &self,
        folder: &Folder,
        backup: &OsStr,
        place: &Place,
        current: Option<&Found>,
    ) -> io::Result<()> {
        let name = self.name();
        let link = folder.read_link(name)?;
        if link.as_ref().is_some_and(|link| *link == place.link(&self.path)) {
            let Some((from, file)) = current else { return Ok(()) };
            return folder.replace(backup, |new| from.share(file, folder, new, self.owner));
        }
        if folder.stat(name)?.is_none() {
            return Ok(());
        }
        folder.replace(backup, |new| {
            if folder.link_same(name, new).is_ok() {
                return Ok(());
            }
            // A file system without hard links: the same contents for the same eyes.
            let mut file = folder.file(name)?;
            let metadata = file.metadata()?;
            let mut contents = Vec::new();
            file.read_to_end(&mut contents)?;
            let owner = Owner { user: Some(metadata.uid()), group: Some(metadata.gid()) };
            folder.write(new, &contents, metadata.mode() & 0o7777, owner)
        })
    }

    /// Lets the destination lead to its file in the current generation, `current`.
    pub(super) fn place(
        &self,
        folder: &Folder,
        place: &Place,
        current: &Found,
        links: bool,
    ) -> Result<Placement, Problem> {
        let failed = |source| Problem::Io { path: self.path.clone(), source };
        let link = place.link(&self.path);
        if links {
            if folder.read_link(self.name()).map_err(failed)?.is_some_and(|there| there == link) {
                return Ok(Placement::Link);
            }
            let leads_there = |temporary: &OsStr| {
                let through = folder.leads_to(temporary)?;
                let real = current.0.stat(&current.1)?;
                let same =
                    |real: FileStat| (through.st_dev, through.st_ino) == (real.st_dev, real.st_ino);
                if real.is_some_and(same) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
            };
            if folder.link(self.name(), &link, leads_there).is_ok() {
                return Ok(Placement::Link);
            }
        }
        self.copy(folder, current).map_err(failed)?;
        Ok(Placement::Copy)
    }

    fn copy(&self, folder: &Folder, (from, file): &Found) -> io::Result<()> {
        let mut file = from.file(file)?;
        let mode = file.metadata()?.mode() & 0o7777;
        let mut contents = Vec::new();
        file.read_to_end(&mut contents)?;
        let contents = SecretBytes::new(contents);
        // What is there already need not change under its readers.
        let is_same = |there: &File| {
            there.metadata().is_ok_and(|there| {
                there.mode() & 0o7777 == mode && there.len() == contents.expose().len() as u64
            })
        };
        let there = folder.file(self.name()).ok().filter(is_same);
        if there.is_some() && folder.read(self.name()).map(SecretBytes::new)? == contents {
            return Ok(());
        }
        folder.replace(self.name(), |temporary| {
            folder.write(temporary, contents.expose(), mode, self.owner)
        })
    }

    /// Removes a link of ours to a file that is no longer delivered.
    pub(super) fn abandon(path: &Path, place: &Place) -> io::Result<()> {
        let (folder, name) = Folder::above(path)?;
        match folder.read_link(&name)? {
            Some(there) if there == place.link(path) => folder.remove(&name),
            _ => Ok(()),
        }
    }
}

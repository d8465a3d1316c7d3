//! Where generations are kept: beside their readers, where that is possible.

use std::io;
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::Uid;
use tracing::info;

use super::folder::Folder;

/// A directory for generations, and how destinations lead there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Holds `current` and `generations`.
    pub root: PathBuf,
    /// What the layout of a generation is relative to: `base/app/a.env` is `app/a.env` in it.
    pub base: PathBuf,
    /// Whether destinations link to it relatively, so that the links also hold where the base is
    /// mounted elsewhere, as in a container.
    pub relative: bool,
}

impl Place {
    /// The place for `destinations`, all absolute.
    ///
    /// That is a hidden directory in the deepest directory above all of them, so that whoever is
    /// given that directory is given the files. Where they have no such directory of their own (only
    /// `/` or one directly below it, and none of them is in it) it is in `fallback`.
    pub fn of<'a>(
        destinations: impl IntoIterator<Item = &'a Path>,
        id: &str,
        fallback: &Path,
    ) -> Self {
        let folders: Vec<&Path> = destinations.into_iter().filter_map(Path::parent).collect();
        let common = folders.iter().copied().map(Path::to_owned).reduce(|a, b| common(&a, &b));
        match common {
            Some(base) if base.components().count() > 2 || folders.contains(&base.as_path()) => {
                Self { root: base.join(format!(".holdfast-{id}")), base, relative: true }
            }
            _ => Self::inside(&fallback.join(id)),
        }
    }

    /// The same, where somebody else does not decide what is there; else in `fallback`. Root's
    /// agent lays nothing into a directory that belongs to another user; nobody uses what another
    /// made in advance, at a name that can be foreseen.
    pub fn of_ours<'a>(
        destinations: impl IntoIterator<Item = &'a Path>,
        id: &str,
        fallback: &Path,
    ) -> Self {
        let beside = Self::of(destinations, id, fallback);
        if !beside.relative || beside.is_ours() {
            return beside;
        }
        let place = Self::inside(&fallback.join(id));
        info!(root = %place.root.display(), instead = %beside.root.display(),
              "generations are not kept beside their files, where others decide");
        place
    }

    fn is_ours(&self) -> bool {
        let mut above = self.base.ancestors().map(Folder::open);
        let Some(Ok(above)) = above.find(|folder| !folder.as_ref().is_err_and(is_missing)) else {
            return false;
        };
        if Uid::effective().is_root() && !above.is_known() {
            return false;
        }
        match Folder::open(&self.root) {
            Ok(root) => root.check_ours().is_ok(),
            Err(error) => is_missing(&error),
        }
    }

    /// A place in `root`, wherever the destinations are.
    pub fn inside(root: &Path) -> Self {
        Self { root: root.to_owned(), base: PathBuf::from("/"), relative: false }
    }

    /// The link that is flipped.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    pub(super) fn generations(&self) -> PathBuf {
        self.root.join("generations")
    }

    /// Where the file of `destination` is in a generation.
    pub(super) fn name<'a>(&self, destination: &'a Path) -> &'a Path {
        destination.strip_prefix(&self.base).unwrap_or(destination)
    }

    /// What the link at `destination` says.
    pub(super) fn link(&self, destination: &Path) -> PathBuf {
        let name = self.name(destination);
        if !self.relative {
            return self.current().join(name);
        }
        let mut link = PathBuf::new();
        for _ in name.components().skip(1) {
            link.push("..");
        }
        let root = self.root.strip_prefix(&self.base).unwrap_or(&self.root);
        link.join(root).join("current").join(name)
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The deepest directory above both.
fn common(a: &Path, b: &Path) -> PathBuf {
    let pairs = a.components().zip(b.components());
    pairs.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

/// Whether `path` is in memory, not on a disk.
///
/// # Errors
/// There is no such path.
pub fn is_memory(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.filesystem_type() == TMPFS_MAGIC)
}

/// `path` without `.` and `..`, as far as that can be said without looking; absolute in `folder`.
pub(super) fn absolute(folder: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_lie_beside_their_readers() {
        for (destinations, root, links) in [
            (&["/r/app/a.env"][..], "/r/app/.holdfast-x", &[".holdfast-x/current/a.env"][..]),
            (
                &["/r/app/a.env", "/r/app/tls/key"],
                "/r/app/.holdfast-x",
                &[".holdfast-x/current/a.env", "../.holdfast-x/current/tls/key"],
            ),
            (
                &["/r/app/one/a", "/r/app/two/deep/b"],
                "/r/app/.holdfast-x",
                &["../.holdfast-x/current/one/a", "../../.holdfast-x/current/two/deep/b"],
            ),
            (&["/etc/a"], "/etc/.holdfast-x", &[".holdfast-x/current/a"]),
            // Nothing in common but the top.
            (
                &["/etc/app/a", "/etc/other/b"],
                "/run/f/x",
                &["/run/f/x/current/etc/app/a", "/run/f/x/current/etc/other/b"],
            ),
            (&["/etc/a", "/srv/b"], "/run/f/x", &["/run/f/x/current/etc/a"]),
            (&[], "/run/f/x", &[]),
        ] {
            let paths = destinations.iter().map(Path::new);
            let place = Place::of(paths.clone(), "x", Path::new("/run/f"));
            assert_eq!(place.root, Path::new(root), "{destinations:?}");
            for (destination, link) in paths.zip(links) {
                assert_eq!(place.link(destination), Path::new(link), "{destinations:?}");
            }
        }
    }

    #[test]
    fn paths_become_absolute() {
        for (path, want) in [("a/../b", "/w/b"), ("/x/./y", "/x/y"), ("../../../a", "/a")] {
            assert_eq!(absolute(Path::new("/w"), Path::new(path)), Path::new(want));
        }
    }
}

//! Directories by handle, opened without following links that somebody else made.
//!
//! A path is what whoever owns a directory on it makes of it, at any moment. A handle is one
//! directory: all that is done here is done in it, by `*at` calls that follow no link.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, symlinkat, unlinkat};

use super::Owner;

/// More links than this on one way are a circle.
const LINKS: u32 = 40;
/// No tree of ours is as deep; whoever owns a part of one could make it so.
const DEEPEST: u32 = 64;

/// A directory that is open.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    handle: Arc<OwnedFd>,
    /// Where it was found, for messages.
    path: PathBuf,
    access: Access,
    /// Whether root or the caller decide what is on the way to it.
    is_known: bool,
}

/// Who gets into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Permission bits.
    pub(crate) mode: u32,
}

impl Access {
    /// The caller's directory, with this mode.
    pub(crate) fn own(mode: u32) -> Self {
        Self { user: Uid::effective().as_raw(), group: Gid::effective().as_raw(), mode }
    }

    fn of(stat: &FileStat) -> Self {
        Self { user: stat.st_uid, group: stat.st_gid, mode: stat.st_mode & 0o777 }
    }

    /// What is left of it for those who come through `before`.
    fn through(self, before: Self) -> Self {
        let (others, group) = (before.mode & 0o001 != 0, before.mode & 0o010 != 0);
        let passes = if before.group == self.group { group } else { group && others };
        let mut mode = self.mode;
        if !passes {
            mode &= !0o070;
        }
        if !others {
            mode &= !0o007;
        }
        Self { mode, ..self }
    }
}

impl Folder {
    /// Opens the directory at `path`. A link on the way is followed where root or
    /// the caller made it, and they alone decide what is before it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::walk(path, None)
    }

    /// The same, with those that are missing made, each with `mode`.
    pub(crate) fn make(path: &Path, mode: u32) -> io::Result<Self> {
        Self::walk(path, Some(mode))
    }

    /// Opens the directory that the last part of `path` is in. Gives the last part as well.
    pub(crate) fn above(path: &Path) -> io::Result<(Self, OsString)> {
        match (std::path::absolute(path)?.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok((Self::open(parent)?, name.to_owned())),
            _ => Err(io::ErrorKind::InvalidFilename.into()),
        }
    }

    fn walk(path: &Path, make: Option<u32>) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let (mut at, mut links) = (Self::top(true)?, 0);
        for component in path.components() {
            at = at.step(component, make, &mut links)?;
        }
        Ok(at)
    }

    fn top(is_known: bool) -> io::Result<Self> {
        let handle = nix::fcntl::open("/", DIRECTORY, Mode::empty())?;
        Self::new(handle, PathBuf::from("/"), is_known)
    }

    fn new(handle: OwnedFd, path: PathBuf, was_known: bool) -> io::Result<Self> {
        let access = Access::of(&fstat(&handle)?);
        let is_known = was_known && is_ours(access.user);
        Ok(Self { handle: Arc::new(handle), path, access, is_known })
    }

    fn step(&self, to: Component<'_>, make: Option<u32>, links: &mut u32) -> io::Result<Self> {
        let name = match to {
            Component::RootDir => return Self::top(self.is_known),
            Component::CurDir | Component::Prefix(_) => return Ok(self.clone()),
            Component::ParentDir => OsStr::new(".."),
            Component::Normal(name) => name,
        };
        match self.folder(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match make {
                Some(mode) => self.make_folder(name, mode),
                None => Err(error),
            },
            Err(error) if is_no_directory(&error) => {
                let Some(target) = self.read_link(name)? else { return Err(error) };
                let maker = self.stat(name)?.map(|stat| stat.st_uid);
                *links += 1;
                if *links > LINKS || !self.is_known || !maker.is_some_and(is_ours) {
                    return Err(self.refused(name, "is a link that somebody else could change"));
                }
                let mut at = self.clone();
                let mut ways = Vec::new();
                for component in target.components() {
                    at = at.step(component, make, links)?;
                    ways.push(at.access);
                }
                ways.pop();
                at.access = ways.into_iter().fold(at.access, Access::through);
                Ok(at)
            }
            other => other,
        }
    }

    /// Opens a directory in it, which is no link.
    pub(crate) fn folder(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = name.as_ref();
        let handle = openat(&self.handle, name, DIRECTORY, Mode::empty())?;
        Self::new(handle, self.path.join(name), self.is_known)
    }

    /// Opens the directory of `path` in it, and gives the last part. No part of it is a link.
    pub(crate) fn below(&self, path: &Path) -> io::Result<(Self, OsString)> {
        self.down(path, |at, name| at.folder(name))
    }

    /// The same, with those that are missing made, of the caller alone.
    pub(crate) fn make_below(&self, path: &Path) -> io::Result<(Self, OsString)> {
        self.down(path, |at, name| at.make_folder(name, 0o700))
    }

    fn down(
        &self,
        path: &Path,
        step: impl Fn(&Self, &OsStr) -> io::Result<Self>,
    ) -> io::Result<(Self, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut at = self.clone();
        for component in path.parent().into_iter().flat_map(Path::components) {
            match component {
                Component::Normal(name) => at = step(&at, name)?,
                Component::CurDir => {}
                _ => return Err(io::ErrorKind::InvalidFilename.into()),
            }
        }
        Ok((at, name.to_owned()))
    }

    /// Opens a directory in it, made with `mode` where there is none.
    pub(crate) fn make_folder(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Self> {
        let name = name.as_ref();
        match mkdirat(&self.handle, name, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => self.folder(name),
            Err(error) => Err(error.into()),
            Ok(()) => {
                let mut made = self.folder(name)?;
                made.set_access(Access { mode, ..made.access })?;
                made.access.mode = mode;
                Ok(made)
            }
        }
    }

    /// Passes where it is root's or the caller's, and nobody else may write there.
    pub(crate) fn check_ours(&self) -> io::Result<()> {
        match is_ours(self.access.user) && self.access.mode & 0o022 == 0 {
            true => Ok(()),
            false => Err(self.refused(OsStr::new(""), "can be changed by others")),
        }
    }

    /// Whether root or the caller decide what is on the way to it, and it is theirs.
    pub(crate) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Who gets into it, as far as they came to it.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Gives it to whom `access` names. Where the system does not let the caller, it stays the
    /// caller's, and nobody gets in who would not otherwise.
    pub(crate) fn set_access(&self, access: Access) -> io::Result<()> {
        let Access { user, group, mut mode } = access;
        let handle = self.listed()?;
        if self.access.user != user || self.access.group != group {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            if fchown(&handle, Some(user), Some(group)).is_err()
                && fchown(&handle, None, Some(group)).is_err()
            {
                mode &= !0o070 | (mode & 0o007) << 3;
            }
        }
        if fstat(&handle)?.st_uid == Uid::effective().as_raw() {
            mode |= 0o700;
        }
        Ok(fchmod(&handle, Mode::from_bits_truncate(mode))?)
    }

    /// What is in it, in no order.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.listed()?)?.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// What something in it is, where it is there: a link is a link.
    pub(crate) fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Option<FileStat>> {
        match fstatat(&self.handle, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a name in it leads to.
    pub(crate) fn leads_to(&self, name: impl AsRef<OsStr>) -> io::Result<FileStat> {
        Ok(fstatat(&self.handle, name.as_ref(), AtFlags::empty())?)
    }

    /// Where a link in it leads; none where there is no link.
    pub(crate) fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<Option<PathBuf>> {
        match readlinkat(&self.handle, name.as_ref()) {
            Ok(target) => Ok(Some(target.into())),
            Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file in it to read. Anything else is refused, and nothing waits.
    pub(crate) fn file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = name.as_ref();
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.handle, name, flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(self.refused(name, "is no regular file")),
        }
    }

    /// All of a regular file in it.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>) -> io::Result<Vec<u8>> {
        let mut file = self.file(name)?;
        let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Makes a file that has its owner and mode before it has contents.
    pub(crate) fn write(
        &self,
        name: impl AsRef<OsStr>,
        contents: &[u8],
        mode: u32,
        owner: Owner,
    ) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let only_own = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(openat(&self.handle, name.as_ref(), flags, only_own)?);
        if owner != Owner::default() {
            std::os::unix::fs::fchown(&file, owner.user, owner.group)?;
        }
        // After the owner: changing that takes bits away, and so did the umask.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(contents)
    }

    /// Opens a regular file in it to add to, made where there is none.
    pub(crate) fn append(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        let name = name.as_ref();
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW;
        let flags = flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.handle, name, flags, Mode::from_bits_truncate(mode))?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(self.refused(name, "is no regular file")),
        }
    }

    /// Opens a file in it that is locked, the caller's alone.
    pub(crate) fn lock_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let file = self.append(name, 0o600)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    /// The same regular file under another name as well: a link, and where that cannot be, a copy
    /// with the same mode that belongs to `owner`.
    pub(crate) fn share(
        &self,
        name: &OsStr,
        to: &Self,
        new: &OsStr,
        owner: Owner,
    ) -> io::Result<()> {
        let Some(stat) = self.stat(name)? else { return Err(io::ErrorKind::NotFound.into()) };
        if !is_a(&stat, SFlag::S_IFREG) {
            return Err(io::ErrorKind::NotFound.into());
        }
        match linkat(&self.handle, name, &to.handle, new, AtFlags::empty()) {
            Ok(()) => Ok(()),
            // Another file system, too many links, or a file that belongs to somebody else.
            Err(_) => {
                let mut file = self.file(name)?;
                let mode = file.metadata()?.permissions().mode() & 0o7777;
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                to.write(new, &bytes, mode, owner)
            }
        }
    }

    /// A link to what is under another name, whatever it is: a link too is linked to, not followed.
    pub(crate) fn link_same(&self, name: &OsStr, new: &OsStr) -> io::Result<()> {
        Ok(linkat(&self.handle, name, &self.handle, new, AtFlags::empty())?)
    }

    /// Makes something beside `name` and moves it there, in place of whatever file is there.
    pub(crate) fn replace(
        &self,
        name: &OsStr,
        make: impl FnOnce(&OsStr) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(".holdfast");
        self.remove(&temporary)?;
        let done = make(&temporary).and_then(|()| self.rename(&temporary, name));
        // Also of two names of one file, which a move leaves as they are.
        let _ = self.remove(&temporary);
        done
    }

    /// Makes `name` a link to `target`, in place of whatever file is there, at once. `check` looks
    /// at the new link before it counts.
    pub(crate) fn link(
        &self,
        name: &OsStr,
        target: &Path,
        check: impl FnOnce(&OsStr) -> io::Result<()>,
    ) -> io::Result<()> {
        self.replace(name, |temporary| {
            symlinkat(target, &self.handle, temporary)?;
            check(temporary)
        })
    }

    /// Gives something in it another name.
    pub(crate) fn rename(&self, name: impl AsRef<OsStr>, new: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(renameat(&self.handle, name.as_ref(), &self.handle, new.as_ref())?)
    }

    /// Removes a file or link, when there is one.
    pub(crate) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        match unlinkat(&self.handle, name.as_ref(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a directory with all that is in it, when there is one. No link in it is followed.
    pub(crate) fn remove_tree(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.remove_down(name.as_ref(), DEEPEST)
    }

    fn remove_down(&self, name: &OsStr, depth: u32) -> io::Result<()> {
        match unlinkat(&self.handle, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) if depth > 0 => {}
            Err(error) => return Err(error.into()),
        }
        let folder = self.folder(name)?;
        for inner in folder.names()? {
            folder.remove_down(&inner, depth - 1)?;
        }
        Ok(unlinkat(&self.handle, name, UnlinkatFlags::RemoveDir)?)
    }

    /// A handle that can be listed and changed: the one it is held by only leads there.
    fn listed(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(openat(&self.handle, ".", flags, Mode::empty())?)
    }

    fn refused(&self, name: &OsStr, why: &str) -> io::Error {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        let text = format!("{} {why}", path.display());
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    }
}

/// Reading a directory is not needed to find something in it, and may not be allowed.
const DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Whether something is root's or the caller's.
pub(crate) fn is_ours(user: u32) -> bool {
    user == 0 || user == Uid::effective().as_raw()
}

/// Whether `stat` is of that kind.
pub(crate) fn is_a(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

fn is_no_directory(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOTDIR | Errno::ELOOP))
}

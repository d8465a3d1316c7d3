//! Unix sockets to listen on, made where others may own the directory.
//!
//! Between making a socket and giving it its mode, whoever owns the directory can put something else
//! in its place, such as a link to a file of root's. So mode and owner are given to what a handle
//! holds, once it is seen to be the socket that was made here.
//!
//! A dead socket is looked at and replaced by one process at a time, so that of two that start at once
//! neither takes the other's.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat, geteuid};

/// Who may reach a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Its mode, such as `0o600`.
    pub mode: u32,
    /// Its owner; none leaves it to the process's own user.
    pub user: Option<u32>,
    /// Its group, likewise.
    pub group: Option<u32>,
}

/// Why a Unix socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// A process listens on the file already.
    #[error("another process listens on {}", .0.display())]
    InUse(PathBuf),
    /// A file of another kind is in the way.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Somebody put something else where the socket was made.
    #[error("{} was replaced while it was made: somebody else may write to its directory", .0.display())]
    Replaced(PathBuf),
    /// The system refuses.
    #[error("listen on {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Listens on the file `path`, in place of a dead socket. The listener does not block.
///
/// Until `access` holds, the process's umask is what keeps others out.
///
/// # Errors
/// Something else is there, or the system refuses.
pub fn unix(path: &Path, access: Access) -> Result<UnixListener, UnixError> {
    let failed = |source| UnixError::Io { path: path.to_owned(), source };
    let _turn =
        Turn::take(path).map_err(failed)?.ok_or_else(|| UnixError::InUse(path.to_owned()))?;
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(UnixError::NotASocket(path.to_owned()));
        }
        Ok(_) => {
            if is_alive(path).map_err(failed)? {
                return Err(UnixError::InUse(path.to_owned()));
            }
            fs::remove_file(path).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let made = made_here(path)?;
    allow(&made, access).map_err(failed)?;
    Ok(listener)
}

/// How long another process may be at the same place, which takes it no time.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(5);

/// The turn to look at what is at a path, and to put a socket there: the lock of a file beside it,
/// which is there for as long.
struct Turn {
    file: PathBuf,
    _lock: Flock<File>,
}

impl Turn {
    /// None: others do not come to an end.
    fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let file = PathBuf::from(name);
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let options = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        let begun = Instant::now();
        loop {
            let lock = options.open(&file)?;
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                // Whoever had it before may have removed it meanwhile: then the file is another.
                Ok(lock) if is_at(&file, &lock)? => return Ok(Some(Self { file, _lock: lock })),
                Ok(_) | Err((_, Errno::EWOULDBLOCK)) => {}
                Err((_, error)) => return Err(error.into()),
            }
            if begun.elapsed() >= PATIENCE {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Whether `path` leads to what is open.
fn is_at(path: &Path, open: &File) -> io::Result<bool> {
    let open = open.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a process has the socket at `path`: also one of another kind than ours, or one whose
/// process takes no connections just now, which does not keep us waiting.
fn is_alive(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(true),
        Err(Errno::ECONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A handle of the socket that was just made at `path`.
fn made_here(path: &Path) -> Result<OwnedFd, UnixError> {
    let failed = |error: nix::Error| UnixError::Io { path: path.to_owned(), source: error.into() };
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = open(path, flags, Mode::empty()).map_err(failed)?;
    let status = fstat(&handle).map_err(failed)?;
    let is_socket = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK;
    // A second link would be somebody else's way to a socket of ours from elsewhere.
    if is_socket && status.st_uid == geteuid().as_raw() && status.st_nlink == 1 {
        Ok(handle)
    } else {
        Err(UnixError::Replaced(path.to_owned()))
    }
}

/// Gives what `handle` holds its owner and mode.
fn allow(handle: &OwnedFd, access: Access) -> io::Result<()> {
    let (user, group) = (access.user.map(Uid::from_raw), access.group.map(Gid::from_raw));
    fchownat(handle, "", user, group, AtFlags::AT_EMPTY_PATH)?;
    // The kernel's name for the handle: it leads to what is held, wherever that was moved.
    let held = format!("/proc/self/fd/{}", handle.as_raw_fd());
    fs::set_permissions(held, fs::Permissions::from_mode(access.mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::sync::Barrier;

    use super::*;

    const ACCESS: Access = Access { mode: 0o660, user: None, group: None };

    #[test]
    fn a_socket_gets_its_mode_and_takes_the_place_of_a_dead_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        for _ in 0..2 {
            let listener = unix(&path, ACCESS).unwrap();
            let status = fs::symlink_metadata(&path).unwrap();
            assert_eq!(status.mode() & 0o7777, 0o660);
            UnixStream::connect(&path).unwrap();
            assert!(matches!(unix(&path, ACCESS), Err(UnixError::InUse(_))));
            drop(listener);
        }
        if geteuid().is_root() {
            unix(&path, Access { mode: 0o600, user: Some(65534), group: Some(65533) }).unwrap();
            let status = fs::symlink_metadata(&path).unwrap();
            assert_eq!((status.uid(), status.gid()), (65534, 65533));
        }
    }

    #[test]
    fn of_those_that_start_at_once_one_has_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let path = folder.path().join(round.to_string());
            drop(UnixListener::bind(&path).unwrap());
            let start = Barrier::new(4);
            let each = || {
                start.wait();
                unix(&path, ACCESS)
            };
            let outcomes: Vec<_> = thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(each));
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let (have, others): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
            let refused = others.iter().all(|outcome| matches!(outcome, Err(UnixError::InUse(_))));
            assert!(have.len() == 1 && refused, "{have:?} {others:?}");
            UnixStream::connect(&path).unwrap();
            assert!(!folder.path().join(format!("{round}.lock")).exists());
        }
    }

    #[test]
    fn a_socket_that_somebody_has_is_left_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let (other, busy) = (folder.path().join("other"), folder.path().join("busy"));
        let _datagrams = UnixDatagram::bind(&other).unwrap();
        // Nobody takes its connections: as many wait as may.
        let address = UnixAddr::new(&busy).unwrap();
        let full = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
        nix::sys::socket::bind(full.as_raw_fd(), &address).unwrap();
        nix::sys::socket::listen(&full, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let _waiting = UnixStream::connect(&busy).unwrap();
        for path in [other, busy] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let asked = path.clone();
            thread::spawn(move || sender.send(unix(&asked, ACCESS).map(drop)));
            let answer = receiver.recv_timeout(Duration::from_secs(30));
            assert!(matches!(answer, Ok(Err(UnixError::InUse(_)))), "{path:?}: {answer:?}");
            assert!(fs::symlink_metadata(&path).is_ok(), "{path:?}");
        }
        // A dead one of another kind is in nobody's way.
        let dead = folder.path().join("dead");
        drop(UnixDatagram::bind(&dead).unwrap());
        unix(&dead, ACCESS).unwrap();
    }

    #[test]
    fn what_is_no_socket_of_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert!(matches!(unix(path, ACCESS), Err(UnixError::NotASocket(_))), "{path:?}");
            // As if it had been put there in place of the socket that was made.
            assert!(matches!(made_here(path), Err(UnixError::Replaced(_))), "{path:?}");
        }
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        let socket = folder.path().join("socket");
        let _listener = unix(&socket, ACCESS).unwrap();
        fs::hard_link(&socket, folder.path().join("other")).unwrap();
        assert!(matches!(made_here(&socket), Err(UnixError::Replaced(_))));
    }
}

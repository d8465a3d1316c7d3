//! The socket that workloads connect to.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use holdfast_listen::{Access, UnixError};
use tokio::net::UnixListener;

use super::caller::{Connection, Places};

/// What the kernel has room for, with the byte that ends the path.
const LONGEST_PATH: usize = 107;
/// How long to wait where the kernel has no descriptor to give.
const PAUSE: Duration = Duration::from_millis(50);
/// Connections in all, and of one user.
const CONNECTIONS: (usize, usize) = (32_768, 16_384);
/// A connection is a socket and a pidfd.
const DESCRIPTORS_EACH: usize = 2;
/// Descriptors that are kept for other things.
const DESCRIPTORS_ELSE: usize = 256;

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The path of a Unix socket is short.
    #[error("{} is {length} bytes long; the path of a socket has at most {LONGEST_PATH}", .path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length, in bytes.
        length: usize,
    },
    /// The directory is not there and cannot be made.
    #[error("make the directory {} of the agent's socket", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// A file of another kind is in the way.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// A process listens there already.
    #[error("another process listens on {}", .0.display())]
    InUse(PathBuf),
    /// What was passed on is no Unix socket that takes connections.
    #[error("listen on the socket that was passed on to this process")]
    Inherited(#[source] io::Error),
    /// The socket cannot be made there.
    #[error("listen on {}", .0.display())]
    Bind(PathBuf, #[source] io::Error),
}

/// A socket that goes when this value does, unless somebody else made it.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: Option<PathBuf>,
}

impl Socket {
    /// Listens on a path; whoever `mode` lets write may connect.
    pub(super) fn bind(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let own = || path.to_owned();
        let length = path.as_os_str().len();
        if length > LONGEST_PATH {
            return Err(ListenError::TooLong { path: own(), length });
        }
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
            made.map_err(|error| ListenError::Directory(directory.to_owned(), error))?;
        }
        let access = Access { mode, user: None, group: None };
        let listener = holdfast_listen::unix(path, access).map_err(|error| match error {
            UnixError::InUse(path) => ListenError::InUse(path),
            UnixError::NotASocket(path) => ListenError::NotASocket(path),
            UnixError::Io { path, source } => ListenError::Bind(path, source),
            other @ UnixError::Replaced(_) => ListenError::Bind(own(), io::Error::other(other)),
        })?;
        let listener = UnixListener::from_std(listener);
        let listener = listener.map_err(|error| ListenError::Bind(own(), error))?;
        Ok(Self { listener, path: Some(own()) })
    }

    /// Takes over a socket that somebody else listens on for this process, such as systemd. Its
    /// path, and who may connect, are theirs to say.
    pub(super) fn inherited(descriptor: OwnedFd) -> Result<Self, ListenError> {
        use nix::sys::socket::{getsockopt, sockopt};
        let is_listening = getsockopt(&descriptor, sockopt::AcceptConn);
        let is_listening = is_listening.map_err(|error| ListenError::Inherited(error.into()))?;
        let listener = std::os::unix::net::UnixListener::from(descriptor);
        let adopted = listener.local_addr().and_then(|_| {
            if !is_listening {
                return Err(io::Error::other("nobody listens on it"));
            }
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        let listener = adopted.map_err(ListenError::Inherited)?;
        Ok(Self { listener, path: None })
    }

    /// The connections that come, as many as there are places for.
    pub(super) fn connections(self) -> impl Stream<Item = io::Result<Connection>> {
        let places = places();
        stream::unfold((self, places), |(socket, places)| async move {
            let connection = socket.accept(&places).await;
            Some((Ok(connection), (socket, places)))
        })
    }

    async fn accept(&self, places: &Arc<Places>) -> Connection {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let user = stream.peer_cred().map_or(u32::MAX, |credentials| credentials.uid());
            // Without a place the connection is closed at once.
            match places.take(user) {
                Some(place) => return Connection::new(stream, place),
                None => tracing::warn!(user, "too many connections"),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// As many connections as this process may have descriptors for.
fn places() -> Arc<Places> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, hard)| {
        // The low limit is for programs that use select.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        if raised { hard } else { soft }
    });
    let descriptors = usize::try_from(limit).unwrap_or(usize::MAX);
    let room = descriptors.saturating_sub(DESCRIPTORS_ELSE) / DESCRIPTORS_EACH;
    let in_all = CONNECTIONS.0.min(room).max(16);
    Places::new(in_all, CONNECTIONS.1.min(in_all - in_all / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_the_way_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/agent.sock");
        let socket = Socket::bind(&path, 0o777).unwrap();
        assert!(matches!(Socket::bind(&path, 0o777), Err(ListenError::InUse(_))));
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        assert!(matches!(Socket::bind(&path, 0o777), Err(ListenError::NotASocket(_))));
        // A socket that nobody listens on any more.
        fs::remove_file(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        Socket::bind(&path, 0o777).unwrap();
        let long = directory.path().join("a".repeat(100));
        let error = Socket::bind(&long, 0o777).unwrap_err().to_string();
        assert!(error.contains("has at most 107"), "{error}");
        let error = Socket::bind(Path::new("/proc/none/agent.sock"), 0o777).unwrap_err();
        assert!(matches!(error, ListenError::Directory(..)), "{error}");
        let error = Socket::bind(Path::new("/proc/agent.sock"), 0o777).unwrap_err();
        assert!(matches!(error, ListenError::Bind(..)), "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_was_passed_on_stays_when_the_agent_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let socket = Socket::inherited(listener.try_clone().unwrap().into()).unwrap();
        drop(std::os::unix::net::UnixStream::connect(&path).unwrap());
        drop(socket);
        assert!(path.exists());
        // Neither a file nor a connection nor a socket of another family will do.
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let tcp = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        for descriptor in [OwnedFd::from(one), tcp.into(), file.into()] {
            let error = Socket::inherited(descriptor).unwrap_err();
            assert!(matches!(error, ListenError::Inherited(_)), "{error}");
        }
    }
}

//! Sockets: bound here, or bound by whoever started this process and passed on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_listen::{Access, UnixError};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::inherited::Inherited;

/// How many connections the kernel keeps waiting.
const BACKLOG: u32 = 1024;

/// Where a listener gets its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketSettings {
    /// Binds this address. Port 0 takes any.
    Tcp(SocketAddr),
    /// Makes a socket file, in place of a dead one.
    Unix {
        /// The file.
        path: PathBuf,
        /// Its mode, such as `0o600`.
        mode: u32,
    },
    /// Takes the socket of this name in `LISTEN_FDNAMES`.
    Inherited(String),
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    /// The path is what to remove at the end; none for an inherited socket.
    Unix(UnixListener, Option<PathBuf>),
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, not of this machine, or not allowed.
    #[error("listen on {address}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket file cannot be listened on.
    #[error(transparent)]
    Unix(#[from] UnixError),
    /// No socket of that name was passed on.
    #[error("no socket named {name:?} was passed on (there are: {})", present.join(", "))]
    NotInherited {
        /// The name.
        name: String,
        /// The names that there are.
        present: Vec<String>,
    },
    /// The socket that was passed on cannot be listened on.
    #[error("use the inherited socket {name:?}")]
    Inherited {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Binds what `settings` say.
pub(super) fn bind(
    settings: &SocketSettings,
    inherited: &mut Inherited,
) -> Result<Socket, BindError> {
    match settings {
        SocketSettings::Tcp(address) => bind_tcp(*address)
            .map(Socket::Tcp)
            .map_err(|source| BindError::Tcp { address: *address, source }),
        SocketSettings::Unix { path, mode } => bind_unix(path, *mode),
        SocketSettings::Inherited(name) => {
            let Some(fd) = inherited.take(name) else {
                let present = inherited.names();
                return Err(BindError::NotInherited { name: name.clone(), present });
            };
            adopt(fd).map_err(|source| BindError::Inherited { name: name.clone(), source })
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the old connections' ends to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_unix(path: &Path, mode: u32) -> Result<Socket, BindError> {
    let listener = holdfast_listen::unix(path, Access { mode, user: None, group: None })?;
    let failed = |source| BindError::Unix(UnixError::Io { path: path.to_owned(), source });
    let listener = UnixListener::from_std(listener).map_err(failed)?;
    Ok(Socket::Unix(listener, Some(path.to_owned())))
}

/// Makes a listener of a socket that listens already.
fn adopt(fd: OwnedFd) -> io::Result<Socket> {
    use std::os::fd::AsRawFd;
    let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    match address.family() {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => {
            let listener = std::net::TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Socket::Tcp)
        }
        Some(AddressFamily::Unix) => {
            let listener = std::os::unix::net::UnixListener::from(fd);
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener).map(|listener| Socket::Unix(listener, None))
        }
        _ => Err(io::Error::other("it is neither a TCP nor a Unix socket")),
    }
}

/// How long a full table of descriptors is left to empty before the next try.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

//! Ports: taken by whom, and which are free.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context, bail};
use tokio::net::TcpSocket;

/// Listens on the address that is written down in `key`, for a part that takes the socket over; with
/// port 0, on the port that was picked in an earlier run, or else on a free one.
///
/// # Errors
/// The port is taken, in one sentence that says by whom.
pub(crate) fn bind(listen: SocketAddr, earlier: u16, key: &str) -> anyhow::Result<TcpListener> {
    claim(listen, earlier, key, TcpListener::bind)
}

/// The same for a part that makes its own socket, as PostgreSQL and OpenBao do. What comes back does
/// not listen. While it is there the port is given to nobody who asks for any, and whoever asks for
/// this one must do it as servers do, with `SO_REUSEADDR`.
///
/// # Errors
/// As above.
pub(crate) fn reserve(listen: SocketAddr, earlier: u16, key: &str) -> anyhow::Result<TcpSocket> {
    claim(listen, earlier, key, |address| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    })
}

fn claim<S>(
    listen: SocketAddr,
    earlier: u16,
    key: &str,
    make: impl Fn(SocketAddr) -> io::Result<S>,
) -> anyhow::Result<S> {
    if listen.port() == 0 {
        let again = SocketAddr::new(listen.ip(), earlier);
        let made = make(again).or_else(|_| make(listen));
        return made.with_context(|| format!("listen on {listen} ({key})"));
    }
    exactly(listen, key, make)
}

fn exactly<S>(
    address: SocketAddr,
    key: &str,
    make: impl Fn(SocketAddr) -> io::Result<S>,
) -> anyhow::Result<S> {
    match make(address) {
        Ok(made) => Ok(made),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = holder(address).map_or_else(String::new, |holder| format!(" by {holder}"));
            bail!(
                "{address} is taken{holder}; stop that, or set {key} to another port (0 takes a free one)"
            )
        }
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            bail!("this machine has no address {}; change {key}", address.ip())
        }
        Err(error) => Err(error).with_context(|| format!("listen on {address} ({key})")),
    }
}

/// Who listens there, such as `nginx (pid 812)`.
fn holder(address: SocketAddr) -> Option<String> {
    let table = match address.ip() {
        IpAddr::V4(_) => "/proc/net/tcp",
        IpAddr::V6(_) => "/proc/net/tcp6",
    };
    let inode = listening_inode(&fs::read_to_string(table).ok()?, address.port())?;
    let socket = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<i32>() else { continue };
        // Unreadable for processes of other users, unless we are root.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |entry: fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
        };
        if descriptors.flatten().any(holds) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inode of the socket in state LISTEN (0A) on `port`, in the kernel's table.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (_, own) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == "0A" && u16::from_str_radix(own, 16).ok()? == port;
        listens.then(|| fields.get(9)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{Shutdown, shutdown};

    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = bind(address, 0, "vault.listen").unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.contains(&format!("(pid {pid})")), "{error}");
        assert!(error.contains("set vault.listen to another port"), "{error}");
    }

    #[test]
    fn a_reserved_port_is_for_whoever_listens_as_servers_do() {
        let reserved = reserve("127.0.0.1:0".parse().unwrap(), 0, "k").unwrap();
        let address = reserved.local_addr().unwrap();
        let stranger = TcpSocket::new_v4().unwrap();
        stranger.set_reuseaddr(false).unwrap();
        assert_eq!(stranger.bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // A part that is started again finds it as it was.
        for _ in 0..2 {
            let part = TcpListener::bind(address).unwrap();
            let error = reserve(address, 0, "postgres.listen").unwrap_err().to_string();
            assert!(error.contains("set postgres.listen to another port"), "{error}");
            end(&part);
        }
    }

    #[test]
    fn a_picked_port_is_kept_while_it_is_free() {
        let any = "127.0.0.1:0".parse().unwrap();
        let port = |earlier| {
            let listener = bind(any, earlier, "k").unwrap();
            let port = listener.local_addr().unwrap().port();
            end(&listener);
            port
        };
        let first = port(0);
        let taken = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), first)).unwrap();
        assert_ne!(port(first), first);
        end(&taken);
        assert_eq!(port(first), first);
    }

    /// Listens no longer. Closing it would not do: a process that another test starts just now has
    /// it open as well until it executes.
    fn end(listener: &TcpListener) {
        shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
    }
}

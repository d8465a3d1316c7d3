//! What the agent's process says of itself, as services say it to systemd: `READY=1` once it runs, and
//! `RELOADING=1` with `MONOTONIC_USEC=` before it reads its files anew.
//!
//! That number is what makes it an acknowledgement. Two signals may become one, and a `READY=1` that
//! was on its way when a signal was sent is about the files before. One that follows a reload which
//! began after the flip is not.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, setsockopt, sockopt::PassCred,
};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, close, getpgid};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tracing::{debug, warn};

/// The socket's name in the agent's own directory.
const SOCKET: &str = "notify.sock";
/// The longest that is listened to.
const LONGEST: usize = 4096;
/// So many descriptors can come along with what is said.
///
/// Source: unix(7), `SCM_MAX_FD`.
const DESCRIPTORS: usize = 253;

/// Where the process says it.
#[derive(Debug)]
pub struct ReadySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

/// The last time that a process was ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ready {
    /// The process, or what leads its group.
    pid: i32,
    /// When what it is done with began, in microseconds of the monotonic clock; 0 for its start.
    began: u64,
}

/// Waits for a process to say that it is ready.
#[derive(Debug, Clone)]
pub struct Wait {
    /// What is said.
    pub said: watch::Receiver<Ready>,
    /// By whom.
    pub pid: i32,
    /// What it is done with must have begun by then: see [`now`]; 0 for its start.
    pub since: u64,
}

impl ReadySocket {
    /// Makes it, in a directory that is the agent's alone.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn bind(directory: &Path) -> io::Result<Self> {
        let path = std::path::absolute(directory.join(SOCKET))?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        setsockopt(&socket, PassCred, &true)?;
        Ok(Self { socket, path })
    }

    /// What the process finds it by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Listens until nobody wants to know.
    pub async fn listen(self, said: watch::Sender<Ready>) {
        // Of the process that reloads, and when it began to.
        let mut reloading: Option<Ready> = None;
        loop {
            let (sender, text) = tokio::select! {
                () = said.closed() => break,
                heard = self.receive() => match heard {
                    Ok(heard) => heard,
                    Err(error) => {
                        warn!(%error, "hear what the process says of itself");
                        break;
                    }
                },
            };
            // Whatever it started may speak for it.
            let Ok(pid) = getpgid(Some(Pid::from_raw(sender))) else {
                debug!(sender, "who said something is gone");
                continue;
            };
            let pid = pid.as_raw();
            let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            if value("RELOADING=") == Some("1") {
                let began = value("MONOTONIC_USEC=").and_then(|began| began.parse().ok());
                reloading = began.map(|began| Ready { pid, began });
            }
            if value("READY=") == Some("1") {
                let reload = reloading.take().filter(|reload| reload.pid == pid);
                said.send_replace(reload.unwrap_or(Ready { pid, began: 0 }));
            }
        }
        let _ = std::fs::remove_file(&self.path);
    }

    /// Who says what.
    async fn receive(&self) -> io::Result<(i32, String)> {
        loop {
            let mut bytes = [0; LONGEST];
            let heard = self.socket.async_io(Interest::READABLE, || {
                // Room for all that can come: an answer that is cut short would not say who spoke.
                let mut control =
                    nix::cmsg_space!(nix::sys::socket::UnixCredentials, [RawFd; DESCRIPTORS]);
                let mut parts = [IoSliceMut::new(&mut bytes)];
                let socket = self.socket.as_raw_fd();
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
                let message = recvmsg::<UnixAddr>(socket, &mut parts, Some(&mut control), flags)?;
                let mut sender = None;
                for found in message.cmsgs()? {
                    match found {
                        ControlMessageOwned::ScmCredentials(who) => sender = Some(who.pid()),
                        // For systemd to keep; or a barrier, which waits until it is closed.
                        ControlMessageOwned::ScmRights(descriptors) => {
                            descriptors.into_iter().for_each(|one| _ = close(one));
                        }
                        _ => {}
                    }
                }
                let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
                Ok((sender.filter(|_| whole), message.bytes))
            });
            let (sender, length) = heard.await?;
            if let (Some(sender), Ok(text)) = (sender, std::str::from_utf8(&bytes[..length])) {
                return Ok((sender, text.to_owned()));
            }
        }
    }
}

impl Wait {
    /// Comes back once it is.
    pub(super) async fn until_ready(mut self) {
        let (pid, since) = (self.pid, self.since);
        let is_ready = |ready: &Ready| ready.pid == pid && ready.began >= since;
        if self.said.wait_for(is_ready).await.is_err() {
            // Nobody listens any more.
            std::future::pending::<()>().await;
        }
    }
}

/// The monotonic clock's microseconds.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(u64::MAX, |now| {
        let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000) + u64::try_from(now.tv_nsec()).unwrap_or(0) / 1_000
    })
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::unix::net::UnixDatagram as Plain;
    use std::time::Duration;

    use nix::sys::socket::{ControlMessage, sendmsg};

    use super::*;

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
    }

    #[tokio::test]
    async fn a_reload_counts_that_began_after_it_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = ReadySocket::bind(folder.path()).unwrap();
        let path = socket.path().to_owned();
        let (say, said) = watch::channel(Ready::default());
        let listening = tokio::spawn(socket.listen(say));
        let pid = getpgid(None).unwrap().as_raw();
        let other = Plain::unbound().unwrap();
        let send = |text: &str| {
            // The datagram that is too long still fits into the socket.
            other.send_to(text.as_bytes(), &path).unwrap();
        };
        let wait = |pid, since| Wait { said: said.clone(), pid, since }.until_ready();

        send("STATUS=starting");
        send(&"x".repeat(LONGEST + 1));
        send("READY=1\nSTATUS=up");
        soon(wait(pid, 0)).await;

        let asked = now();
        // What was on its way, what does not say since when, and what began before.
        for text in [
            "READY=1".to_owned(),
            "RELOADING=1".to_owned(),
            "READY=1".to_owned(),
            format!("RELOADING=1\nMONOTONIC_USEC={}", asked - 1),
            "READY=1".to_owned(),
        ] {
            send(&text);
        }
        let mut seen = said.clone();
        let last = |ready: &Ready| ready.began == asked - 1;
        drop(soon(seen.wait_for(last)).await.unwrap());
        let at_once = |wait| tokio::time::timeout(Duration::ZERO, wait);
        assert!(at_once(wait(pid, asked)).await.is_err());

        send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now()));
        send("READY=1");
        soon(wait(pid, asked)).await;
        assert!(at_once(wait(pid + 1, 0)).await.is_err(), "of another process");

        // What comes along is not kept, and keeps nobody from being heard.
        let (ours, theirs) = Plain::pair().unwrap();
        for count in [1, DESCRIPTORS] {
            let descriptors = vec![theirs.as_raw_fd(); count];
            let along = [ControlMessage::ScmRights(&descriptors)];
            let text = [IoSlice::new(b"BARRIER=1")];
            let to = UnixAddr::new(&path).unwrap();
            sendmsg(other.as_raw_fd(), &text, &along, MsgFlags::empty(), Some(&to)).unwrap();
        }
        drop(theirs);
        let asked = now();
        send(&format!("RELOADING=1\nMONOTONIC_USEC={asked}"));
        send("READY=1");
        soon(wait(pid, asked)).await;
        let closed = ours.send(b"anybody?").unwrap_err().kind();
        assert_eq!(closed, io::ErrorKind::ConnectionRefused);

        drop(said);
        drop(seen);
        soon(listening).await.unwrap();
        assert!(!path.exists());
    }
}

//! A process that is held on to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{AttestError, process};

/// A process, held by a descriptor of its own (pidfd): the number of a process that ended goes to
/// another one, the descriptor never does.
#[derive(Debug, Clone)]
pub struct Peer {
    pid: i32,
    pidfd: Arc<OwnedFd>,
}

impl Peer {
    /// The process at the other end of a connected Unix socket, as it was when it connected.
    ///
    /// # Errors
    /// It has ended, or is in a PID namespace that cannot be seen from here.
    pub fn of(socket: &impl AsFd) -> Result<Self, AttestError> {
        let credentials = getsockopt(socket, sockopt::PeerCredentials)
            .map_err(|error| AttestError::Unreadable("the credentials", error.into()))?;
        let pid = credentials.pid();
        if pid <= 0 {
            let error = io::Error::new(io::ErrorKind::NotFound, "no process ID in this namespace");
            return Err(AttestError::Unreadable("the credentials", error));
        }
        // Linux 6.5 and later; the kernel took it when the process connected.
        if let Ok(pidfd) = getsockopt(socket, sockopt::PeerPidfd) {
            return Ok(Self { pid, pidfd: Arc::new(pidfd) });
        }
        // Before that the number has to do. It may have gone to another process already; one that
        // started later than this look began is found out, as is another user's.
        let start = process::start_time(pid).map_err(|_| AttestError::Gone)?;
        let peer = Self::open(pid)?;
        let is_same = process::start_time(pid).is_ok_and(|again| again == start)
            && process::owner(pid)
                .is_ok_and(|owner| owner == (credentials.uid(), credentials.gid()));
        if is_same { Ok(peer) } else { Err(AttestError::Gone) }
    }

    /// The process that has this number now.
    ///
    /// # Errors
    /// There is none.
    pub fn open(pid: i32) -> Result<Self, AttestError> {
        let number = Pid::from_raw(pid).ok_or(AttestError::Gone)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|_| AttestError::Gone)?;
        Ok(Self { pid, pidfd: Arc::new(pidfd) })
    }

    /// The process that `pidfd` holds, whose number is looked up.
    ///
    /// # Errors
    /// It has ended, or the descriptor is of another kind.
    pub fn from_pidfd(pidfd: OwnedFd) -> Result<Self, AttestError> {
        let pid = process::pid_of(&pidfd).map_err(|_| AttestError::Gone)?;
        let peer = Self { pid, pidfd: Arc::new(pidfd) };
        peer.alive()?;
        Ok(peer)
    }

    /// As if its number had gone to another process.
    #[cfg(test)]
    pub(super) fn renumbered(self, pid: i32) -> Self {
        Self { pid, ..self }
    }

    /// Its number, which is its own as long as it lives.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// `Gone`: it has.
    pub fn alive(&self) -> Result<(), AttestError> {
        let mut descriptors = [PollFd::new(&*self.pidfd, PollFlags::IN)];
        match poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) => Ok(()),
            // Readable, or nothing certain: then it counts as gone.
            _ => Err(AttestError::Gone),
        }
    }

    /// Something that tells when it ends.
    ///
    /// # Errors
    /// The runtime cannot watch another descriptor.
    #[expect(unsafe_code, reason = "a descriptor is watched by its number")]
    pub fn watch(&self) -> io::Result<Ending> {
        let copy = self.pidfd.try_clone()?;
        // SAFETY: the copy is open, and goes into the `AsyncFd`: it stays open, and the same one, as
        // long as that lives. An `OwnedFd` gives the same number every time.
        let watched = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) };
        Ok(Ending(watched?))
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Tells when a process ends.
#[derive(Debug)]
pub struct Ending(AsyncFd<OwnedFd>);

impl Ending {
    /// Returns once the process has ended.
    pub async fn wait(&self) {
        // A descriptor that cannot be watched counts as ended.
        let _ = self.0.readable().await;
    }
}

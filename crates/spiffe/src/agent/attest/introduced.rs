//! The children of a supervisor, which introduces each before it executes.
//!
//! The way is a socket pair that the agent inherits, never a named socket, so nobody else can
//! introduce anybody. A message is a JSON object with a pidfd. The supervisor sends it before the
//! child executes, and the agent reads all that is waiting before it looks at a process: so no
//! answer is needed. After a restart of the agent the supervisor introduces all of them again.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::executable::Program;
use super::peer::Peer;
use super::process::{self, Facts};

/// The longest message, in bytes.
const MESSAGE: usize = 16 * 1024;
/// So many services; a supervisor has dozens.
const SERVICES: usize = 4096;
/// How far up a chain of parents is followed.
const GENERATIONS: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    service: String,
    executable: PathBuf,
    #[serde(default)]
    cgroup: Option<String>,
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Introducer(OwnedFd);

impl Introducer {
    /// Both ends: one to keep, one for an agent to inherit. Both are closed on exec.
    ///
    /// # Errors
    /// The kernel gives none.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    /// Says that the process that `pidfd` holds is `service`, what it will execute, and which cgroup
    /// holds it and its descendants alone, if one does (by its path in the unified hierarchy). Call
    /// it before the process executes.
    ///
    /// # Errors
    /// The agent is gone; or, as `WouldBlock`, it has yet to read what was sent before.
    pub fn introduce(
        &self,
        service: &str,
        pidfd: &impl AsFd,
        executable: &Path,
        cgroup: Option<&str>,
    ) -> io::Result<()> {
        let (service, executable) = (service.to_owned(), executable.to_owned());
        let message = Message { service, executable, cgroup: cgroup.map(str::to_owned) };
        let text = serde_json::to_vec(&message)?;
        let descriptors = [pidfd.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, flags)?;
        Ok(())
    }
}

/// The agent's end, and who was introduced so far.
#[derive(Debug)]
pub struct Introductions {
    socket: OwnedFd,
    known: Vec<Introduced>,
    /// The program of the agent, and of the supervisor that started it.
    own: Option<Program>,
}

#[derive(Debug)]
struct Introduced {
    service: String,
    process: Peer,
    executable: PathBuf,
    /// A cgroup that nothing else is in.
    cgroup: Option<String>,
}

impl Introductions {
    /// Takes the inherited end of the socket pair.
    pub fn new(socket: OwnedFd) -> Self {
        let own = i32::try_from(std::process::id()).ok().and_then(|pid| Program::of(pid).ok());
        Self { socket, known: Vec::new(), own }
    }

    /// The service that a process is, or descends from.
    pub(super) fn service(&mut self, peer: &Peer, facts: &Facts) -> Option<String> {
        self.read();
        let known = self.known.iter().find(|known| known.process.pid() == peer.pid());
        if let Some(known) = known {
            // Before it executes it is the supervisor's own program, and nobody yet. What a program
            // executes in its place is the service, as is what it starts.
            let is_service = facts.executable == known.executable
                || self.own.is_none_or(|own| facts.program != own);
            return is_service.then(|| known.service.clone());
        }
        let by_cgroup = self.known.iter().find(|known| {
            known.cgroup.as_ref().is_some_and(|cgroup| is_within(&facts.cgroup, cgroup))
        });
        by_cgroup.or_else(|| self.ancestor(peer)).map(|known| known.service.clone())
    }

    /// The process that was introduced as this service last.
    pub(super) fn named(&mut self, service: &str) -> Option<Peer> {
        self.read();
        self.known
            .iter()
            .rev()
            .find(|known| known.service == service)
            .map(|known| known.process.clone())
    }

    /// The process of this number, where that very process was introduced and lives.
    pub(super) fn process(&mut self, pid: i32) -> Option<Peer> {
        self.read();
        self.known.iter().map(|known| &known.process).find(|process| process.pid() == pid).cloned()
    }

    /// The agent's end once more, to wait on.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(super) fn socket(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// Reads what the supervisor has sent, and forgets who has ended. Says whether more can come.
    pub(super) fn read(&mut self) -> bool {
        let mut is_open = true;
        while let Some((message, process)) = self.receive(&mut is_open) {
            self.known.retain(|known| known.process.pid() != process.pid());
            if self.known.len() >= SERVICES {
                tracing::warn!("more than {SERVICES} services were introduced");
                continue;
            }
            let Message { service, executable, cgroup } = message;
            self.known.push(Introduced { service, process, executable, cgroup });
        }
        self.known.retain(|known| known.process.alive().is_ok());
        is_open
    }

    /// The next message that is waiting; what is no introduction is passed over.
    fn receive(&self, is_open: &mut bool) -> Option<(Message, Peer)> {
        loop {
            let mut text = vec![0; MESSAGE];
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut text)];
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let length = match recvmsg(&self.socket, &mut parts, &mut control, flags) {
                Ok(received) => received.bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return None,
                Err(_) => {
                    *is_open = false;
                    return None;
                }
            };
            let mut descriptors = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    descriptors.extend(received);
                }
            }
            if length == 0 && descriptors.is_empty() {
                // The supervisor is gone.
                *is_open = false;
                return None;
            }
            let message: Option<Message> = serde_json::from_slice(&text[..length]).ok();
            let process = descriptors.pop().and_then(|pidfd| Peer::from_pidfd(pidfd).ok());
            match (message, process) {
                (Some(message), Some(process)) => return Some((message, process)),
                // The child has ended already.
                (Some(_), None) => {}
                (None, _) => tracing::warn!("the supervisor sent what is no introduction"),
            }
        }
    }

    /// Whom a living chain of parents leads to.
    fn ancestor(&self, peer: &Peer) -> Option<&Introduced> {
        let mut child = peer.clone();
        for _ in 0..GENERATIONS {
            let pid = process::parent(child.pid()).ok().filter(|pid| *pid > 1)?;
            let parent = Peer::open(pid).ok()?;
            // Held on to now: it was, and is, the parent of a child that lives.
            if process::parent(child.pid()).ok() != Some(pid) || child.alive().is_err() {
                return None;
            }
            if let Some(known) = self.known.iter().find(|known| known.process.pid() == pid) {
                return parent.alive().is_ok().then_some(known);
            }
            child = parent;
        }
        None
    }
}

/// Whether a cgroup is `outer`, or inside of it. The root holds nothing alone.
fn is_within(cgroup: &str, outer: &str) -> bool {
    outer.len() > 1
        && cgroup.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

//! Who asks: the kernel's word on the process at the other end of a socket, as selectors.
//!
//! [`Peer`] holds on to the process itself, not to its number, which another process may get a moment
//! later. All that is read about it is read between two looks that it still lives, and between two
//! looks at what it executes, so that the facts are of one program of one process.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;

use crate::Selector;

mod executable;
mod introduced;
mod kubernetes;
mod peer;
mod process;
mod unit;
mod unix;

pub use executable::Program;
pub use introduced::{Introducer, Introductions};
pub use kubernetes::{Kubelet, KubeletError, KubeletSettings};
pub use peer::{Ending, Peer};

use executable::Hashes;
use kubernetes::Seen;
use process::Facts;

/// Why nothing certain is known of a process.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// It ended while it was looked at, or before.
    #[error("the process ended")]
    Gone,
    /// It began to execute another program while it was looked at.
    #[error("the process began to execute another program")]
    Executed,
    /// The kernel does not show it: it is in a PID namespace that the agent does not see, or is
    /// protected from it.
    #[error("read {0} of the process")]
    Unreadable(&'static str, #[source] io::Error),
    /// It is in a pod, and nobody says which.
    #[error("the kubelet does not say which pod the process is in")]
    NoPods,
}

/// What is known of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The process, by its number at that moment.
    pub pid: i32,
    /// All that was seen.
    pub selectors: BTreeSet<Selector>,
    /// Where its program lies, by its own view of the file system.
    pub executable: PathBuf,
    /// Which program that is.
    pub program: Program,
    /// What could not be told, and why, for whoever asks for the reason of a refusal.
    pub gaps: Vec<String>,
}

/// How many attempts a process gets that executes other programs while it is looked at.
const ATTEMPTS: usize = 3;

/// Sees processes.
#[derive(Debug)]
pub struct Attestor {
    hashes: Hashes,
    introduced: Option<Mutex<Introductions>>,
    kubelet: Option<Kubelet>,
}

impl Attestor {
    /// An attestor that knows the children of a supervisor from `introduced`, and pods from
    /// `kubelet`.
    pub fn new(introduced: Option<Introductions>, kubelet: Option<Kubelet>) -> Arc<Self> {
        let introduced = introduced.map(Mutex::new);
        Arc::new(Self { hashes: Hashes::default(), introduced, kubelet })
    }

    /// Waits until all is there that a look at `peer` needs and that is not on this machine's disk:
    /// its pod may not be listed yet.
    pub async fn prepare(&self, peer: &Peer) {
        if let Some(kubelet) = &self.kubelet {
            kubelet.list(peer).await;
        }
    }

    /// All that is to be known of `peer`, with its program's SHA-256 where `with_hash` asks for it.
    ///
    /// It reads files and the system's user and group lists: call it where blocking is allowed.
    ///
    /// # Errors
    /// See [`AttestError`].
    pub fn attest(&self, peer: &Peer, with_hash: bool) -> Result<Attested, AttestError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.look(peer, with_hash) {
                Err(AttestError::Executed) if attempts < ATTEMPTS => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether a process that was seen as `attested` still lives and executes the same program.
    ///
    /// # Errors
    /// `Gone` and `Executed` where it does not.
    pub fn is_still(&self, peer: &Peer, attested: &Attested) -> Result<(), AttestError> {
        let program = Program::of(peer.pid())
            .map_err(|error| unless_gone(peer, AttestError::Unreadable("the executable", error)))?;
        peer.alive()?;
        if program == attested.program { Ok(()) } else { Err(AttestError::Executed) }
    }

    fn look(&self, peer: &Peer, with_hash: bool) -> Result<Attested, AttestError> {
        peer.alive()?;
        let pid = peer.pid();
        let facts = Facts::read(pid).map_err(|error| unless_gone(peer, error))?;
        let mut gaps = Vec::new();
        let mut selectors = unix::selectors(&facts, &mut gaps);
        if with_hash {
            match self.hashes.of(pid, facts.program) {
                Ok(hash) => {
                    selectors.insert(Selector::new("unix", format!("sha256:{hash}")));
                }
                Err(error) => gaps.push(format!("unix:sha256: {error}")),
            }
        }
        selectors.extend(unit::selectors(&facts.cgroup));
        match self.kubelet.as_ref().map(|kubelet| kubelet.seen(&facts.cgroups)) {
            None | Some(Seen::NoPod) => {}
            Some(Seen::Selectors(seen)) => selectors.extend(seen),
            Some(Seen::Gap(gap)) => gaps.push(gap),
            Some(Seen::Silent) => return Err(unless_gone(peer, AttestError::NoPods)),
        }
        let service = self.introduced.as_ref().and_then(|introduced| {
            let mut introduced = introduced.lock().unwrap_or_else(PoisonError::into_inner);
            introduced.service(peer, &facts)
        });
        if let Some(service) = service {
            selectors.insert(Selector::of_service(&service));
        }
        let again = Program::of(pid)
            .map_err(|error| unless_gone(peer, AttestError::Unreadable("the executable", error)))?;
        // Last of all: that it lives now says that it was this process all the time.
        peer.alive()?;
        if again != facts.program {
            return Err(AttestError::Executed);
        }
        let Facts { executable, program, .. } = facts;
        Ok(Attested { pid, selectors, executable, program, gaps })
    }

    /// Reads introductions as they come, so that a supervisor never has to wait for somebody to ask.
    /// Returns when no more can come.
    pub(super) async fn keep_reading(&self) {
        let Some(introduced) = &self.introduced else { return };
        let lock = || introduced.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = lock().socket().and_then(|socket| {
            let socket = UnixDatagram::from(socket);
            socket.set_nonblocking(true)?;
            tokio::net::UnixDatagram::from_std(socket)
        });
        let socket = match watched {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "introductions are read when somebody asks");
                return;
            }
        };
        let mut is_open = true;
        while is_open && socket.readable().await.is_ok() {
            // What it waits for next is what comes after this look.
            let _ = socket.try_io(Interest::READABLE, || {
                is_open = lock().read();
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            });
        }
    }

    /// The process of this number, where a supervisor introduced that very process and it lives.
    pub fn introduced(&self, pid: i32) -> Option<Peer> {
        let introduced = self.introduced.as_ref()?;
        introduced.lock().unwrap_or_else(PoisonError::into_inner).process(pid)
    }

    /// The process that a supervisor introduced as this service, while it lives.
    pub fn service(&self, name: &str) -> Option<Peer> {
        let introduced = self.introduced.as_ref()?;
        introduced.lock().unwrap_or_else(PoisonError::into_inner).named(name)
    }
}

/// A failure to read means nothing where the process is gone.
fn unless_gone(peer: &Peer, error: AttestError) -> AttestError {
    if peer.alive().is_err() { AttestError::Gone } else { error }
}

fn proc_path(pid: i32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

#[cfg(test)]
mod tests;

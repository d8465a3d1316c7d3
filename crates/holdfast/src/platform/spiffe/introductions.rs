//! Children, introduced to the agent of this machine: each before it executes, and all of them again
//! after a restart of the agent.

use std::cell::RefCell;
use std::io::{ErrorKind, PipeWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use holdfast_spiffe::agent::attest::{Introducer, Peer};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::super::cgroup;

/// How soon an agent that did not take an introduction is given it again.
const AGAIN: Duration = Duration::from_millis(20);
/// No child waits longer for an agent that does not read: it starts, and is introduced when it can be.
const LONGEST_HOLD: Duration = Duration::from_secs(2);

/// Who was, and is to be, introduced.
#[derive(Debug, Clone)]
pub(crate) struct Introductions(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    introducer: Introducer,
    children: RefCell<Vec<Child>>,
    news: Notify,
}

#[derive(Debug)]
struct Child {
    service: String,
    process: Peer,
    executable: PathBuf,
    cgroup: Option<String>,
    is_told: bool,
    /// Lets it go on.
    held: Option<(PipeWriter, Instant)>,
}

impl Introductions {
    /// Both ends: the supervisor's, and the one that every agent inherits.
    pub(crate) fn new() -> anyhow::Result<(Self, OwnedFd)> {
        let (introducer, agents) = Introducer::pair().context("make a pair of sockets")?;
        let inner = Inner { introducer, children: RefCell::default(), news: Notify::new() };
        Ok((Self(Rc::new(inner)), agents))
    }

    /// Introduces the process `pid` as `service`; it waits until a byte comes through `held`.
    pub(crate) fn add(
        &self,
        service: &str,
        pid: Option<i32>,
        program: &Path,
        cgroup: Option<&Path>,
        held: PipeWriter,
    ) {
        // One that is gone already needs no introduction.
        let Some(process) = pid.and_then(|pid| Peer::open(pid).ok()) else { return };
        self.0.children.borrow_mut().push(Child {
            service: service.to_owned(),
            process,
            executable: program.canonicalize().unwrap_or_else(|_| program.to_owned()),
            cgroup: cgroup.and_then(cgroup::name),
            is_told: false,
            held: Some((held, Instant::now())),
        });
        self.0.news.notify_one();
    }

    /// An agent is about to start, and knows nobody.
    pub(crate) fn all_again(&self) {
        for child in self.0.children.borrow_mut().iter_mut() {
            child.is_told = false;
        }
        self.0.news.notify_one();
    }

    /// Introduces until it is dropped.
    pub(crate) async fn run(self) {
        loop {
            match self.tell() {
                true => self.0.news.notified().await,
                // The agent reads as soon as it is there.
                false => drop(timeout(AGAIN, self.0.news.notified()).await),
            }
        }
    }

    /// Tells the agent of all it was not told of; says whether that is done.
    fn tell(&self) -> bool {
        let mut children = self.0.children.borrow_mut();
        children.retain(|child| child.process.alive().is_ok());
        let mut is_done = true;
        for child in children.iter_mut() {
            if !child.is_told && is_done {
                let Child { service, process, executable, cgroup, .. } = &*child;
                let introducer = &self.0.introducer;
                match introducer.introduce(service, process, executable, cgroup.as_deref()) {
                    Ok(()) => child.is_told = true,
                    Err(error) => {
                        is_done = false;
                        if error.kind() != ErrorKind::WouldBlock {
                            tracing::warn!(%error, service, "introduce a service");
                        }
                    }
                }
            }
            let waited = child.held.as_ref().map(|(_, since)| since.elapsed());
            let may_go = child.is_told || waited.is_some_and(|waited| waited >= LONGEST_HOLD);
            if let Some((mut held, _)) = child.held.take_if(|_| may_go) {
                // A single byte fits into an empty pipe; nobody reads it who has died.
                let _ = held.write_all(b"1");
            }
        }
        is_done
    }
}

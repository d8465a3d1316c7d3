//! The step between the agent and its process: our own program, run again, which settles what a new
//! process has to settle about itself and then becomes the process.
//!
//! The kernel sends the death signal when the *thread* that forked ends, so processes are started by
//! a thread of their own that lives as long as they do.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::mpsc;
use std::thread;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, execvp, getppid};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A program that ends in [`become_process`], and what it is told before `--parent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: OsString,
    /// What it is called.
    pub name: OsString,
    /// The first of its arguments.
    pub arguments: Vec<OsString>,
}

/// Why a process did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The agent ended meanwhile.
    #[error("the agent is gone")]
    Orphaned,
    /// A word of the command cannot be passed on.
    #[error("the command holds a NUL")]
    Nul,
    /// The system refused something.
    #[error("{what}")]
    System {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: nix::Error,
    },
}

/// Becomes the process of the agent `parent`: it is killed when that ends however it ends, and its
/// memory is not dumped unless `core_dumps` says so.
///
/// # Errors
/// It cannot be that process. It does not come back otherwise.
pub fn become_process(
    parent: i32,
    core_dumps: bool,
    command: &[OsString],
) -> Result<Infallible, LaunchError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| LaunchError::System { what, source }
    };
    let words: Result<Vec<_>, _> =
        command.iter().map(|word| CString::new(word.as_bytes())).collect();
    let words = words.map_err(|_| LaunchError::Nul)?;
    let program = words.first().ok_or(LaunchError::Nul)?;
    let (soft, hard) = match core_dumps {
        false => (0, 0),
        true => {
            let (_, hard) = getrlimit(Resource::RLIMIT_CORE).map_err(failed("read a limit"))?;
            (hard, hard)
        }
    };
    setrlimit(Resource::RLIMIT_CORE, soft, hard).map_err(failed("limit core dumps"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("follow the agent into death"))?;
    // It may have ended before that was said.
    if getppid() != Pid::from_raw(parent) {
        return Err(LaunchError::Orphaned);
    }
    execvp(program, &words).map_err(failed(&format!("execute {}", command[0].display())))
}

/// A thread that starts processes, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Starter(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Starter {
    /// Starts the thread, in the caller's runtime.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn new() -> io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        let runtime = Handle::current();
        thread::Builder::new().name("process".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            while let Ok(job) = received.recv() {
                job();
            }
        })?;
        Ok(Self(jobs))
    }

    /// Does `start` on the thread. None if the thread has ended.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        start: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let job = Box::new(move || drop(done.send(start())));
        self.0.send(job).ok()?;
        outcome.await.ok()
    }
}

//! How a part's process comes to be.
//!
//! The supervisor does not run a part directly. It runs itself again as `holdfast launch ...`,
//! which settles everything that a new process must settle about itself (whom it runs as, what
//! happens to it when the supervisor dies, what it may not do), and then becomes the part. Between
//! a fork and an exec only a few system calls are safe; after the exec of our own program
//! everything is.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{PipeWriter, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Pid, Uid, dup2_stdin, execve, fexecve, getpid, getppid, setgid, setgroups, setpgid, setuid,
};

use super::account::Account;
use super::confinement::Confinement;
use super::spiffe::Introductions;

/// Names the state directory in the environment of every process of a platform, so that what a
/// killed supervisor left behind can be told from everything else.
pub(crate) const MARK: &str = "HOLDFAST_STATE";

/// A process to start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Its environment. Never a secret.
    pub(crate) environment: Vec<(String, OsString)>,
    /// Secrets in its environment, which it reads itself: the directory of its files, and the names.
    pub(crate) secrets: Option<(PathBuf, Vec<String>)>,
    pub(crate) directory: PathBuf,
    pub(crate) account: Account,
    /// What it gets when the supervisor dies.
    pub(crate) death_signal: Signal,
    /// Descriptors that it keeps, under the numbers they have here.
    pub(crate) inherit: Vec<OwnedFd>,
    /// A listening socket with its name, which the process finds as descriptor 3, as systemd's
    /// `LISTEN_FDS` has it.
    pub(crate) socket: Option<(&'static str, OwnedFd)>,
    /// What it may open; nothing when it may open whatever its user may.
    pub(crate) confinement: Option<Confinement>,
    /// The cgroup that it enters.
    pub(crate) cgroup: Option<PathBuf>,
    /// As whom it is introduced to the SPIFFE agent, before it executes its program.
    pub(crate) introduced: Option<(String, Introductions)>,
}

/// `holdfast launch`: not for people.
#[derive(Debug, clap::Args)]
pub(crate) struct LaunchArguments {
    /// The supervisor.
    #[arg(long)]
    parent: i32,
    #[arg(long)]
    uid: u32,
    #[arg(long)]
    gid: u32,
    /// By number.
    #[arg(long)]
    death_signal: i32,
    /// Standard input is a listening socket, which is to become descriptor 3.
    #[arg(long)]
    socket: bool,
    /// Where the files are that have secrets for its environment.
    #[arg(long)]
    secrets: Option<PathBuf>,
    /// The name of a variable that is one.
    #[arg(long)]
    secret: Vec<String>,
    /// Standard input says when to go on: when who this is was told.
    #[arg(long, conflicts_with = "socket")]
    held: bool,
    /// The cgroup to enter.
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// It may open nothing but the system's programs and settings, and what follows.
    #[arg(long)]
    confine: bool,
    /// May be read as well.
    #[arg(long)]
    readable: Vec<PathBuf>,
    /// May be read and written as well.
    #[arg(long)]
    writable: Vec<PathBuf>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Launch {
    /// Starts it. What it prints goes to `output`, or to nobody.
    ///
    /// Call it from the supervisor's main thread alone: the kernel sends the death signal when the
    /// *thread* that forked ends, and inherited descriptors are opened for the next child, whose
    /// ever that is.
    pub(crate) fn start(
        &self,
        output: Option<PipeWriter>,
    ) -> anyhow::Result<tokio::process::Child> {
        let own = std::env::current_exe().context("find our own program")?;
        let mut command = tokio::process::Command::new(own);
        command.arg("launch").arg("--parent").arg(getpid().to_string());
        command.arg("--uid").arg(self.account.uid.to_string());
        command.arg("--gid").arg(self.account.gid.to_string());
        command.arg("--death-signal").arg((self.death_signal as i32).to_string());
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory).stdin(Stdio::null());
        if let Some((name, socket)) = &self.socket {
            command.arg("--socket").stdin(socket.try_clone()?);
            // Without LISTEN_PID: nobody knows it before the process exists.
            command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
        }
        if let Some((directory, names)) = &self.secrets {
            command.arg("--secrets").arg(directory);
            for name in names {
                command.arg("--secret").arg(name);
            }
        }
        let mut held = None;
        if self.introduced.is_some() {
            let (reader, writer) = std::io::pipe()?;
            command.arg("--held").stdin(reader);
            held = Some(writer);
        }
        if let Some(cgroup) = &self.cgroup {
            command.arg("--cgroup").arg(cgroup);
        }
        if let Some(confinement) = &self.confinement {
            command.arg("--confine");
            for path in &confinement.readable {
                command.arg("--readable").arg(path);
            }
            for path in &confinement.writable {
                command.arg("--writable").arg(path);
            }
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        match output {
            Some(output) => command.stdout(output.try_clone()?).stderr(output),
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        for fd in &self.inherit {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let child = command.spawn();
        for fd in &self.inherit {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let child = child.with_context(|| format!("start {}", self.program.display()))?;
        if let (Some((service, introductions)), Some(held)) = (&self.introduced, held) {
            // Nobody waited for it yet: its number is its own.
            let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
            introductions.add(service, pid, &self.program, self.cgroup.as_deref(), held);
        }
        Ok(child)
    }

    /// Runs it to its end and gives what it printed.
    ///
    /// # Errors
    /// It fails; with the last of what it printed.
    pub(crate) async fn run(&self) -> anyhow::Result<String> {
        let (reader, writer) = std::io::pipe()?;
        let mut child = self.start(Some(writer))?;
        let reader = tokio::task::spawn_blocking(move || std::io::read_to_string(reader));
        let (status, printed) = (child.wait().await?, reader.await??);
        if !status.success() {
            let lines: Vec<_> = printed.lines().rev().take(5).collect();
            let lines: Vec<_> = lines.into_iter().rev().collect();
            bail!("{} failed ({status}): {}", self.program.display(), lines.join("; "));
        }
        Ok(printed)
    }
}

impl LaunchArguments {
    /// Becomes the part. Returns only when that fails.
    pub(crate) fn run(&self) -> ExitCode {
        // Standard error is the part's log.
        match self.become_part() {
            Err(error) => eprintln!("holdfast launch: {error:#}"),
            Ok(never) => match never {},
        }
        ExitCode::from(127)
    }

    fn become_part(&self) -> anyhow::Result<std::convert::Infallible> {
        let [program, ..] = self.command.as_slice() else { bail!("nothing to run") };
        if self.socket {
            // First of all, while the number is free.
            place_socket()?;
        }
        if self.held {
            wait_until_introduced()?;
        }
        // Opened while the caller's rights are there: a service's uid may not be able to walk to
        // a program in somebody's home directory, and needs only to execute it.
        let file = File::open(program)
            .with_context(|| format!("open {}", std::path::Path::new(program).display()))?;
        let words = self.command.iter().map(|word| CString::new(word.as_bytes()));
        let arguments = words.collect::<Result<Vec<_>, _>>()?;
        let environment = std::env::vars_os()
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()));
        let mut environment = environment.collect::<Result<Vec<_>, _>>()?;

        setpgid(Pid::from_raw(0), Pid::from_raw(0)).context("leave the process group")?;
        umask(Mode::from_bits_truncate(0o077));
        setrlimit(Resource::RLIMIT_CORE, 0, 0).context("forbid core dumps")?;
        if let Some(cgroup) = &self.cgroup {
            super::cgroup::enter(cgroup)?;
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        if uid != Uid::effective() {
            let groups = match nix::unistd::User::from_uid(uid) {
                Ok(Some(user)) => {
                    nix::unistd::getgrouplist(&CString::new(user.name)?, gid).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            setgroups(&groups).context("drop the groups")?;
            setgid(gid).context("change the group")?;
            setuid(uid).context("change the user")?;
        }
        prctl::set_no_new_privs().context("forbid new privileges")?;
        if self.confine {
            Confinement::enter(&self.readable, &self.writable)?;
        }
        if let Some(directory) = &self.secrets {
            // As its user: who decides what is there is the service.
            let values = super::delivery::environment::read(directory, &self.secret)?;
            for (name, value) in self.secret.iter().zip(&values) {
                environment.push(CString::new([name.as_bytes(), b"=", value].concat())?);
            }
        }
        // After the change of user, which clears it.
        let signal = Signal::try_from(self.death_signal).context("the death signal")?;
        prctl::set_pdeathsig(signal).context("follow the supervisor into death")?;
        if getppid() != Pid::from_raw(self.parent) {
            bail!("the supervisor is dead");
        }
        match execve(&arguments[0], &arguments, &environment) {
            Err(Errno::EACCES) => fexecve(file.as_fd(), &arguments, &environment),
            other => other,
        }
        .with_context(|| format!("execute {}", std::path::Path::new(program).display()))
    }
}

/// Waits for the supervisor's word on standard input, which holds nothing after that.
fn wait_until_introduced() -> anyhow::Result<()> {
    let mut word = [0];
    // Nothing comes when the supervisor is dead.
    std::io::stdin().read_exact(&mut word).context("wait for the supervisor")?;
    dup2_stdin(File::open("/dev/null")?).context("close standard input")
}

/// Moves the socket from standard input to descriptor 3.
///
/// Standard input is the one descriptor beside output and error that Rust knows as open from the
/// start, so that nothing here has to vouch for a number.
fn place_socket() -> anyhow::Result<()> {
    const FIRST: i32 = 3;
    let stdin = std::io::stdin();
    // The lowest free number from 3 on; whatever this process opened so far is closed again.
    let placed = fcntl(stdin.as_fd(), FcntlArg::F_DUPFD(FIRST)).context("pass the socket on")?;
    if placed != FIRST {
        bail!("descriptor {FIRST} is taken: the socket would be {placed}");
    }
    dup2_stdin(File::open("/dev/null")?).context("close standard input")
}

//! The process that the agent runs: secrets in its environment, started anew when they change.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use holdfast_types::SecretString;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::command;
use super::former::Former;
use super::launch::Launcher;
use crate::config::{CommandEnvironment, ExecConfig};

/// The variable by which a service finds out where to say that it is ready, as systemd has it.
const READY_SOCKET: &str = "NOTIFY_SOCKET";
/// How long a process may take to end once it was told to.
const GRACE: Duration = Duration::from_secs(30);

/// A running process.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    pid: Pid,
}

/// How it is ended.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    /// What it is told first.
    pub signal: Signal,
    /// How long it may take then, before it is killed.
    pub patience: Duration,
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("start {program}: {source}")]
    Start {
        /// Which program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Where its output was to go cannot be written.
    #[error("open {}: {source}", path.display())]
    Output {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended(pub ExitStatus);

impl Ended {
    /// The code to end with in its place: its own, or as a shell has it, 128 and the signal.
    pub fn code(self) -> u8 {
        let code = self.0.code().or_else(|| self.0.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

/// What keeps a process from outliving its agent.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The step between; without it the process outlives an agent that is killed.
    pub launcher: Option<Launcher>,
    /// Tells the next agent of it.
    pub former: Former,
    /// Where it says that it is ready, if somebody waits for that. The agent's own, which it may have
    /// of systemd, is not for it.
    pub ready: Option<PathBuf>,
}

impl Guard {
    /// What is to be run so that `words` are.
    fn launch(&self, config: &ExecConfig, words: Vec<OsString>) -> Vec<OsString> {
        let Some(launcher) = &self.launcher else { return words };
        let mut all = vec![launcher.program.clone()];
        all.extend(launcher.arguments.iter().cloned());
        all.extend(["--parent".into(), std::process::id().to_string().into()]);
        if config.core_dumps {
            all.push("--core-dumps".into());
        }
        all.push("--".into());
        all.extend(words);
        all
    }
}

/// Says what is wrong with a program before there is a process, as far as that can be seen.
fn check_is_there(words: &[OsString]) -> Result<(), ChildError> {
    let [program, ..] = words else { return Ok(()) };
    let is_program = |path: &Path| {
        let executable = |found: fs::Metadata| found.is_file() && found.mode() & 0o111 != 0;
        fs::metadata(path).is_ok_and(executable)
    };
    let found = match Path::new(program).components().count() {
        1 if !program.as_encoded_bytes().contains(&b'/') => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
        }
        _ => is_program(Path::new(program)),
    };
    let failed = || ChildError::Start {
        program: program.display().to_string(),
        source: io::Error::new(io::ErrorKind::NotFound, "there is no such program"),
    };
    if found { Ok(()) } else { Err(failed()) }
}

impl Grace {
    /// As the operator wrote it.
    pub fn of(config: &ExecConfig) -> Self {
        Self { signal: config.restart_stop_signal, patience: GRACE }
    }
}

impl Child {
    /// Starts the process with `variables` in its environment beside the agent's own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        config: &ExecConfig,
        variables: &[(String, SecretString)],
        guard: &Guard,
    ) -> Result<Self, ChildError> {
        let words = command::words(&config.command);
        check_is_there(&words)?;
        let words = guard.launch(config, words);
        let mut command = command::prepare_words(&words, &CommandEnvironment::default());
        if let Some(launcher) = &guard.launcher {
            command.as_std_mut().arg0(&launcher.name);
        }
        let output = |path: &Option<PathBuf>| match path {
            None => Ok(Stdio::inherit()),
            Some(path) => OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(path)
                .map(Stdio::from)
                .map_err(|source| ChildError::Output { path: path.clone(), source }),
        };
        command.stdin(Stdio::inherit());
        command.stdout(output(&config.stdout)?).stderr(output(&config.stderr)?);
        let (mark, place) = guard.former.mark();
        command.env(mark, place).env_remove(READY_SOCKET);
        if let Some(path) = &guard.ready {
            command.env(READY_SOCKET, path);
        }
        command.envs(variables.iter().map(|(name, value)| (name, value.expose())));
        let failed = |source| ChildError::Start { program: config.command[0].clone(), source };
        let process = command.spawn().map_err(failed)?;
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        Ok(Self { process, pid })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Waits for its end. May be dropped while it waits.
    pub async fn wait(&mut self) -> Ended {
        match self.process.wait().await {
            Ok(status) => Ended(status),
            // Nobody else waits for it, so the system knows it.
            Err(_) => Ended(ExitStatus::from_raw(1 << 8)),
        }
    }

    /// Sends it a signal. One that has ended hears nothing.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    /// Ends it and all that it started.
    pub async fn stop(&mut self, grace: Grace) -> Ended {
        self.signal(grace.signal);
        if let Ok(ended) = tokio::time::timeout(grace.patience, self.wait()).await {
            // What it started and left.
            let _ = killpg(self.pid, Signal::SIGKILL);
            return ended;
        }
        let _ = killpg(self.pid, Signal::SIGKILL);
        self.wait().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RestartOn;

    fn exec(line: &str, output: PathBuf) -> ExecConfig {
        ExecConfig {
            command: vec![line.to_owned()],
            restart_on_secret_changes: RestartOn::Always,
            restart_stop_signal: Signal::SIGTERM,
            reload_signal: None,
            acknowledge: None,
            core_dumps: false,
            stdout: Some(output),
            stderr: None,
        }
    }

    fn start(
        config: &ExecConfig,
        variables: &[(String, SecretString)],
    ) -> Result<Child, ChildError> {
        let former = Former::of(Path::new("/nowhere"));
        Child::start(config, variables, &Guard { launcher: None, former, ready: None })
    }

    #[tokio::test]
    async fn a_process_has_its_variables_and_ends_as_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("output");
        let secret = |text: &str| vec![("PASSWORD".to_owned(), SecretString::from(text))];
        let config = exec("echo \"$PASSWORD\"; exit 7", output.clone());
        let mut child = start(&config, &secret("s3cret")).unwrap();
        assert_eq!(child.wait().await.code(), 7);
        assert_eq!(fs::read_to_string(&output).unwrap(), "s3cret\n");

        let grace = Grace { signal: Signal::SIGTERM, patience: Duration::from_secs(20) };
        let mut child = start(&exec("exec sleep 600", output.clone()), &[]).unwrap();
        assert_eq!(child.stop(grace).await.code(), 128 + 15);

        let impatient = Grace { patience: Duration::from_millis(100), ..grace };
        let stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        fs::remove_file(&output).unwrap();
        let mut child = start(&exec(stubborn, output.clone()), &[]).unwrap();
        while !fs::read_to_string(&output).unwrap().contains("ready") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(child.stop(impatient).await.code(), 128 + 9);

        let nowhere = exec("true", folder.path().join("no/where"));
        assert!(matches!(start(&nowhere, &[]), Err(ChildError::Output { .. })));
        for program in ["/no/such/program", "no-such-program"] {
            let mut missing = exec("", folder.path().join("output"));
            missing.command = vec![program.to_owned(), "x".to_owned()];
            assert!(matches!(start(&missing, &[]), Err(ChildError::Start { .. })), "{program}");
        }
    }
}

//! Runs a command to its end, within its time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

use super::GENERATION;
use crate::config::{CommandConfig, CommandEnvironment};

/// Why a command did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("start {program}: {source}")]
    Start {
        /// Which program.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It ended, but not well.
    #[error("{program} ended with {status}")]
    Failed {
        /// Which program.
        program: String,
        /// How.
        status: ExitStatus,
    },
    /// It took too long, and was ended.
    #[error("{program} took longer than {} s", timeout.as_secs_f64())]
    TimedOut {
        /// Which program.
        program: String,
        /// How long it was given.
        timeout: Duration,
    },
}

/// Runs `config` for a generation. What it prints goes where the agent prints.
///
/// # Errors
/// It could not be started, failed, or took too long.
pub async fn run(config: &CommandConfig, generation: u64) -> Result<(), CommandError> {
    let program = config.command[0].clone();
    let mut command = prepare(&config.command, &config.environment);
    command.env(GENERATION, generation.to_string());
    let failed = |source| CommandError::Start { program: program.clone(), source };
    let mut child = command.spawn().map_err(failed)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let status = match tokio::time::timeout(config.timeout, child.wait()).await {
        Ok(status) => status.map_err(failed)?,
        Err(_) => {
            let tell = |signal| group.map(|group| killpg(group, signal));
            let _ = tell(config.kill_signal);
            if tokio::time::timeout(config.kill_timeout, child.wait()).await.is_err() {
                let _ = tell(Signal::SIGKILL);
                let _ = child.wait().await;
            }
            return Err(CommandError::TimedOut { program, timeout: config.timeout });
        }
    };
    if status.success() { Ok(()) } else { Err(CommandError::Failed { program, status }) }
}

/// A command in a process group of its own.
fn prepare(command: &[String], environment: &CommandEnvironment) -> Command {
    prepare_words(&words(command), environment)
}

/// The words of a command: one word is a line for the shell.
pub(super) fn words(command: &[String]) -> Vec<OsString> {
    match command {
        [line] => ["sh", "-c", line].map(OsString::from).to_vec(),
        words => words.iter().map(OsString::from).collect(),
    }
}

/// The same of words that no shell is to look at.
pub(super) fn prepare_words(words: &[OsString], environment: &CommandEnvironment) -> Command {
    let (program, arguments) = match words {
        [program, arguments @ ..] => (program.as_os_str(), arguments),
        [] => (OsStr::new("true"), &[][..]),
    };
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command.env_clear().envs(environment.of(std::env::vars_os()));
    command
}

impl CommandEnvironment {
    /// What of the agent's own environment a command gets, and what in addition.
    pub(super) fn of(
        &self,
        own: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let any =
            |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        let passes = |name: &OsString| {
            let name = name.to_string_lossy();
            !self.pristine
                && (self.allowlist.is_empty() || any(&self.allowlist, &name))
                && !any(&self.denylist, &name)
        };
        let mut all: Vec<_> = own.filter(|(name, _)| passes(name)).collect();
        let custom = self.custom.iter().filter_map(|pair| pair.split_once('='));
        all.extend(custom.map(|(name, value)| (name.into(), value.into())));
        all
    }
}

/// Whether a pattern such as `APP_*` stands for a name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => match name.strip_prefix(start) {
            None => false,
            Some(tail) => {
                (0..=tail.len()).any(|at| tail.is_char_boundary(at) && matches(rest, &tail[at..]))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> CommandConfig {
        CommandConfig {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            timeout: Duration::from_secs(20),
            kill_signal: Signal::SIGTERM,
            kill_timeout: Duration::from_millis(50),
            environment: CommandEnvironment::default(),
        }
    }

    #[tokio::test]
    async fn commands_are_words_or_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let line = format!("printf '%s' \"$HOLDFAST_GENERATION\" > '{}'", file.display());
        run(&command(&[&line]), 7).await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "7");
        run(&command(&["test", "-s", file.to_str().unwrap()]), 7).await.unwrap();
        // Words are not looked at by a shell.
        assert!(run(&command(&["test", "-n", "$(true)"]), 1).await.is_ok());
        let error = run(&command(&["exit 3"]), 1).await.unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        let error = run(&command(&["/no/such/program", "x"]), 1).await.unwrap_err();
        assert!(matches!(error, CommandError::Start { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let line = format!("trap '' TERM; sleep 600 & echo $! > '{}'; wait; wait", file.display());
        let hangs = CommandConfig { timeout: Duration::from_millis(300), ..command(&[&line]) };
        let error = run(&hangs, 1).await.unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        // A zombie that nobody waits for counts as ended.
        while std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z"))
        {
            assert!(tokio::time::Instant::now() < deadline, "the child lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[test]
    fn environments_are_passed_on_by_pattern() {
        let own = || {
            let pairs = [("HOME", "/"), ("APP_A", "1"), ("APP_SECRET", "2")];
            pairs.into_iter().map(|(name, value)| (name.into(), value.into()))
        };
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        for (pristine, allow, deny, want) in [
            (false, &[][..], &[][..], "HOME APP_A APP_SECRET ADDED"),
            (true, &[], &[], "ADDED"),
            (false, &["APP_*"], &["*SECRET"], "APP_A ADDED"),
            (false, &[], &["APP*A", "HOME"], "APP_SECRET ADDED"),
        ] {
            let environment = CommandEnvironment {
                pristine,
                allowlist: strings(allow),
                denylist: strings(deny),
                custom: strings(&["ADDED=x=y", "no assignment"]),
            };
            let names: Vec<_> = environment.of(own()).into_iter().map(|(name, _)| name).collect();
            let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
            assert_eq!(names.join(" "), want);
        }
    }
}

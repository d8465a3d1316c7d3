//! Commands that the agent runs, and how their end is told.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_hcl::{Block, Problems, Settings};
use nix::sys::signal::Signal;

use super::value;

/// How long a template's command may take, as in consul-template.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command may take to end once it was told to.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an acknowledgement may take.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(60);

/// `exec { ... }` of a template: what is run once the file was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandConfig {
    /// One word: a line for `sh -c`. More: a program and its arguments. Never empty.
    pub command: Vec<String>,
    /// Default: 30 s.
    pub timeout: Duration,
    /// What it is told to end by, when it takes too long. Default: SIGINT.
    pub kill_signal: Signal,
    /// How long it may take to end then. Default: 30 s.
    pub kill_timeout: Duration,
    /// Its environment.
    pub environment: CommandEnvironment,
}

/// Which environment variables a command gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandEnvironment {
    /// None of the agent's own.
    pub pristine: bool,
    /// `NAME=value`, in addition.
    pub custom: Vec<String>,
    /// Patterns, such as `APP_*`, of the agent's own that are passed on. Empty: all.
    pub allowlist: Vec<String>,
    /// Patterns of those that are not.
    pub denylist: Vec<String>,
}

/// `notify { pid_file signal }`: a process that is told by a signal, and named by a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// The file that holds its id.
    pub pid_file: PathBuf,
    /// Default: SIGHUP.
    pub signal: Signal,
}

/// `acknowledge { ... }`: how a consumer says that it has taken up what was written. Until then
/// the generation before, and the credentials in it, stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgeConfig {
    /// What is waited for.
    pub by: Acknowledgement,
    /// How long. Default: 60 s.
    pub timeout: Duration,
}

/// What says that a consumer is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledgement {
    /// A command that ends with code 0. One word: a line for `sh -c`.
    Command(Vec<String>),
    /// A file whose text becomes the name of the generation.
    File(PathBuf),
    /// The process of the agent says `READY=1`, as services do to systemd; after a signal with
    /// `RELOADING=1` before it.
    Ready,
}

impl CommandConfig {
    /// `command` and `command_timeout` of a template, the old way to write it.
    pub(super) fn plain(command: Vec<String>, timeout: Option<Duration>) -> Self {
        Self {
            command,
            timeout: timeout.unwrap_or(TIMEOUT),
            kill_signal: Signal::SIGINT,
            kill_timeout: KILL_TIMEOUT,
            environment: CommandEnvironment::default(),
        }
    }

    /// None where it is switched off, or was reported.
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let enabled = settings.bool("enabled").unwrap_or(true);
        let command = words(&mut settings, "command");
        let this = Self {
            timeout: settings.duration("timeout").unwrap_or(TIMEOUT),
            kill_signal: value::signal(&mut settings, "kill_signal").unwrap_or(Signal::SIGINT),
            kill_timeout: settings.duration("kill_timeout").unwrap_or(KILL_TIMEOUT),
            environment: value::last_block(&mut settings, "env", CommandEnvironment::read)
                .unwrap_or_default(),
            command: command.unwrap_or_default(),
        };
        // Of a process that goes on running, which a template's command is not.
        settings.ignore("reload_signal");
        settings.ignore("splay");
        if this.command.is_empty() && enabled {
            settings.refuse("command", "is missing");
        }
        settings.finish();
        (enabled && !this.command.is_empty()).then_some(this)
    }
}

impl CommandEnvironment {
    fn read(block: &Block<'_>, problems: &mut Problems) -> Self {
        let mut settings = block.settings(problems);
        let mut list = |key| settings.strings(key).unwrap_or_default();
        let (mut allowlist, mut denylist) = (list("allowlist"), list("denylist"));
        allowlist.extend(list("whitelist"));
        denylist.extend(list("blacklist"));
        let custom = list("custom");
        let pristine = settings.bool("pristine").unwrap_or(false);
        settings.finish();
        Self { pristine, custom, allowlist, denylist }
    }
}

impl NotifyConfig {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let pid_file =
            value::required_path(&mut settings, "pid_file", "the file that holds the process's id");
        let signal = value::signal(&mut settings, "signal").unwrap_or(Signal::SIGHUP);
        settings.finish();
        Some(Self { pid_file: pid_file?, signal })
    }
}

impl AcknowledgeConfig {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let command = words(&mut settings, "command");
        let file = value::path(&mut settings, "file");
        let ready = settings.bool("ready").unwrap_or(false);
        let timeout = settings.duration("timeout").unwrap_or(ACKNOWLEDGE_TIMEOUT);
        let by = match (command, file, ready) {
            (Some(command), None, false) => Some(Acknowledgement::Command(command)),
            (None, Some(file), false) => Some(Acknowledgement::File(file)),
            (None, None, true) => Some(Acknowledgement::Ready),
            (None, None, false) => {
                let text = "needs a command, a file, or in exec ready = true";
                settings.problems().add(block.position, "acknowledge", text);
                None
            }
            _ => {
                let text = "takes one of command, file and ready";
                settings.problems().add(block.position, "acknowledge", text);
                None
            }
        };
        settings.finish();
        by.map(|by| Self { by, timeout })
    }
}

/// A command: a list of words, or one line for the shell. None where there is none.
pub(super) fn words(settings: &mut Settings<'_, '_>, key: &'static str) -> Option<Vec<String>> {
    settings.strings(key).filter(|words| words.iter().any(|word| !word.is_empty()))
}

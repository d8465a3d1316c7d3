//! `exec { ... }` and `env_template "NAME" { ... }`: a process that the agent runs, and secrets in
//! its environment.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_hcl::{Block, Problems};
use nix::sys::signal::Signal;

use super::command::words;
use super::{AcknowledgeConfig, TemplateText, value};

/// The process that the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecConfig {
    /// One word: a line for `sh -c`. More: a program and its arguments. Never empty.
    pub command: Vec<String>,
    /// When it is started anew. Default: when a secret in its environment changed.
    pub restart_on_secret_changes: RestartOn,
    /// What it is told to end by. Default: SIGTERM.
    pub restart_stop_signal: Signal,
    /// What it is sent when a file changed that was rendered for it. None: it is not told.
    pub reload_signal: Option<Signal>,
    /// How it says that it has taken up what changed.
    pub acknowledge: Option<AcknowledgeConfig>,
    /// Whether its memory may be dumped when it crashes, as far as the agent's own limit lets it.
    pub core_dumps: bool,
    /// Where its standard output goes; none for the agent's own.
    pub stdout: Option<PathBuf>,
    /// Where its standard error goes; none for the agent's own.
    pub stderr: Option<PathBuf>,
}

/// When a process is started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartOn {
    /// When a secret in its environment changed.
    Always,
    /// Only when it ended.
    Never,
}

/// An environment variable of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvTemplateConfig {
    /// Its name.
    pub variable: String,
    /// Its value.
    pub text: Arc<TemplateText>,
}

/// What a template may have that an environment variable may not.
const OF_FILES: [&str; 16] = [
    "acknowledge",
    "backup",
    "command",
    "command_timeout",
    "create_dest_dirs",
    "destination",
    "exec",
    "gid",
    "group",
    "notify",
    "perms",
    "reload_signal",
    "sandbox_path",
    "uid",
    "user",
    "wait",
];

impl ExecConfig {
    /// None where something is wrong that was reported.
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let command = words(&mut settings, "command");
        if command.is_none() {
            settings.problems().add(block.position, "exec.command", "is missing");
        }
        let restart = [("always", RestartOn::Always), ("never", RestartOn::Never)];
        let restart = value::word(&mut settings, "restart_on_secret_changes", &restart);
        let stop = value::signal(&mut settings, "restart_stop_signal");
        let reload_signal = value::signal(&mut settings, "reload_signal");
        let acknowledge = value::block(&mut settings, "acknowledge", AcknowledgeConfig::read);
        let core_dumps = settings.bool("core_dumps").unwrap_or(false);
        let stdout = value::path(&mut settings, "child_process_stdout");
        let stderr = value::path(&mut settings, "child_process_stderr");
        settings.finish();
        Some(Self {
            command: command?,
            restart_on_secret_changes: restart.unwrap_or(RestartOn::Always),
            restart_stop_signal: stop.unwrap_or(Signal::SIGTERM),
            reload_signal,
            acknowledge: acknowledge.flatten(),
            core_dumps,
            stdout,
            stderr,
        })
    }
}

impl EnvTemplateConfig {
    /// None where something is wrong that was reported.
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let text = TemplateText::read(block.position, &mut settings);
        for key in OF_FILES {
            if settings.is_set(key) {
                settings.refuse(key, "belongs to files, not to environment variables");
            }
            settings.ignore(key);
        }
        settings.finish();
        let [variable] = block.labels[..] else {
            let text = "expected the variable's name: env_template \"NAME\" { ... }";
            problems.add(block.position, "env_template", text);
            return None;
        };
        if variable.is_empty() || variable.contains(['=', '\0']) {
            problems.add(block.position, "env_template", "is no name of a variable");
            return None;
        }
        Some(Self { variable: variable.to_owned(), text: text?.into() })
    }
}

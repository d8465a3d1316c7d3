//! `holdfast process`: not for people. Between an agent and the process that it runs.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use holdfast_agent::consumer::{Launcher, become_process};

use super::chain;

/// What a shell says of a program that cannot be run.
const CANNOT_RUN: u8 = 126;

/// Becomes the process of an agent, which ends with the agent.
#[derive(Debug, Args)]
pub(crate) struct Process {
    /// The agent.
    #[arg(long)]
    parent: i32,
    /// Its memory may be dumped.
    #[arg(long)]
    core_dumps: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Process {
    /// Returns only when that fails.
    pub(crate) fn run(&self) -> ExitCode {
        match become_process(self.parent, self.core_dumps, &self.command) {
            Err(error) => eprintln!("holdfast: {}", chain(&error)),
            Ok(never) => match never {},
        }
        ExitCode::from(CANNOT_RUN)
    }
}

/// This program, also where its file was replaced meanwhile.
pub(super) fn launcher() -> Launcher {
    Launcher {
        program: "/proc/self/exe".into(),
        // Called by another name it is another command line.
        name: "holdfast".into(),
        arguments: vec!["process".into()],
    }
}

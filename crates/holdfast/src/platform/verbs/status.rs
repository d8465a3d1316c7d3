//! `holdfast status`.

use std::process::ExitCode;

use clap::ValueEnum;
use holdfast_types::{Clock, SystemClock};

use super::super::control::{self, Request};
use super::super::status;
use super::{Place, block_on};

/// `holdfast status`. Fails when something needs doing.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    place: Place,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let state = self.place.state()?;
        let answer: Option<status::Status> = block_on(control::ask(&state, &Request::Status))?;
        let found = match answer {
            Some(status) => status,
            None => status::without_supervisor(&state, state.record()?.as_ref()),
        };
        match self.output {
            Output::Table => print!("{}", found.text(SystemClock.now())),
            Output::Json => println!("{}", serde_json::to_string_pretty(&found)?),
        }
        Ok(if found.worst.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

//! `agent status`: how the agents of this machine are.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use holdfast_agent::status::sockets;
use holdfast_types::{Clock as _, SystemClock};

use crate::delivery;
use crate::vault::output::{Format, print_document, print_line};
use crate::vault::{Failure, Outcome, block_on, environment};

/// Show what the agents on this machine deliver, and how they are.
///
/// It asks the agents that the caller started; for root, all that root started. What most needs doing
/// comes first. Values of secrets are never shown.
///
/// Exit code: 0 where all is well, 1 where something is not, 2 where no agent answers.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault agent status -socket=/run/app/agent -output=json")]
pub(super) struct Status {
    /// Ask this agent alone: its socket, or the folder in which that is
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How to print: table, json or yaml [env: `BAO_FORMAT`] [default: table]
    #[arg(long, value_name = "FORMAT", alias = "format")]
    output: Option<String>,
}

impl Status {
    pub(super) fn run(&self) -> Outcome {
        let chosen = self.output.clone().or_else(|| environment::read("FORMAT"));
        let format = Format::parse(chosen.as_deref().unwrap_or_default())?;
        let sockets = match &self.socket {
            None => sockets(),
            Some(path) if path.is_dir() => vec![path.join("control.sock")],
            Some(path) => vec![path.clone()],
        };
        block_on(async {
            let (agents, silent) = delivery::ask(sockets).await;
            for why in &silent {
                anstream::eprintln!("{why}");
            }
            if agents.is_empty() {
                let text = "no agent answers; start one with: vault agent -config=FILE";
                return Err(Failure::Request(text.to_owned()));
            }
            match format {
                Format::Table => {
                    let now = SystemClock.now();
                    let texts: Vec<_> =
                        agents.iter().map(|agent| delivery::status::text(agent, now)).collect();
                    print_line(texts.join("\n\n").trim_end())?;
                }
                format => {
                    print_document(format, &agents)?;
                }
            }
            let ill = agents.iter().any(|agent| agent.worst().is_some());
            Ok(ExitCode::from(u8::from(ill)))
        })
    }
}

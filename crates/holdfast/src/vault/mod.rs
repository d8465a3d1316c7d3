//! `holdfast vault`, which is also `vault` and `bao`: the official client's command line.
//!
//! Commands, flags, output and exit codes are those of OpenBao's `bao`, so that scripts written
//! for it run. Help texts are our own.

mod argv;
mod connection;
mod environment;
mod json;
mod output;
mod secret;
mod status;
mod table;
mod token_file;
mod yaml;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Secrets: the command line of `vault` and `bao`, and their server.
#[derive(Debug, Parser)]
#[command(
    name = "vault",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_required = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Status),
}

/// How a command ends when it does not succeed. The text goes to stderr.
#[derive(Debug)]
enum Failure {
    /// Something on this side: usage, files, configuration. Exit code 1.
    Local(String),
    /// The server refused, or did not answer. Exit code 2.
    Server(String),
}

/// What a command gives back: its exit code, or how it failed.
type Outcome = Result<ExitCode, Failure>;

/// Runs the command line that follows `program`, such as `bao` or `holdfast vault`.
pub(crate) fn main(program: &'static str, arguments: &[OsString]) -> ExitCode {
    let command = Cli::command().bin_name(program);
    let arguments = match argv::normalise(&command, arguments) {
        Ok(arguments) => arguments,
        Err(problem) => return problem.report(command),
    };
    let parsed =
        command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => match block_on(run(cli.command)) {
            Ok(code) => code,
            Err(Failure::Local(text)) => report(&text, 1),
            Err(Failure::Server(text)) => report(&text, 2),
        },
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()))
        }
    }
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Status(command) => command.run().await,
    }
}

fn report(text: &str, code: u8) -> ExitCode {
    anstream::eprintln!("{text}");
    ExitCode::from(code)
}

/// Commands wait for one answer at a time: one thread is enough.
fn block_on(outcome: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Local(format!("start: {error}")))?
        .block_on(outcome)
}

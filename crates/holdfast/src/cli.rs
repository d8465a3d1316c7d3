//! The command line: which part runs, and how failures are told.
//!
//! A verb of its own is a variant of [`Command`] and a file. Everything after `vault` belongs to
//! [`crate::vault`], which reads its flags the way the official client does, and so with `spiffe`; called by the name
//! `vault` or `bao` the binary is that client.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{platform, spiffe, vault};

/// The foundation under a team's backend services, in one binary.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Platform(platform::verbs::Verb),
    Why(Box<crate::why::Why>),
    Doctor(crate::doctor::Doctor),
    #[command(subcommand)]
    Trace(crate::delivery::trace::Trace),
    #[command(subcommand)]
    Policy(Box<crate::policy::PolicyCommand>),
    Rotate(Box<crate::rotate::Rotate>),
    #[command(subcommand)]
    Recover(crate::recover::Recover),
    /// Identities of workloads: the SPIFFE server, its entries, and the agent.
    Spiffe(Box<spiffe::Cli>),
    /// Secrets: the command line of `vault` and `bao`, and their server.
    Vault(Box<vault::Cli>),
    /// Print a completion script for a shell.
    ///
    /// For bash: `source <(holdfast completion bash)`.
    Completion {
        /// The shell.
        shell: Shell,
        /// The name that the binary is called by.
        #[arg(long, value_enum, default_value = "holdfast")]
        name: Name,
    },
    /// Not for people.
    #[command(hide = true)]
    Process(vault::Process),
    /// Print the version.
    Version,
}

/// The names that the binary goes by.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Holdfast,
    Vault,
    Bao,
}

/// Runs what `arguments` ask for; the first of them is the program's name.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    if let Ok(line) = std::env::var("COMP_LINE") {
        return completions(&line);
    }
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    for name in ["vault", "bao"] {
        if program.is_some_and(|program| program == name) {
            return vault::main(name, &arguments[1..]);
        }
    }
    if arguments.get(1).is_some_and(|word| word == "vault") {
        return vault::main("holdfast vault", &arguments[2..]);
    }
    if arguments.get(1).is_some_and(|word| word == "spiffe") {
        return spiffe::main(&arguments[2..]);
    }
    match Cli::parse_from(arguments).command {
        Command::Platform(verb) => verb.run(),
        Command::Why(why) => why.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Trace(trace) => trace.run(),
        Command::Policy(policy) => policy.run(),
        Command::Rotate(rotate) => rotate.run(),
        Command::Recover(recover) => recover.run(),
        // Caught above, before clap could take their flags for its own.
        Command::Spiffe(_) | Command::Vault(_) => ExitCode::FAILURE,
        Command::Process(process) => process.run(),
        Command::Completion { shell, name } => completion(shell, name),
        Command::Version => {
            println!("holdfast {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// Answers a shell that asks what may follow `line`, which names the program as it was typed.
fn completions(line: &str) -> ExitCode {
    let typed = line.split_whitespace().next().map(Path::new).and_then(Path::file_name);
    let is_client = typed.is_some_and(|name| name == "vault" || name == "bao");
    vault::complete(&if is_client { vault::Cli::command() } else { Cli::command() }, line)
}

fn completion(shell: Shell, name: Name) -> ExitCode {
    let (mut command, name) = match name {
        Name::Holdfast => (Cli::command(), "holdfast"),
        Name::Vault => (vault::Cli::command(), "vault"),
        Name::Bao => (vault::Cli::command(), "bao"),
    };
    clap_complete::generate(shell, &mut command, name, &mut io::stdout());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        vault::Cli::command().debug_assert();
    }
}

//! `holdfast spiffe`: identities of workloads. Its commands for operators have the words, the flags
//! and the output of `spire-server`'s, so that scripts written for it run.

mod agent;
mod agents;
mod api;
mod bundle;
mod clusters;
mod connection;
mod entry;
mod explain;
mod federation;
mod join;
mod jwt;
mod kubelet;
mod localauthority;
mod server;
mod show;
mod token;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use holdfast_types::Ttl;

pub(crate) use self::server::WEB;
use crate::vault::argv;

/// Identities of workloads: the SPIFFE server, its entries, and the agent.
#[derive(Debug, Parser)]
#[command(
    name = "spiffe",
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
    Server(Box<server::Server>),
    Agent(Box<agent::Agent>),
    /// Say who is who: make, look at and remove entries.
    #[command(subcommand)]
    Entry(entry::Entry),
    /// Look at what verifies SVIDs, and make that of other trust domains known.
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Have other trust domains' bundles fetched.
    #[command(subcommand)]
    Federation(federation::Federation),
    /// Replace the keys that sign before their time, and end one that got out.
    #[command(subcommand, name = "localauthority")]
    LocalAuthority(localauthority::LocalAuthority),
    /// Make join tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Have tokens signed.
    #[command(subcommand)]
    Jwt(jwt::Jwt),
    /// Look at agents on other machines, and end them.
    #[command(subcommand)]
    Agents(agents::Agents),
    Explain(explain::Explain),
    Show(show::Show),
    #[command(subcommand)]
    Api(Box<api::Api>),
}

/// How a command tells what it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// As people read it.
    #[default]
    Pretty,
    /// As programs do.
    Json,
}

/// A value of flags that are times, such as `90s` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    Ttl::parse(text).map(|ttl| ttl.0).map_err(|error| error.to_string())
}

/// Runs what `arguments` ask for, which follow `holdfast spiffe`. Flags are read as `spire-server`
/// reads them: `-spiffeID x` and `-spiffeID=x`.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let command = Cli::command().bin_name("holdfast spiffe");
    let arguments = match argv::normalise(&command, arguments) {
        Ok(arguments) => arguments,
        Err(problem) => return problem.report(command),
    };
    let parsed =
        command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let outcome = match parsed {
        Ok(Cli { command: Command::Server(server) }) => server.run(),
        Ok(Cli { command: Command::Agent(agent) }) => agent.run(),
        Ok(cli) => call(cli.command),
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What operators ask of a running server: one answer at a time, so one thread is enough.
fn call(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Entry(command) => command.run().await,
            Command::Bundle(command) => command.run().await,
            Command::Federation(command) => command.run().await,
            Command::LocalAuthority(command) => command.run().await,
            Command::Token(command) => command.run().await,
            Command::Jwt(command) => command.run().await,
            Command::Agents(command) => command.run().await,
            Command::Explain(command) => command.run().await,
            Command::Show(command) => command.run().await,
            Command::Api(command) => command.run().await,
            // They have threads of their own.
            Command::Server(_) | Command::Agent(_) => Ok(()),
        }
    })
}

//! `holdfast vault`, which is also `vault` and `bao`: the official client's command line.
//!
//! Commands, flags, output and exit codes are those of OpenBao's `bao`, so that scripts written
//! for it run. Help texts are our own.

mod agent;
pub(crate) mod argv;
mod audit;
mod auth_help;
mod complete;
mod connection;
mod data;
mod debug;
mod delete;
mod environment;
mod events;
mod instead;
mod json;
mod kv;
mod lease;
mod list;
mod login;
mod monitor;
mod mounts;
mod namespace;
mod operator;
mod output;
mod path;
mod path_help;
mod pki;
mod plugin;
mod policy;
mod print;
mod prompt;
mod read;
#[cfg(test)]
mod reference;
mod secret;
mod server;
mod status;
mod table;
mod token;
mod token_file;
mod transit;
mod unwrap;
mod values;
mod version_history;
mod write;
mod yaml;

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use holdfast_client::vault::VaultError;

pub(crate) use agent::process::Process;
pub(crate) use complete::answer as complete;
pub(crate) use connection::Connection;
use connection::explain;
pub(crate) use server::stop_on_signal;
pub(crate) use values::log_level;

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
    Read(read::Read),
    Write(write::Write),
    List(list::List),
    Scan(list::Scan),
    Delete(delete::Delete),
    Patch(write::Patch),
    /// Keep secrets as key and value.
    #[command(subcommand)]
    Kv(kv::Kv),
    Login(login::Login),
    /// Make, look at, renew and revoke tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Look at, renew and revoke leases.
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Mount and tune secrets engines.
    #[command(subcommand)]
    Secrets(mounts::Secrets),
    /// Mount and tune login methods.
    #[command(subcommand)]
    Auth(mounts::Auth),
    /// Say what tokens are allowed to do.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Make, look at and remove namespaces.
    #[command(subcommand)]
    Namespace(namespace::Namespace),
    /// Look at the plugins that the server knows.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Say where every request is recorded.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Initialize, unseal and look after the server.
    #[command(subcommand)]
    Operator(operator::Operator),
    /// Be told of changes as they happen.
    #[command(subcommand)]
    Events(events::Events),
    Monitor(monitor::Monitor),
    Debug(debug::Debug),
    Server(server::Server),
    Agent(agent::Agent),
    /// Bring keys to a transit mount.
    #[command(subcommand)]
    Transit(transit::Transit),
    /// Look at certificate authorities, and have them sign others.
    #[command(subcommand)]
    Pki(pki::Pki),
    Unwrap(unwrap::Unwrap),
    PathHelp(path_help::PathHelp),
    /// Print what commands would use.
    #[command(subcommand)]
    Print(print::Print),
    VersionHistory(version_history::VersionHistory),
    /// Print the version.
    Version,
}

/// How a command ends when it does not succeed. The text goes to stderr.
#[derive(Debug)]
enum Failure {
    /// The command line cannot be understood, or its input not be read. Exit code 1.
    Usage(String),
    /// The request could not be made, or the server refused it. Exit code 2.
    Request(String),
    /// Everything was said already; the exit code.
    Told(u8),
}

impl Failure {
    /// For `map_err`: what was being done, then what the server or the connection says.
    fn doing(what: impl fmt::Display) -> impl FnOnce(VaultError) -> Self {
        move |error| Self::Request(format!("{what}: {}", explain(&error)))
    }

    /// The same failure with exit code 1.
    fn into_usage(self) -> Self {
        match self {
            Self::Request(text) => Self::Usage(text),
            other => other,
        }
    }
}

/// What a command gives back: its exit code, or how it failed.
type Outcome = Result<ExitCode, Failure>;

/// Runs the command line that follows `program`, such as `bao` or `holdfast vault`.
pub(crate) fn main(program: &'static str, arguments: &[OsString]) -> ExitCode {
    if let Some(outcome) = complete::setup(program, arguments) {
        return outcome;
    }
    let command = Cli::command().bin_name(program);
    let arguments = match argv::normalise(&command, arguments) {
        Ok(arguments) => arguments,
        Err(problem) => return problem.report(command),
    };
    let parsed =
        command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => match instead::of(run(cli.command)) {
            Ok(code) => code,
            Err(Failure::Usage(text)) => report(&text, 1),
            Err(Failure::Request(text)) => report(&text, 2),
            Err(Failure::Told(code)) => ExitCode::from(code),
        },
        Err(error) => report_clap(&error),
    }
}

/// Tells what clap found wrong, in the official client's words where it has any.
fn report_clap(error: &clap::Error) -> ExitCode {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if error.kind() == ErrorKind::ValueValidation
        && let Some(value) = context(ContextKind::InvalidValue)
        && let Some(flag) = context(ContextKind::InvalidArg)
    {
        let flag = flag.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        return report(&format!("invalid value {value:?} for flag -{flag}: {cause}"), 1);
    }
    let _ = error.print();
    ExitCode::from(u8::from(error.use_stderr()))
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Server(server) => server.run(),
        Command::Agent(agent) => agent.run(),
        client => block_on(call(client)),
    }
}

async fn call(command: Command) -> Outcome {
    match command {
        Command::Status(command) => command.run().await,
        Command::Read(command) => command.run().await,
        Command::Write(command) => command.run().await,
        Command::List(command) => command.run().await,
        Command::Scan(command) => command.run().await,
        Command::Namespace(command) => command.run().await,
        Command::Plugin(command) => command.run().await,
        Command::VersionHistory(command) => command.run().await,
        Command::Delete(command) => command.run().await,
        Command::Patch(command) => command.run().await,
        Command::Kv(command) => command.run().await,
        Command::Login(command) => command.run().await,
        Command::Token(command) => command.run().await,
        Command::Lease(command) => command.run().await,
        Command::Secrets(command) => command.run().await,
        Command::Auth(command) => command.run().await,
        Command::Policy(command) => command.run().await,
        Command::Audit(command) => command.run().await,
        Command::Operator(command) => command.run().await,
        Command::Transit(command) => command.run().await,
        Command::Pki(command) => command.run().await,
        Command::Events(command) => command.run().await,
        Command::Monitor(command) => command.run().await,
        Command::Debug(command) => command.run().await,
        Command::Unwrap(command) => command.run().await,
        Command::PathHelp(command) => command.run().await,
        Command::Print(command) => command.run(),
        // Caught above: they run on threads of their own.
        Command::Server(_) | Command::Agent(_) => Ok(ExitCode::FAILURE),
        Command::Version => output::print_line(concat!("Holdfast v", env!("CARGO_PKG_VERSION"))),
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
        .map_err(|error| Failure::Usage(format!("start: {error}")))?
        .block_on(outcome)
}

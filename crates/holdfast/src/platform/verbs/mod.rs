//! The commands about a platform, one a file.

mod apply;
mod down;
mod env;
mod login;
mod logs;
mod place;
mod restart;
mod status;
pub(crate) mod supervise;
mod unseal;
mod up;

use std::process::ExitCode;

pub(crate) use super::spiffe::Sockets;
pub(crate) use env::secrets_server;
pub(crate) use place::{Place, PlaceOption, platform_sockets};

/// A command about a platform.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Start a platform, or what is missing of it.
    Up(up::Up),
    /// Stop a platform.
    Down(down::Down),
    /// How a platform is: the worst fact first, with the command that mends it.
    Status(status::Status),
    /// Log in to the secrets server as an operator, for eight hours.
    Login(login::Login),
    /// Print the settings that clients of the platform need. No secrets.
    Env(env::Env),
    /// Show what the platform directory would change.
    Plan(apply::Plan),
    /// Make the platform what its directory says.
    Apply(apply::Apply),
    /// Show what the parts print.
    Logs(logs::Logs),
    /// Stop parts in good order and start them again.
    Restart(restart::Restart),
    /// Open the secrets server again after an operator sealed it.
    Unseal(unseal::Unseal),
    /// Not for people.
    #[command(hide = true)]
    Supervise(supervise::Supervise),
    /// Not for people.
    #[command(hide = true)]
    Launch(super::launch::LaunchArguments),
}

impl Verb {
    /// Runs it, and tells what went wrong.
    pub(crate) fn run(self) -> ExitCode {
        let result = match self {
            Self::Launch(launch) => return launch.run(),
            Self::Supervise(supervise) => return supervise.run(),
            Self::Up(up) => up.run(),
            Self::Down(down) => down.run(),
            Self::Status(status) => return report(status.run()),
            Self::Login(login) => login.run(),
            Self::Env(env) => env.run(),
            Self::Plan(plan) => return report(plan.run()),
            Self::Apply(apply) => apply.run(),
            Self::Logs(logs) => logs.run(),
            Self::Restart(restart) => restart.run(),
            Self::Unseal(unseal) => unseal.run(),
        };
        report(result.map(|()| ExitCode::SUCCESS))
    }
}

/// Prints an error as a person can use it: a wrong file with its lines, all else in one sentence.
fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    match error.downcast::<super::config::ConfigError>() {
        Ok(diagnostic) => eprintln!("{:?}", miette::Report::new(diagnostic)),
        Err(error) => eprintln!("holdfast: {error:#}"),
    }
    ExitCode::FAILURE
}

/// Runs the short conversations that most verbs are.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

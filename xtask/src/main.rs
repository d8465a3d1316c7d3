//! Checks, proofs and benchmarks: what a contributor and CI run beside the tests themselves.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod check;
mod layers;
mod metadata;
mod protos;
mod prove;
mod supply;

/// Checks, proofs and benchmarks of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// What CI runs: formatting, lints, dependencies, all tests
    Check,
    /// Only the dependencies: bans and licences of deny.toml, direction between crates
    Dependencies,
    /// Make the code of the .proto files anew; it is committed
    Protos,
    /// Run a proof at its full size
    Prove(prove::Args),
    /// Measure our servers and the real engines side by side
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().task {
        Task::Check => check::run(),
        Task::Dependencies => check::dependencies(),
        Task::Protos => protos::run(),
        Task::Prove(args) => prove::run(&args),
        Task::Bench(args) => bench::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Runs a suite against a server, or records it from the real one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use holdfast_conformance::run::{record, run};
use holdfast_conformance::{Engine, Report, Target, vault};

/// Runs the suites of the Vault API against a server in development mode.
#[derive(Parser)]
struct Arguments {
    /// Where the server listens.
    #[arg(long, default_value = "http://127.0.0.1:8200")]
    address: String,
    /// Its root token.
    #[arg(long, default_value = "root")]
    token: String,
    /// Only the suites with this in their names.
    #[arg(long, default_value = "")]
    only: String,
    /// Holds the server to what the real engine answers, without what ours does otherwise.
    #[arg(long)]
    real: bool,
    /// Writes down what the real engine answers, in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    record: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let engine = if arguments.real { Engine::Real } else { Engine::Ours };
    let target = Target { address: &arguments.address, root_token: &arguments.token, engine };
    let mut report = Report::default();
    for mut suite in vault::suites()? {
        if !suite.name.contains(&arguments.only) {
            continue;
        }
        match &arguments.record {
            None => report.add(run(&suite, target)?),
            Some(directory) => {
                // Read from there, not from what was compiled in, so that it can be edited.
                let path = directory.join(format!("{}.jsonl", suite.name));
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("read {}", path.display()))?;
                suite = holdfast_conformance::Suite::parse(&suite.name, &text)?;
                record(&mut suite, target)?;
                std::fs::write(&path, suite.print())
                    .with_context(|| format!("write {}", path.display()))?;
                println!("{}: {} exchanges recorded", suite.name, suite.exchanges().count());
            }
        }
    }
    if arguments.record.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{report}");
    Ok(if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

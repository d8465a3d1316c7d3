//! Runs a suite against a server, or records it from the real one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use holdfast_conformance::capture::capture;
use holdfast_conformance::run::{adopt, record, run};
use holdfast_conformance::{Engine, Report, Suite, Target, Trust, vault};

/// Runs the suites of the Vault API against a server in development mode.
#[derive(Parser)]
struct Arguments {
    /// Where the server listens.
    #[arg(long, default_value = "http://127.0.0.1:8200")]
    address: String,
    /// The authority that an https:// address needs.
    #[arg(long, value_name = "PEM FILE")]
    ca_cert: Option<PathBuf>,
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
    /// Writes down what ours answers otherwise, in this directory. The reasons are for a person to
    /// fill in: a difference without one fails the tests.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "record")]
    adopt: Option<PathBuf>,
    /// Writes down what a client asks of the server, in this file: the command after `--` is run
    /// with `VAULT_ADDR` and `VAULT_TOKEN` set. What the server answers is for --record to write down.
    #[arg(long, value_name = "FILE", requires = "command")]
    capture: Option<PathBuf>,
    /// The client to listen to, with its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let engine = if arguments.real { Engine::Real } else { Engine::Ours };
    let trust = arguments.ca_cert.as_deref().map(Trust::from_file).transpose()?;
    let target = Target {
        address: &arguments.address,
        root_token: &arguments.token,
        engine,
        trust: trust.as_ref(),
    };
    if let Some(path) = &arguments.capture {
        let suite = capture("captured", &arguments.command, target)?;
        std::fs::write(path, suite.print()).with_context(|| path.display().to_string())?;
        println!("{}: {} exchanges", path.display(), suite.exchanges().count());
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    let mut suites = vault::suites()?;
    suites.retain(|suite| {
        let reached = trust.is_some() || !suite.needs_tls();
        reached && suite.name.contains(&arguments.only)
    });
    let Some(directory) = arguments.record.as_ref().or(arguments.adopt.as_ref()) else {
        for suite in suites {
            report.add(run(&suite, target)?);
        }
        println!("{report}");
        let is_same = report.differences.is_empty();
        return Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    for Suite { name, .. } in suites {
        // Read from there, not from what was compiled in, so that it can be edited.
        let path = directory.join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut suite = Suite::parse(&name, &text)?;
        match arguments.record {
            Some(_) => record(&mut suite, target)?,
            None => adopt(&mut suite, target)?,
        }
        std::fs::write(&path, suite.print()).with_context(|| path.display().to_string())?;
        println!("{name}: {} exchanges written", suite.exchanges().count());
    }
    Ok(ExitCode::SUCCESS)
}

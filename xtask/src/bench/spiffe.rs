//! `bench spiffe`: our SPIFFE server and agent beside SPIRE's.
//!
//! It is measured by an example of the SPIFFE crate, which has the clients: a check of the tree needs
//! none of them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Deserialize;

use super::report::{Figure, Goal};
use super::{Output, build_of, seconds};

#[derive(clap::Args)]
pub(super) struct SpiffeArgs {
    /// Only these parts; all where none is named
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// How many starts, rules, and rounds of load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long one kind of request runs on one agent in one round
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// How many streams are open
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    streams: u32,
    /// The numbers of entries; each above the one before
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    entries: Vec<u32>,
    /// Measure the build that is not optimised: figures for a change in work, not for others
    #[arg(long)]
    development: bool,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// Our binary; without it, the build, made first
    #[arg(long, value_name = "FILE")]
    holdfast: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// From starts to the first SVID, and from a rule to its SVID
    Start,
    /// `FetchX509SVID`, and `FetchJWTSVID` with an audience that was never asked for
    Load,
    /// Open streams while authority and SVIDs are replaced
    Streams,
    /// Memory, and the time from a rule to its SVID, with many entries
    Memory,
}

/// One figure, as the example prints it.
#[derive(Deserialize)]
struct Line {
    what: String,
    unit: String,
    holdfast: f64,
    real: f64,
    at_most: Option<f64>,
}

/// Measures all of it.
pub(super) fn measure(args: &SpiffeArgs) -> anyhow::Result<Vec<Figure>> {
    let kind: &[&str] = if args.development { &[] } else { &["--release"] };
    let holdfast = match &args.holdfast {
        Some(path) => path.clone(),
        None => build_of(&[kind, &["--package=holdfast"]].concat())?,
    };
    let client = ["--package=holdfast-spiffe", "--example=beside_spire"];
    let mut command = Command::new(build_of(&[kind, &client].concat())?);
    command.arg("--holdfast").arg(holdfast);
    command.args(["--rounds", &args.rounds.to_string(), "--seconds", &args.seconds.to_string()]);
    command.args(["--streams", &args.streams.to_string(), "--entries", &joined(&args.entries)]);
    if !args.only.is_empty() {
        let names = args.only.iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
        command.args(["--only", &names.join(",")]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("run the clients")?;
    ensure!(output.status.success(), "the benchmark failed");
    let text = String::from_utf8(output.stdout)?;
    let figure = |line: &str| {
        let line: Line = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let goal = line.at_most.map(Goal::AtMost);
        Ok(Figure::new(line.what, line.unit, line.holdfast, Some(line.real), goal))
    };
    text.lines().map(figure).collect()
}

fn joined(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

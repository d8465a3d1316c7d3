//! `cargo xtask check`: what CI runs.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use crate::metadata::Metadata;
use crate::{layers, supply};

/// Formatting, lints, dependencies and all tests, the quick ones first.
pub(crate) fn run() -> anyhow::Result<()> {
    step("formatting", || cargo(&["fmt", "--all", "--check"]))?;
    step("dependencies", dependencies)?;
    step("tests", || cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]))?;
    step("lints", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
    })
}

/// Bans, licences and the direction between our crates.
pub(crate) fn dependencies() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has a parent")?;
    let metadata = Metadata::read()?;
    let mut problems = supply::problems(root, &metadata)?;
    problems.extend(layers::problems(&metadata.arrows()));
    if !problems.is_empty() {
        bail!("dependencies:\n  {}", problems.join("\n  "));
    }
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("==> {name}");
    let start = Instant::now();
    work()?;
    println!("==> {name}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO")).args(args).status().context("run cargo")?;
    ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}

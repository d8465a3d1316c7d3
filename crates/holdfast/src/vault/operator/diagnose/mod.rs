//! `operator diagnose`: what would keep a server from starting, looked at without starting one.

mod listener;
mod report;
mod seal;
mod storage;
mod system;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use holdfast_vault::config::{self, Parts, StorageSettings};

use super::super::output::{Format, FormatFlag, print_document, print_line, warn};
use super::super::{Failure, Outcome, environment};
use report::{Check, Status};

/// Find out why a server does not start, or will not for long.
///
/// Looks at the machine, the configuration, the store, the seal and the listeners. It changes nothing
/// and takes no lock: a server may run meanwhile. Run it as the server's user. Exit codes: 0 good,
/// 1 a check failed, 2 there are warnings, 3 the command line is wrong, 4 the configuration or the
/// store cannot be used at all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vault operator diagnose -config=vault.hcl || true
  vault operator diagnose -config=vault.hcl -skip=listener -format=json || true")]
pub(in super::super) struct Diagnose {
    /// A configuration file, or a folder of them; may be repeated [env: `BAO_CONFIG_PATH`]
    #[arg(long, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Show what the checks went by, too
    #[arg(long)]
    debug: bool,
    /// Leave out these checks: listener, storage or autounseal; may be repeated
    #[arg(long, value_name = "CHECKS")]
    skip: Vec<String>,
    #[command(flatten)]
    format: FormatFlag,
}

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Skippable {
    Listener,
    Storage,
    Autounseal,
}

/// What a skipped check says.
const SKIPPED: &str = "Skipped as asked.";

impl Diagnose {
    pub(super) fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let skip = self.skipped()?;
        let mut paths = self.config.clone();
        if paths.is_empty() {
            paths.extend(environment::read("CONFIG_PATH").map(PathBuf::from));
        }
        if paths.is_empty() {
            warn("Must specify a configuration file using -config.");
            return Err(Failure::Told(3));
        }
        let (mut report, is_usable) = diagnose(&paths, &skip);
        if !self.debug {
            report.brief();
        }
        if format == Format::Table {
            let version = concat!("Holdfast v", env!("CARGO_PKG_VERSION"));
            print_line(&format!("{version}\n\nResults:\n{}", report.lines().trim_end()))?;
        } else {
            print_document(format, &report)?;
        }
        Ok(ExitCode::from(exit_code(report.status(), is_usable)))
    }

    fn skipped(&self) -> Result<Vec<Skippable>, Failure> {
        let names = self.skip.iter().flat_map(|names| names.split(','));
        let parsed = names.map(|name| {
            Skippable::from_str(name.trim(), true).map_err(|_| {
                warn(&format!("-skip is listener, storage or autounseal, not {name:?}."));
                Failure::Told(3)
            })
        });
        parsed.collect()
    }
}

fn exit_code(status: Status, is_usable: bool) -> u8 {
    match status {
        _ if !is_usable => 4,
        Status::Fail => 1,
        Status::Warn => 2,
        Status::Ok | Status::Skipped => 0,
    }
}

/// All checks, and whether configuration and store can be used at all.
fn diagnose(paths: &[PathBuf], skip: &[Skippable]) -> (Check, bool) {
    let report = Check::new("Vault Diagnose").with(system::check());
    let parse = Check::new("Parse Configuration");
    let parts = match config::load_parts(paths) {
        Ok(parts) => parts,
        Err(problems) => {
            let report = report.with(parse.fail(problems.to_string().trim_end()));
            // The store may be well, or be the worse trouble.
            return match config::load_storage(paths) {
                Ok(storage) if !skip.contains(&Skippable::Storage) => {
                    (report.with(storage::check(&storage).check), false)
                }
                _ => (report, false),
            };
        }
    };
    let parse = parts.config.warnings.iter().fold(parse, Check::warn);
    check_parts(report.with(parse), &parts, skip)
}

fn check_parts(report: Check, parts: &Parts, skip: &[Skippable]) -> (Check, bool) {
    let Parts { config, seal } = parts;
    let store = (!skip.contains(&Skippable::Storage)).then(|| storage::check(&config.storage));
    let is_usable = store.as_ref().is_none_or(|store| store.is_usable);
    let is_running = store.as_ref().is_some_and(|store| store.is_in_use);
    let report = report
        .with(store.map_or_else(|| Check::new("Check Storage").skip(SKIPPED), |store| store.check))
        .with(seal::check(seal));
    let report = report.with(if skip.contains(&Skippable::Autounseal) {
        Check::new("Check Autounseal Encryption").skip(SKIPPED)
    } else {
        // A store that is not there or not usable has no root key to try the seal on.
        let path = file_of(&config.storage).filter(|path| is_usable && path.exists());
        seal::check_encryption(seal.as_ref().ok().map(|(seal, _)| seal), path)
    });
    let report = report.with(if skip.contains(&Skippable::Listener) {
        Check::new("Start Listeners").skip(SKIPPED)
    } else {
        listener::check(&config.listeners, is_running)
    });
    (report, is_usable)
}

fn file_of(storage: &StorageSettings) -> Option<&Path> {
    match storage {
        StorageSettings::Sqlite { path, .. } => Some(path),
        StorageSettings::Inmem => None,
    }
}

#[cfg(test)]
mod tests;

//! `pki health-check`: what is wrong with a mount, or will be.

mod acme;
mod check;
mod finding;
mod issuers;
mod mount;
mod roles;
mod settings;
mod tuning;
mod upkeep;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use holdfast_types::{Clock as _, SystemClock};
use serde_json::Value;

use self::check::Check;
use self::finding::{Finding, Status};
use self::mount::Mount;
use crate::vault::connection::Connection;
use crate::vault::output::{Format, FormatFlag, print_document, print_line};
use crate::vault::path::sanitize;
use crate::vault::{Failure, Outcome, table};

/// The largest configuration file, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// Look for what is wrong with a PKI mount, or will be. The exit code is the worst finding: 0 none, 2
/// informational, 3 warning, 4 critical, 5 the server does not know a path, 6 the token lacks a right.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault pki health-check pki
  vault pki health-check -format=json -return-indicator=critical pki
  vault pki health-check -list >checks.txt")]
pub(in crate::vault) struct HealthCheck {
    /// The mount to look at
    mount: Option<String>,
    /// A JSON file that enables checks and changes their limits
    #[arg(long = "health-config", value_name = "FILE")]
    health_config: Option<String>,
    /// Run those checks alone that the file enables
    #[arg(long = "default-disabled")]
    default_disabled: bool,
    /// The mildest finding that makes the exit code other than 0
    #[arg(long = "return-indicator", value_name = "LEVEL", default_value = "default")]
    return_indicator: Indicator,
    /// Print the checks with their limits, and ask nothing
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Indicator {
    Default,
    Informational,
    Warning,
    Critical,
    Permission,
}

impl Indicator {
    fn mildest(self) -> Status {
        match self {
            Self::Default | Self::Informational => Status::Informational,
            Self::Warning => Status::Warning,
            Self::Critical => Status::Critical,
            Self::Permission => Status::InvalidVersion,
        }
    }
}

impl HealthCheck {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        if self.list {
            return list(format);
        }
        let mount = self.mount.as_deref().ok_or_else(|| {
            Failure::Usage("Not enough arguments (expected mount path, got nothing)".into())
        })?;
        let client = self.connection.client()?;
        let mount = Mount::new(&client, sanitize(mount), SystemClock.now());
        mount.is_pki().await.map_err(Failure::Usage)?;

        let said = self.said()?;
        let mut checks = Vec::new();
        for check in Check::ALL {
            let settings = check.settings(!self.default_disabled, said.get(check.name()));
            let settings = settings.map_err(|text| {
                Failure::Usage(format!("Failed to build health check configuration: {text}"))
            })?;
            checks.push((check, settings));
        }
        let mut results = Vec::new();
        for (check, settings) in checks.iter().filter(|(_, settings)| settings.enabled) {
            let findings = check.run(&mount, settings).await.map_err(|text| {
                Failure::Usage(format!("Failed to run health check: {}: {text}", check.name()))
            })?;
            results.push((check.name(), findings));
        }
        print_results(format, &results)?;
        let worst = results.iter().flat_map(|(_, findings)| findings).map(|it| it.status).max();
        let worst = worst.filter(|worst| *worst >= self.return_indicator.mildest());
        Ok(worst.map_or(ExitCode::SUCCESS, |worst| ExitCode::from(worst as u8)))
    }

    /// What the file says, by the names of checks.
    fn said(&self) -> Result<BTreeMap<String, Value>, Failure> {
        let Some(path) = &self.health_config else { return Ok(BTreeMap::new()) };
        let failed = |doing: &str, cause: String| {
            Failure::Usage(format!("Failed to {doing} configuration file {path}: {cause}"))
        };
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_CONFIG).read_to_string(&mut text));
        read.map_err(|error| failed("read", error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed("parse", error.to_string()))
    }
}

fn list(format: Format) -> Outcome {
    let checks: BTreeMap<_, _> = Check::ALL.map(|it| (it.name(), it.defaults())).into();
    match format {
        Format::Yaml => Err(Failure::Usage("-list prints no YAML".into())),
        Format::Table => {
            print_line("Default health check config:")?;
            print_document(Format::Json, &checks)
        }
        format => print_document(format, &checks),
    }
}

fn print_results(format: Format, results: &[(&str, Vec<Finding>)]) -> Outcome {
    if format != Format::Table {
        let results: BTreeMap<_, _> = results.iter().map(|(name, found)| (name, found)).collect();
        return super::print_answer(format, &results);
    }
    for (name, findings) in results {
        print_line(&format!("{name}\n{}", "-".repeat(name.len())))?;
        let row = |it: &Finding| {
            vec![it.status.name().to_owned(), it.endpoint.clone(), it.message.clone()]
        };
        let rows = findings.iter().map(row).collect();
        print_line(&(table::write(&["status", "endpoint", "message"], rows) + "\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

//! `debug`: what a server is and does, collected for a while and packed into one file.

mod bundle;
mod capture;
mod plan;

use std::time::Duration;

use clap::{ArgAction, Args};
use holdfast_types::{Clock as _, SystemClock, Timestamp, format_go_duration};

use super::connection::{Connection, explain};
use super::output::{print_line, warn};
use super::{Failure, Outcome, values};
use bundle::{Bundle, Index};
use capture::Capture;
use plan::Plan;

/// Collect what a server is and does, for whoever helps to find what is wrong with it.
///
/// Every -interval the server is asked anew, for as long as -duration says or until it is
/// interrupted. What the token may not read, and what the server has not got, is left out and named
/// in index.json.
///
/// Targets: `config`, `host`, `requests`, `metrics`, `pprof`, `replication-status`,
/// `server-status`, `log`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault debug
  vault debug -duration=5m -interval=1m -target=host -target=metrics -output=incident.tar.gz")]
pub(super) struct Debug {
    /// Whether to pack what was collected into one file
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", value_parser = values::boolean)]
    compress: bool,
    /// For how long to collect
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    duration: Duration,
    /// How often to ask for anything but metrics
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    interval: Duration,
    /// How often to ask for metrics
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    metrics_interval: Duration,
    /// How lines of the log are written: standard or json
    #[arg(long, value_name = "FORMAT", default_value = "standard")]
    log_format: String,
    /// The file or folder to make; by default one named after the time
    #[arg(long, value_name = "PATH")]
    output: Option<String>,
    /// What to collect; may be repeated. All of it by default
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Debug {
    pub(super) async fn run(&self) -> Outcome {
        let plan = Plan::new(self)?;
        let client = self.connection.client()?;
        let invalid = |text: String| Failure::Usage(format!("Error during validation: {text}"));
        let health = capture::health(&client).await.map_err(|error| {
            invalid(format!("unable to connect to the server: {}", explain(&error)))
        })?;
        let started = SystemClock.now();
        let bundle =
            Bundle::create(self.output.as_deref(), started, self.compress).map_err(invalid)?;
        let server = health.get("version").and_then(serde_json::Value::as_str).unwrap_or_default();
        let index = Index::new(self, &plan, client.address(), server, started);
        announce(&index, &plan, &bundle)?;
        let capture = Capture { client, plan: &plan, log_format: &self.log_format };
        print_line("==> Capturing static information...")?;
        let mut collected = capture.collect_once().await;
        print_line("\n==> Capturing dynamic information...")?;
        let mut config = self.connection.config()?;
        config.token = super::connection::stored_token()?;
        collected.extend(capture.collect(&config, &bundle).await);
        print_line("\nFinished capturing information, bundling files...")?;
        let unpacked = |text: String| Failure::Request(format!("Error bundling: {text}"));
        bundle.write(collected, index).map_err(unpacked)?;
        let written = bundle.finish().map_err(unpacked)?;
        print_line(&format!("Success! Bundle written to: {written}"))
    }
}

/// Says what will be done.
fn announce(index: &Index, plan: &Plan, bundle: &Bundle) -> Outcome {
    print_line("==> Starting debug capture...")?;
    for (name, value) in [
        ("OpenBao Address", index.vault_address.clone()),
        ("Client Version", index.client_version.clone()),
        ("Server Version", index.server_version.clone()),
        ("Duration", format_go_duration(plan.duration)),
        ("Interval", format_go_duration(plan.interval)),
        ("Metrics Interval", format_go_duration(plan.metrics_interval)),
        ("Targets", plan.targets.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")),
        ("Output", bundle.output().to_owned()),
    ] {
        print_line(&format!("{name:>22}: {value}"))?;
    }
    print_line("")
}

/// Tells how it goes, as the official client's log does.
fn progress(what: &str, count: Option<usize>) {
    let now = time(SystemClock.now(), "%Y-%m-%dT%H:%M:%S%.3fZ");
    let count = count.map(|count| format!(": count={count}")).unwrap_or_default();
    warn(&format!("{now} [INFO]  capturing {what}{count}"));
}

fn time(at: Timestamp, format: &str) -> String {
    at.strftime(format).to_string()
}

//! `audit`: where every request is recorded.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use holdfast_client::vault::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::output::{Format, FormatFlag, print_document, print_line, print_rows};
use super::path::mount;
use super::secret::Secret;
use super::table::go_value;
use super::{Failure, Outcome, data};

/// Say where every request is recorded.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    Enable(Enable),
    Disable(Disable),
    List(List),
}

/// Add an audit device. From then on nothing is served that it cannot record.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault audit enable file file_path=/var/log/vault/audit.log")]
pub(super) struct Enable {
    /// Its type, such as `file`
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// Its options, `key=value`
    options: Vec<String>,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// What to call it; by default by its type
    #[arg(long)]
    path: Option<String>,
    /// Keep it from being replicated
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Remove an audit device. What it recorded stays.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault audit disable file")]
pub(super) struct Disable {
    /// What it is called
    path: String,
    #[command(flatten)]
    connection: Connection,
}

/// List the audit devices.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault audit list -detailed")]
pub(super) struct List {
    /// Show their options too
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// A device as it is shown, in the official order.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Device {
    #[serde(rename = "type")]
    kind: String,
    description: String,
    options: Option<Map<String, Value>>,
    local: bool,
    path: String,
}

impl Audit {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Enable(command) => command.run().await,
            Self::Disable(command) => command.run().await,
            Self::List(command) => command.run().await,
        }
    }
}

impl Enable {
    async fn run(&self) -> Outcome {
        let Some(kind) = self.kind.as_deref().map(str::trim) else {
            let text = "Error enabling audit device: audit type missing. Valid types include \
                        'file', 'socket' and 'syslog'.";
            return Err(Failure::Usage(text.into()));
        };
        let path = self.path.as_deref().filter(|path| !path.is_empty()).unwrap_or(kind);
        let path = format!("{}/", path.trim().trim_end_matches('/'));
        let options = data::parse(&self.options, !self.connection.non_interactive)?;
        let options: Map<String, Value> =
            options.into_iter().map(|(key, value)| (key, go_value(&value).into())).collect();
        let client = self.connection.client()?;
        let body = json!({
            "type": kind,
            "description": self.description,
            "options": options,
            "local": self.local,
        });
        let answer = Secret::write(&client, &format!("sys/audit/{path}"), &body).await;
        answer.map_err(Failure::doing("Error enabling audit device"))?;
        print_line(&format!("Success! Enabled the {kind} audit device at: {path}"))
    }
}

impl Disable {
    async fn run(&self) -> Outcome {
        let client = self.connection.client()?;
        let path = mount(&self.path);
        let answer = Secret::delete(&client, &format!("sys/audit/{path}"), &[]).await;
        answer.map_err(Failure::doing("Error disabling audit device"))?;
        print_line(&format!("Success! Disabled audit device (if it was enabled) at: {path}"))
    }
}

impl List {
    async fn run(&self) -> Outcome {
        #[derive(Deserialize)]
        struct Reply {
            data: BTreeMap<String, Device>,
        }
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let response = client.request(Method::GET, "sys/audit", None, &[]).await;
        let devices = response.and_then(|response| response.success()?.parse::<Reply>());
        let devices = devices.map_err(Failure::doing("Error listing audits"))?.data;
        if format != Format::Table {
            return print_document(format, &devices);
        }
        if devices.is_empty() {
            print_line("No audit devices are enabled.")?;
            return Err(Failure::Told(2));
        }
        if !self.detailed {
            let rows = devices.into_values().map(|it| vec![it.path, it.kind, it.description]);
            return print_rows(&["Path", "Type", "Description"], rows.collect());
        }
        let rows = devices.into_iter().map(|(path, device)| {
            let options = device.options.unwrap_or_default();
            let options: Vec<_> =
                options.iter().map(|(key, value)| format!("{key}={}", go_value(value))).collect();
            let replication = if device.local { "local" } else { "replicated" };
            vec![path, device.kind, device.description, replication.into(), options.join(" ")]
        });
        print_rows(&["Path", "Type", "Description", "Replication", "Options"], rows.collect())
    }
}

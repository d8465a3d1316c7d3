//! `plugin`: what the server can run.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use holdfast_client::vault::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connection::Connection;
use super::output::{FieldFlags, Format, FormatFlag, print_document, print_rows};
use super::secret::Secret;
use super::{Failure, Outcome};

/// Look at the plugins that the server knows.
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    List(List),
    Info(Info),
}

/// List the plugins, those that are built in included.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault plugin list database")]
pub(super) struct List {
    /// Only of this type: `auth`, `database` or `secret`
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// Show in the table whether they are still supported
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Show one plugin.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault plugin info secret kv")]
pub(super) struct Info {
    /// Its type: `auth`, `database` or `secret`
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Its name
    name: String,
    /// Its version, where there are several
    #[arg(long)]
    version: Option<String>,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

/// A plugin as it is shown, in the official order.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Detail {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    version: String,
    builtin: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    sha256: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    deprecation_status: String,
}

/// The types, as the server names them.
const KINDS: [&str; 3] = ["auth", "database", "secret"];

/// What the official client shows of one plugin; the server knows more.
const FIELDS: [&str; 7] =
    ["args", "builtin", "command", "deprecation_status", "name", "sha256", "version"];

impl Plugin {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::List(command) => command.run().await,
            Self::Info(command) => command.run().await,
        }
    }
}

impl List {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let wanted = self.kind.as_deref().map(str::trim).filter(|kind| !kind.is_empty());
        if let Some(kind) = wanted.filter(|kind| !KINDS.contains(kind)) {
            let text = format!("Error parsing type: {kind:?} is not a supported plugin type");
            return Err(Failure::Request(text));
        }
        let client = self.connection.client()?;
        let catalog = Secret::read(&client, "sys/plugins/catalog", &[]).await;
        let catalog = catalog.map_err(Failure::doing("Error listing available plugins"))?;
        let mut data = catalog.and_then(|catalog| catalog.data).unwrap_or_default();
        let details = data.remove("detailed").unwrap_or_default();
        let details: Option<Vec<Detail>> = serde_json::from_value(details).map_err(|error| {
            Failure::Request(format!("Error listing available plugins: {error}"))
        })?;
        let mut details = details.unwrap_or_default();
        details.retain(|plugin| wanted.is_none_or(|kind| plugin.kind == kind));
        if format != Format::Table {
            let names = data.into_iter().filter(|(kind, _)| wanted.is_none_or(|it| it == kind));
            let mut listing: BTreeMap<String, Entry> =
                names.map(|(kind, names)| (kind, Entry::Names(names))).collect();
            listing.insert("details".into(), Entry::Details(details));
            return print_document(format, &listing);
        }
        let heading: &[&str] = match (self.detailed, wanted) {
            (true, _) => &["Name", "Type", "Version", "Deprecation Status"],
            (false, None) => &["Name", "Type", "Version"],
            (false, Some(_)) => &["Name", "Version"],
        };
        let rows = details.into_iter().map(|plugin| match (self.detailed, wanted) {
            (true, _) => vec![plugin.name, plugin.kind, plugin.version, plugin.deprecation_status],
            (false, None) => vec![plugin.name, plugin.kind, plugin.version],
            (false, Some(_)) => vec![plugin.name, plugin.version],
        });
        print_rows(heading, rows.collect())
    }
}

/// What stands in a listing under the name of a type, and under `details`.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Names(Value),
    Details(Vec<Detail>),
}

impl Info {
    async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let (kind, name) = (self.kind.trim(), self.name.trim());
        if !KINDS.contains(&kind) {
            return Err(Failure::Request(format!("{kind:?} is not a supported plugin type")));
        }
        let client = self.connection.client()?;
        let version = self.version.as_deref().filter(|version| !version.is_empty());
        let query: Vec<_> = version.map(|version| ("version", version)).into_iter().collect();
        let path = format!("sys/plugins/catalog/{kind}/{name}");
        let plugin = client.request(Method::GET, &path, None, &query).await;
        let plugin = plugin.and_then(|response| Secret::parse(&response.success()?));
        let plugin =
            plugin.map_err(Failure::doing(format!("Error reading plugin named {name}")))?;
        let mut data = plugin.and_then(|plugin| plugin.data).unwrap_or_default();
        data.retain(|field, _| FIELDS.contains(&field.as_str()));
        if format == Format::Table && data.get("args").is_some_and(Value::is_null) {
            data.insert("args".into(), Value::Array(Vec::new()));
        }
        self.output.print_map(format, data)
    }
}

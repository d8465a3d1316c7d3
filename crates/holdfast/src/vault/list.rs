//! `list`: the names below a path.

use clap::Args;
use serde_json::json;

use super::connection::Connection;
use super::output::{Format, FormatFlag, print_document, print_keys, print_secret};
use super::path::sanitize;
use super::secret::Secret;
use super::{Failure, Outcome};

/// List the names below a path; folders end with a slash.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault list auth/approle/role")]
pub(super) struct List {
    /// The API path, without `/v1/`
    path: String,
    /// Begin after this name, where the path supports it
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// List this many names at most, where the path supports it
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Show what else the server says of each name, as JSON or YAML the whole answer
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// List the names below a path and below all its folders, where the path supports it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault scan secret/metadata")]
pub(super) struct Scan {
    #[command(flatten)]
    list: List,
}

impl List {
    pub(super) async fn run(&self) -> Outcome {
        self.ask("list", "listing").await
    }

    async fn ask(&self, verb: &str, doing: &str) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let path = sanitize(&self.path);
        let limit = self.limit.filter(|limit| *limit > 0).map(|limit| limit.to_string());
        let after = self.after.as_deref().filter(|after| !after.is_empty());
        let query: Vec<_> = [(verb, Some("true")), ("after", after), ("limit", limit.as_deref())]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        let secret = Secret::read(&client, path, &query).await;
        let secret = secret.map_err(Failure::doing(format!("Error {doing} {path}")))?;
        print_listing(format, secret, path, self.detailed)
    }
}

impl Scan {
    pub(super) async fn run(&self) -> Outcome {
        self.list.ask("scan", "scanning").await
    }
}

/// Prints the answer to a list, or says that there is nothing.
pub(super) fn print_listing(
    format: Format,
    secret: Option<Secret>,
    path: &str,
    detailed: bool,
) -> Outcome {
    let secret = match secret {
        Some(secret) if secret.is_wrapped() => return print_secret(format, &secret),
        Some(secret) => secret,
        None => return nothing(format, "value", path),
    };
    match secret.keys() {
        Some(_) if detailed && format == Format::Json => print_document(format, &secret),
        Some(keys) => print_keys(format, &secret, keys),
        // Nothing but warnings, perhaps.
        None if format == Format::Table && secret.data.is_none() => print_secret(format, &secret),
        None => nothing(format, "entries", path),
    }
}

fn nothing(format: Format, what: &str, path: &str) -> Outcome {
    if format != Format::Table {
        print_document(format, &json!({}))?;
        return Err(Failure::Told(2));
    }
    let verb = if what == "value" { "value" } else { "entries" };
    Err(Failure::Request(format!("No {verb} found at {path}")))
}

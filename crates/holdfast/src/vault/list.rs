//! `list`: the names below a path.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::output::{
    Format, FormatFlag, print_document, print_keys, print_rows, print_secret, print_warnings,
};
use super::path::sanitize;
use super::secret::Secret;
use super::table::go_value;
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
    /// Show what else the server says of each name; as JSON the whole answer
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
        Some(keys) if detailed && format == Format::Table => match secret.key_info() {
            Some(info) => print_detailed(&secret, keys, info),
            None => print_keys(format, &secret, keys),
        },
        Some(keys) => print_keys(format, &secret, keys),
        // Nothing but warnings, perhaps.
        None if format == Format::Table && secret.data.is_none() => print_secret(format, &secret),
        None => nothing(format, "entries", path),
    }
}

/// A row a name, a column for everything that is said of any of them.
fn print_detailed(secret: &Secret, keys: &[Value], info: &Map<String, Value>) -> Outcome {
    print_warnings(secret);
    let rows = info.values().filter_map(Value::as_object);
    let columns: BTreeSet<&str> = rows.flat_map(Map::keys).map(String::as_str).collect();
    let mut names: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    let rows = names.into_iter().map(|name| {
        let said = |column: &&str| info.get(name).and_then(|row| row.get(column));
        let cells = columns.iter().map(|column| said(column).map(go_value).unwrap_or_default());
        [name.to_owned()].into_iter().chain(cells).collect()
    });
    let heading: Vec<_> = ["Keys"].into_iter().chain(columns.iter().copied()).collect();
    print_rows(&heading, rows.collect())
}

/// Says that there is nothing.
pub(super) fn nothing(format: Format, what: &str, path: &str) -> Outcome {
    if format != Format::Table {
        print_document(format, &json!({}))?;
        return Err(Failure::Told(2));
    }
    let verb = if what == "value" { "value" } else { "entries" };
    Err(Failure::Request(format!("No {verb} found at {path}")))
}

//! `namespace`: parts of the server with their own mounts, policies and tokens.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use holdfast_client::vault::Method;
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::output::{
    Format, FormatFlag, print_document, print_keys, print_line, print_map, print_rows, warn,
};
use super::path::sanitize;
use super::secret::Secret;
use super::table::go_value;
use super::{Failure, Outcome, values};

/// Make, look at and remove namespaces.
#[derive(Debug, Subcommand)]
pub(super) enum Namespace {
    Create(Create),
    /// Remove a namespace with everything in it. It goes on behind the answer.
    #[command(after_help = "Example:\n  vault namespace delete team")]
    Delete(Named),
    List(List),
    /// List the namespaces below this one, all the way down.
    #[command(after_help = "Example:\n  vault namespace scan")]
    Scan(List),
    Lookup(Lookup),
    Patch(Patch),
    /// Refuse every request in a namespace, until it is unlocked.
    #[command(after_help = "Example:\n  vault namespace lock team")]
    Lock(Locked),
    /// Allow requests in a locked namespace again, by -unlock-key or with `sudo`.
    #[command(after_help = "Example:\n  vault namespace unlock -unlock-key=... team")]
    Unlock(Locked),
}

/// Make a namespace.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault namespace create -custom-metadata=owner=web team")]
pub(super) struct Create {
    /// Its name; it comes below the namespace of -namespace
    path: String,
    /// What is known of it, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    custom_metadata: Vec<(String, String)>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Change what is known of a namespace.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault namespace patch -custom-metadata=owner=ops team")]
pub(super) struct Patch {
    /// Its name
    path: String,
    /// What is known of it, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    custom_metadata: Vec<(String, String)>,
    /// What shall no longer be known of it; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_custom_metadata: Vec<String>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Show a namespace.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault namespace lookup team")]
pub(super) struct Lookup {
    /// Its name
    path: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// List the namespaces below this one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault namespace list -detailed")]
pub(super) struct List {
    /// Show what is known of each
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Its name
    path: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct Locked {
    /// Its name; by default that of -namespace
    path: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Namespace {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Create(command) => command.run().await,
            Self::Delete(command) => command.delete().await,
            Self::List(command) => command.run("list", "listing").await,
            Self::Scan(command) => command.run("scan", "scanning").await,
            Self::Lookup(command) => command.run().await,
            Self::Patch(command) => command.run().await,
            Self::Lock(command) => command.lock().await,
            Self::Unlock(command) => command.unlock().await,
        }
    }
}

impl Create {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let metadata: BTreeMap<_, _> = self.custom_metadata.iter().cloned().collect();
        let body = json!({ "custom_metadata": metadata });
        let answer = Secret::send(&client, Method::POST, &api(&self.path), Some(&body)).await;
        print_data(format, answer.map_err(Failure::doing("Error creating namespace"))?)
    }
}

impl Patch {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        if self.custom_metadata.is_empty() && self.remove_custom_metadata.is_empty() {
            let text = "Must supply at least one of -custom-metadata or -remove-custom-metadata";
            return Err(Failure::Usage(text.into()));
        }
        let set = self.custom_metadata.iter().map(|(key, value)| (key.clone(), json!(value)));
        let unset = self.remove_custom_metadata.iter().map(|key| (key.clone(), Value::Null));
        let metadata: BTreeMap<String, Value> = set.chain(unset).collect();
        let client = self.connection.client()?;
        let body = json!({ "custom_metadata": metadata });
        let answer = Secret::patch(&client, &api(&self.path), &body).await;
        print_data(format, answer.map_err(Failure::doing("Error patching namespace"))?)
    }
}

impl Lookup {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let answer = Secret::read(&client, &api(&self.path), &[]).await;
        match answer.map_err(Failure::doing("Error looking up namespace"))? {
            None => Err(Failure::Request("Namespace not found".into())),
            found => print_data(format, found),
        }
    }
}

impl List {
    async fn run(&self, verb: &str, doing: &str) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let answer = Secret::read(&client, "sys/namespaces", &[(verb, "true")]).await;
        let answer = answer.map_err(Failure::doing(format!("Error {doing} namespaces")))?;
        let Some((secret, keys)) =
            answer.as_ref().and_then(|secret| Some((secret, secret.keys()?)))
        else {
            if format == Format::Table {
                return Err(Failure::Request("No namespaces found".into()));
            }
            print_document(format, &json!({}))?;
            return Err(Failure::Told(2));
        };
        if !self.detailed {
            return print_keys(format, secret, keys);
        }
        let info = secret.data.as_ref().and_then(|data| data.get("key_info"));
        let empty = Map::new();
        let info = info.and_then(Value::as_object).unwrap_or(&empty);
        if format != Format::Table {
            return print_document(format, info);
        }
        let columns: std::collections::BTreeSet<&str> = info
            .values()
            .filter_map(Value::as_object)
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect();
        let rows = info.iter().map(|(name, about)| {
            let cells = columns.iter().map(|column| go_value(&about[column]));
            std::iter::once(name.clone()).chain(cells).collect()
        });
        let heading: Vec<&str> = std::iter::once("Keys").chain(columns.iter().copied()).collect();
        print_rows(&heading, rows.collect())
    }
}

impl Named {
    async fn delete(&self) -> Outcome {
        let client = self.connection.client()?;
        let answer = Secret::delete(&client, &api(&self.path), &[]).await;
        let answer =
            answer.map_err(Failure::doing("Error deleting namespace"))?.unwrap_or_default();
        if answer.data.is_some_and(|data| data.contains_key("status")) {
            let path = sanitize(&self.path);
            return print_line(&format!("Success! Namespace deletion scheduled: {path}/"));
        }
        for warning in answer.warnings.unwrap_or_default() {
            let (first, rest) = warning.split_at_checked(1).unwrap_or_default();
            warn(&format!("{}{rest}", first.to_uppercase()));
        }
        Ok(std::process::ExitCode::SUCCESS)
    }
}

impl Locked {
    async fn lock(&self) -> Outcome {
        let client = self.connection.client()?;
        let answer = Secret::send(&client, Method::PUT, &self.api("lock"), None).await;
        let answer = answer.map_err(Failure::doing("Error locking namespace"))?;
        let data = answer.and_then(|answer| answer.data).unwrap_or_default();
        let key = data.get("unlock_key").and_then(Value::as_str).unwrap_or_default();
        print_line(&format!(
            "Unlock Key: {key}\n\n\
             Namespace is now locked. Please securely store the unlock key printed above.\n\
             You must supply the unlock key to re-enable access to the namespace.\n\
             If the unlock key is lost, sudo capability is required to unlock the namespace \
             without it."
        ))
    }

    async fn unlock(&self) -> Outcome {
        let client = self.connection.client()?;
        let key = self.connection.unlock_key.as_deref().unwrap_or_default();
        let body = json!({ "unlock_key": key });
        let answer = Secret::send(&client, Method::PUT, &self.api("unlock"), Some(&body)).await;
        answer.map_err(Failure::doing("Error unlocking namespace"))?;
        if key.is_empty() {
            warn("Namespace unlocked using sudo capabilities");
            return Ok(std::process::ExitCode::SUCCESS);
        }
        print_line("Namespace unlocked successfully!")
    }

    fn api(&self, verb: &str) -> String {
        let path = sanitize(self.path.as_deref().unwrap_or_default());
        format!("sys/namespaces/api-lock/{verb}/{path}")
    }
}

fn api(path: &str) -> String {
    format!("sys/namespaces/{}", sanitize(path))
}

/// Prints what the server says of one namespace.
fn print_data(format: Format, answer: Option<Secret>) -> Outcome {
    let data = answer.and_then(|answer| answer.data).unwrap_or_default();
    print_map(format, &data)
}

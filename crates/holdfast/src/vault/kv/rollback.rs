//! `kv rollback`: make an older version the current one.

use clap::Args;
use holdfast_client::vault::VaultClient;
use serde_json::{Map, Value, json};

use super::super::connection::Connection;
use super::super::output::{FormatFlag, print_secret, print_success};
use super::super::secret::Secret;
use super::super::{Failure, Outcome, values};
use super::Key;

/// Write the values of an older version again, as a new one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault kv rollback -mount=secret -version=2 app")]
pub(in super::super) struct Rollback {
    #[command(flatten)]
    key: Key,
    /// The version to go back to
    #[arg(long, value_name = "VERSION", allow_negative_numbers = true,
          value_parser = values::integer)]
    version: Option<i64>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// A version of a secret as it was read.
pub(super) struct Version {
    /// Its number.
    pub(super) version: Value,
    metadata: Map<String, Value>,
    values: Option<Value>,
}

impl Rollback {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let version = match self.version {
            None => return Err(Failure::Usage("Version flag must be specified".into())),
            Some(version @ 1..) => version.to_string(),
            Some(version) => {
                let text = format!("Invalid value {version} for the version flag");
                return Err(Failure::Usage(text));
            }
        };
        let client = self.connection.client()?;
        let location = self.key.locate(&client).await?;
        if !location.versioned {
            let text = "K/V engine mount must be version 2 for rollback support";
            return Err(Failure::Request(text.into()));
        }
        let path = location.face("data");
        let newest = read_version(&client, &path, None, "rollback").await?;
        let older = read_version(&client, &path, Some(&version), "rollback").await?;
        let told = |key: &str| older.metadata.get(key);
        if told("deletion_time").and_then(Value::as_str).is_some_and(|time| !time.is_empty()) {
            let text = "Cannot roll back to a version that has been deleted";
            return Err(Failure::Request(text.into()));
        }
        if told("destroyed") == Some(&Value::Bool(true)) {
            let text = "Cannot roll back to a version that has been destroyed";
            return Err(Failure::Request(text.into()));
        }
        let values = current(&older, &path, "rollback")?;
        // Refused if someone wrote since `newest` was read.
        let body = json!({ "data": values, "options": { "cas": newest.version } });
        let answer = Secret::write(&client, &path, &body).await;
        match answer.map_err(Failure::doing(format!("Error writing data to {path}")))? {
            Some(secret) => print_secret(format, &secret),
            None => print_success(format, &format!("Success! Data written to: {path}")),
        }
    }
}

/// Reads a version, or the current one, for `verb`.
pub(super) async fn read_version(
    client: &VaultClient,
    path: &str,
    version: Option<&str>,
    verb: &str,
) -> Result<Version, Failure> {
    let query: Vec<_> = version.iter().map(|version| ("version", *version)).collect();
    let secret = Secret::read(client, path, &query).await;
    let secret = secret.map_err(Failure::doing(format!("Error doing pre-read at {path}")))?;
    let Some(mut data) = secret.and_then(|secret| secret.data) else {
        return Err(Failure::Request(format!("No value found at {path}")));
    };
    let Some(Value::Object(metadata)) = data.remove("metadata") else {
        let text = format!("No metadata found at {path}; {verb} only works on existing data");
        return Err(Failure::Request(text));
    };
    let version = metadata.get("version").cloned().unwrap_or_default();
    Ok(Version { version, metadata, values: data.remove("data") })
}

/// The values of a version that is neither deleted nor destroyed.
pub(super) fn current(
    version: &Version,
    path: &str,
    verb: &str,
) -> Result<Map<String, Value>, Failure> {
    match &version.values {
        Some(Value::Object(values)) => Ok(values.clone()),
        _ => {
            let text = format!("No data found at {path}; {verb} only works on existing data");
            Err(Failure::Request(text))
        }
    }
}

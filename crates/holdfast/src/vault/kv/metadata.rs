//! `kv metadata`: settings and history of a secret, without its values.

use std::time::Duration;

use clap::{Args, Subcommand};
use holdfast_types::format_go_duration;
use serde_json::{Map, Value};

use super::super::connection::Connection;
use super::super::output::{
    Format, FormatFlag, print_line, print_map, print_secret, print_success,
};
use super::super::secret::Secret;
use super::super::{Failure, Outcome, values};
use super::{Key, Location, heading_over, print_path};

#[derive(Debug, Subcommand)]
pub(in super::super) enum Metadata {
    Get(Get),
    Put(Put),
    Patch(Patch),
    Delete(Delete),
}

/// Show the settings of a secret and its versions.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault kv metadata get -mount=secret app")]
pub(in super::super) struct Get {
    #[command(flatten)]
    target: Target,
}

/// Write the settings of a secret in place of what was there.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  vault kv metadata put -mount=secret -max-versions=5 -custom-metadata=owner=web app")]
pub(in super::super) struct Put {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    settings: Settings,
}

/// Change some settings of a secret.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  vault kv metadata patch -mount=secret -remove-custom-metadata=owner app")]
pub(in super::super) struct Patch {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    settings: Settings,
    /// A description to remove; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_custom_metadata: Vec<String>,
}

/// Delete a secret with all its versions, for good.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault kv metadata delete -mount=secret app")]
pub(in super::super) struct Delete {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    #[command(flatten)]
    key: Key,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Settings {
    /// How many versions to keep
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value = "-1", hide_default_value = true,
          value_parser = values::integer)]
    max_versions: i64,
    /// Whether every write has to name the current version
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::boolean)]
    cas_required: Option<bool>,
    /// How long a version lasts
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    delete_version_after: Option<Duration>,
    /// A description, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    custom_metadata: Vec<(String, String)>,
}

impl Metadata {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Get(command) => command.run().await,
            Self::Put(command) => command.run().await,
            Self::Patch(command) => command.run().await,
            Self::Delete(command) => command.run().await,
        }
    }
}

impl Get {
    async fn run(&self) -> Outcome {
        let format = self.target.format.resolve()?;
        let (client, path) = self.target.locate().await?;
        let secret = Secret::read(&client, &path, &[]).await;
        let secret = secret.map_err(Failure::doing(format!("Error reading {path}")))?;
        let Some(mut secret) = secret else {
            return Err(Failure::Request(format!("No value found at {path}")));
        };
        if secret.wrap_info.is_some() || format != Format::Table {
            return print_secret(format, &secret);
        }
        let versions = secret.data.as_mut().and_then(|data| data.remove("versions"));
        let Some(Value::Object(versions)) = versions else {
            print_secret(format, &secret)?;
            return Err(Failure::Request(format!("No value found at {path}")));
        };
        print_path("Metadata Path", &path)?;
        print_line(&heading_over("Metadata", secret.data.as_ref().unwrap_or(&Map::new())))?;
        print_secret(format, &secret)?;
        let mut numbered: Vec<(u64, &Value)> = versions
            .iter()
            .filter_map(|(number, version)| Some((number.parse().ok()?, version)))
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        for (number, version) in numbered {
            if let Some(version) = version.as_object() {
                let heading = heading_over(&format!("Version {number}"), version);
                print_line(&format!("\n{heading}"))?;
                print_map(format, version)?;
            }
        }
        Ok(std::process::ExitCode::SUCCESS)
    }
}

impl Put {
    async fn run(&self) -> Outcome {
        let format = self.target.format.resolve()?;
        let (client, path) = self.target.locate().await?;
        let mut body = self.settings.fields();
        if !self.settings.custom_metadata.is_empty() {
            body.insert("custom_metadata".into(), self.settings.custom().into());
        }
        let answer = Secret::write(&client, &path, &body.into()).await;
        let answer = answer.map_err(Failure::doing(format!("Error writing data to {path}")))?;
        print_written(format, answer, &path)
    }
}

impl Patch {
    async fn run(&self) -> Outcome {
        let format = self.target.format.resolve()?;
        let (client, path) = self.target.locate().await?;
        let mut custom = self.settings.custom();
        custom.extend(self.remove_custom_metadata.iter().map(|key| (key.clone(), Value::Null)));
        let mut body = self.settings.fields();
        body.insert("custom_metadata".into(), custom.into());
        let answer = Secret::patch(&client, &path, &body.into()).await;
        let answer = answer.map_err(Failure::doing(format!("Error writing data to {path}")))?;
        print_written(format, answer, &path)
    }
}

impl Delete {
    async fn run(&self) -> Outcome {
        self.target.format.resolve()?;
        let (client, path) = self.target.locate().await?;
        let answer = Secret::delete(&client, &path, &[]).await;
        answer.map_err(Failure::doing(format!("Error deleting {path}")))?;
        print_line(&format!("Success! Data deleted (if it existed) at: {path}"))
    }
}

impl Target {
    async fn locate(&self) -> Result<(holdfast_client::vault::VaultClient, String), Failure> {
        let client = self.connection.client()?;
        let location: Location = self.key.locate(&client).await?;
        if !location.versioned {
            return Err(Failure::Usage("Metadata not supported on KV Version 1".into()));
        }
        Ok((client, location.face("metadata")))
    }
}

impl Settings {
    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        if self.max_versions >= 0 {
            fields.insert("max_versions".into(), self.max_versions.into());
        }
        if let Some(required) = self.cas_required {
            fields.insert("cas_required".into(), required.into());
        }
        if let Some(ttl) = self.delete_version_after {
            fields.insert("delete_version_after".into(), format_go_duration(ttl).into());
        }
        fields
    }

    fn custom(&self) -> Map<String, Value> {
        let pairs = self.custom_metadata.iter();
        pairs.map(|(key, value)| (key.clone(), value.as_str().into())).collect()
    }
}

fn print_written(format: Format, answer: Option<Secret>, path: &str) -> Outcome {
    match answer {
        Some(secret) => print_secret(format, &secret),
        None => print_success(format, &format!("Success! Data written to: {path}")),
    }
}

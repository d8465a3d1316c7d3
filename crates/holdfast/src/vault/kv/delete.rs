//! `kv delete`, `kv undelete`, `kv destroy`.

use clap::Args;
use serde_json::json;

use super::super::connection::Connection;
use super::super::output::{FieldFlags, FormatFlag, print_secret, print_success};
use super::super::secret::Secret;
use super::super::{Failure, Outcome};
use super::{Key, versions};

/// Delete a secret: the current version, or those named. `kv undelete` brings them back.
///
/// On a mount without versions the secret is gone for good.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault kv delete -mount=secret app
  vault kv delete -versions=1,2 secret/app")]
pub(in super::super) struct Delete {
    #[command(flatten)]
    key: Key,
    /// These versions instead of the current one
    #[arg(long, value_name = "VERSIONS")]
    versions: Vec<String>,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

/// Bring deleted versions of a secret back.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault kv undelete -mount=secret -versions=3 app")]
pub(in super::super) struct Undelete {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    output: FieldFlags,
}

/// Destroy versions of a secret for good.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault kv destroy -mount=secret -versions=1,2 app")]
pub(in super::super) struct Destroy {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    format: FormatFlag,
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    key: Key,
    /// The versions
    #[arg(long, value_name = "VERSIONS")]
    versions: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Delete {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let client = self.connection.client()?;
        let location = self.key.locate(&client).await?;
        let answer = if location.versioned && !self.versions.is_empty() {
            let body = json!({ "versions": versions(&self.versions) });
            Secret::write(&client, &location.face("delete"), &body).await
        } else {
            Secret::delete(&client, &location.face("data"), &[]).await
        };
        let path = location.face("data");
        let answer = answer.map_err(Failure::doing(format!("Error deleting {path}")))?;
        let success = format!("Success! Data deleted (if it existed) at: {path}");
        self.output.print_answer(format, answer, &success)
    }
}

impl Undelete {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let (path, answer) = self.change.send("undelete").await?;
        let success = format!("Success! Data written to: {path}");
        self.output.print_answer(format, answer, &success)
    }
}

impl Destroy {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let (path, answer) = self.change.send("destroy").await?;
        match answer {
            Some(secret) => print_secret(format, &secret),
            None => print_success(format, &format!("Success! Data written to: {path}")),
        }
    }
}

impl Change {
    async fn send(&self, verb: &str) -> Result<(String, Option<Secret>), Failure> {
        if self.versions.is_empty() {
            return Err(Failure::Usage(format!(
                "No versions provided, use the \"-versions\" flag to specify the version to {verb}."
            )));
        }
        let client = self.connection.client()?;
        let location = self.key.locate(&client).await?;
        if !location.versioned {
            let name = if verb == "undelete" { "Undelete" } else { "Destroy" };
            return Err(Failure::Usage(format!("{name} not supported on KV Version 1")));
        }
        let path = location.face(verb);
        let body = json!({ "versions": versions(&self.versions) });
        let answer = Secret::write(&client, &path, &body).await;
        let answer = answer.map_err(Failure::doing(format!("Error writing data to {path}")))?;
        Ok((path, answer))
    }
}

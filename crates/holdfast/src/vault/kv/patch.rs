//! `kv patch`: change some values of a secret.

use clap::Args;
use holdfast_client::vault::{VaultClient, VaultError};
use serde_json::{Map, Value, json};

use super::super::connection::Connection;
use super::super::output::{FieldFlags, print_success, warn};
use super::super::secret::Secret;
use super::super::{Failure, Outcome, data, values};
use super::rollback::{current, read_version};
use super::{Key, print_written};

/// Change some values of a secret and leave the others, as a new version.
///
/// Sends a merge patch. Where the token may not patch, the secret is read, changed here and
/// written back, unless it changed meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault kv patch -mount=secret app password=@password.txt
  vault kv patch -remove-data=old secret/app")]
pub(in super::super) struct Patch {
    #[command(flatten)]
    key: Key,
    /// What to change: `key=value`, `key=@file`, `key=-`, `@file` or `-`
    data: Vec<String>,
    /// Patch only if this is the current version
    #[arg(long, value_name = "VERSION", allow_negative_numbers = true, default_value = "0", hide_default_value = true,
          value_parser = values::integer)]
    cas: i64,
    /// `patch`: only by a merge patch; `rw`: only by reading and writing
    #[arg(long, value_name = "METHOD", default_value = "", hide_default_value = true)]
    method: String,
    /// A value to remove; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_data: Vec<String>,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Patch {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        if self.data.is_empty() && self.remove_data.is_empty() {
            return Err(Failure::Usage("Must supply data".into()));
        }
        let client = self.connection.client()?;
        let mut changes = data::parse(&self.data, !self.connection.non_interactive)?;
        let location = self.key.locate(&client).await?;
        if !location.versioned {
            let text = "K/V engine mount must be version 2 for patch support";
            return Err(Failure::Request(text.into()));
        }
        let path = location.face("data");
        changes.extend(self.remove_data.iter().map(|key| (key.clone(), Value::Null)));
        let answer = match self.method.as_str() {
            "rw" => read_then_write(&client, &path, changes).await?,
            "" | "patch" => self.merge_patch(&client, &path, changes).await?,
            other => {
                let text = format!("Unsupported method provided to -method flag: {other}");
                return Err(Failure::Request(text));
            }
        };
        match answer {
            None => print_success(format, &format!("Success! Data written to: {path}")),
            Some(secret) if self.output.field.is_some() => {
                self.output.print_secret(format, &secret)
            }
            Some(secret) => print_written(format, &path, &secret),
        }
    }

    async fn merge_patch(
        &self,
        client: &VaultClient,
        path: &str,
        changes: Map<String, Value>,
    ) -> Result<Option<Secret>, Failure> {
        let mut body = json!({ "data": changes, "options": {} });
        if self.cas > 0 {
            body["options"]["cas"] = self.cas.into();
        }
        let may_fall_back = self.method.is_empty();
        match Secret::patch(client, path, &body).await {
            Err(VaultError::Denied(_)) if may_fall_back => {
                let answer = read_then_write(client, path, changes).await?;
                warn(&format!(
                    "Data was written to {path} but we recommend that you add the \"patch\" \
                     capability to your ACL policy in order to use HTTP PATCH in the future."
                ));
                Ok(answer)
            }
            Err(error) if may_fall_back && error.status() == Some(405) => {
                read_then_write(client, path, changes).await
            }
            other => other.map_err(Failure::doing(format!("Error writing data to {path}"))),
        }
    }
}

async fn read_then_write(
    client: &VaultClient,
    path: &str,
    changes: Map<String, Value>,
) -> Result<Option<Secret>, Failure> {
    let found = read_version(client, path, None, "patch").await?;
    let mut values = current(&found, path, "patch")?;
    for (key, value) in changes {
        // Where a merge patch would remove the value, so does this.
        match value {
            Value::Null => drop(values.remove(&key)),
            value => drop(values.insert(key, value)),
        }
    }
    let body = json!({ "data": values, "options": { "cas": found.version } });
    let answer = Secret::write(client, path, &body).await;
    answer.map_err(Failure::doing(format!("Error writing data to {path}")))
}

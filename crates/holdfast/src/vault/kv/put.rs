//! `kv put`: write a secret, as a new version where there are versions.

use clap::Args;
use serde_json::{Value, json};

use super::super::connection::Connection;
use super::super::output::{FieldFlags, print_success};
use super::super::secret::Secret;
use super::super::{Failure, Outcome, data, values};
use super::{Key, print_written};

/// Write a secret in place of what was there; with versions, as a new one.
///
/// Arguments are visible to other processes of the machine: give secret values by file or
/// standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault kv put -mount=secret app user=web password=@password.txt
  vault kv put -mount=secret -cas=3 app @app.json
  generate | vault kv put secret/app password=-")]
pub(in super::super) struct Put {
    #[command(flatten)]
    key: Key,
    /// What to write: `key=value`, `key=@file`, `key=-`, `@file` or `-`
    data: Vec<String>,
    /// Write only if this is the current version; 0: only if there is none
    #[arg(long, value_name = "VERSION", allow_negative_numbers = true, default_value = "-1", hide_default_value = true,
          value_parser = values::integer)]
    cas: i64,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Put {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        if self.data.is_empty() {
            return Err(Failure::Usage("Must supply data".into()));
        }
        let client = self.connection.client()?;
        let fields = data::parse(&self.data, !self.connection.non_interactive)?;
        let location = self.key.locate(&client).await?;
        let path = location.face("data");
        let body = match (location.versioned, self.cas) {
            (false, _) => Value::from(fields),
            (true, ..0) => json!({ "data": fields, "options": {} }),
            (true, cas) => json!({ "data": fields, "options": { "cas": cas } }),
        };
        let answer = Secret::write(&client, &path, &body).await;
        match answer.map_err(Failure::doing(format!("Error writing data to {path}")))? {
            None => print_success(format, &format!("Success! Data written to: {path}")),
            Some(secret) if self.output.field.is_some() => {
                self.output.print_secret(format, &secret)
            }
            Some(secret) => print_written(format, &path, &secret),
        }
    }
}

//! `write` and `patch`: put something at a path.

use clap::Args;
use serde_json::Value;

use super::connection::Connection;
use super::output::FieldFlags;
use super::path::sanitize;
use super::secret::Secret;
use super::{Failure, Outcome, data};

/// Write to a path: configuration, a role, anything the API takes.
///
/// Data is given as `key=value` (text), `key=@file` (the file's content), `key=-` (standard
/// input), `@file.json` or `-` (a JSON object). Arguments are visible to other processes of the
/// machine: give secrets by file or standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault write auth/approle/role/web token_policies=web token_ttl=20m
  vault write auth/jwt/config jwks_pairs=@keys.json
  vault write -force database/rotate-root/main
  printf '{\"password\": \"...\"}' | vault write auth/userpass/users/ann -")]
pub(super) struct Write {
    #[command(flatten)]
    target: Target,
}

/// Change some fields of what a path holds, by a JSON merge patch; `null` removes a field.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault patch identity/entity/name/ann metadata=@metadata.json")]
pub(super) struct Patch {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// The API path, without `/v1/`
    path: String,
    /// What to write: `key=value`, `key=@file`, `key=-`, `@file` or `-`
    data: Vec<String>,
    /// Allow to write nothing, for paths that only need the call
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Write {
    pub(super) async fn run(&self) -> Outcome {
        self.target.run(false).await
    }
}

impl Patch {
    pub(super) async fn run(&self) -> Outcome {
        self.target.run(true).await
    }
}

impl Target {
    async fn run(&self, patch: bool) -> Outcome {
        let format = self.output.resolve()?;
        if self.data.is_empty() && !self.force {
            return Err(Failure::Usage("Must supply data or use -force".into()));
        }
        let path = sanitize(&self.path);
        let body = Value::from(data::parse(&self.data, !self.connection.non_interactive)?);
        let client = self.connection.client()?;
        let answer = if patch {
            Secret::patch(&client, path, &body).await
        } else {
            Secret::write(&client, path, &body).await
        };
        let answer = answer.map_err(Failure::doing(format!("Error writing data to {path}")))?;
        self.output.print_answer(format, answer, &format!("Success! Data written to: {path}"))
    }
}

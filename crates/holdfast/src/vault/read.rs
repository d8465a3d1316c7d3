//! `read`: what a path holds.

use clap::Args;
use holdfast_client::vault::{Method, Response};

use super::connection::Connection;
use super::output::{FieldFlags, Format, print_line};
use super::path::sanitize;
use super::secret::Secret;
use super::{Failure, Outcome, data};

/// Read what a path holds: a secret, credentials made for you, configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault read database/creds/backend-role
  vault read -field=ttl auth/token/lookup-self
  vault read -format=raw sys/health")]
pub(super) struct Read {
    /// The API path, without `/v1/`
    path: String,
    /// `key=value` pairs that go into the query
    data: Vec<String>,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Read {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve_with_raw()?;
        let client = self.connection.client()?;
        let query = data::parse_query(&self.data, !self.connection.non_interactive)?;
        let (path, query) = (sanitize(&self.path), data::as_pairs(&query));
        if format == Format::Raw {
            let response = client.request(Method::GET, path, None, &query).await;
            let response = response.and_then(Response::success);
            let response = response.map_err(Failure::doing(format!("Error reading: {path}")))?;
            return print_line(&String::from_utf8_lossy(response.body.expose()));
        }
        let secret = Secret::read(&client, path, &query).await;
        match secret.map_err(Failure::doing(format!("Error reading {path}")))? {
            Some(secret) => self.output.print_secret(format, &secret),
            None => Err(Failure::Request(format!("No value found at {path}"))),
        }
    }
}

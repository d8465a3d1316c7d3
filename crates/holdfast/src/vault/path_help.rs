//! `path-help`: what the server says about a path.

use clap::Args;
use holdfast_client::vault::{Method, VaultError};
use serde::Deserialize;
use serde_json::Value;

use super::connection::Connection;
use super::output::{Format, FormatFlag, print_line};
use super::path::sanitize;
use super::{Failure, Outcome};

/// Show what the server says about a path.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault path-help database/roles/web")]
pub(super) struct PathHelp {
    /// The API path, without `/v1/`
    path: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Help {
    help: String,
    openapi: Value,
}

impl PathHelp {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let path = sanitize(&self.path);
        let response = client.request(Method::GET, path, None, &[("help", "1")]).await;
        let help = response.and_then(|response| response.success()?.parse::<Help>());
        let help = match help {
            Err(VaultError::Sealed(_)) => {
                let text = "Error: the server is sealed, and knows its paths only once unsealed";
                return Err(Failure::Request(text.into()));
            }
            other => other.map_err(Failure::doing("Error retrieving help"))?,
        };
        match format {
            Format::Json => print_line(&help.openapi.to_string()),
            _ => print_line(&help.help),
        }
    }
}

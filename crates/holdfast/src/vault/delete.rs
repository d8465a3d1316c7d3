//! `delete`: remove what a path holds.

use clap::Args;

use super::connection::Connection;
use super::output::FieldFlags;
use super::path::sanitize;
use super::secret::Secret;
use super::{Failure, Outcome, data};

/// Delete what a path holds.
///
/// For versioned secrets use `kv delete`: here the path is the API's own.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault delete auth/approle/role/web")]
pub(super) struct Delete {
    /// The API path, without `/v1/`
    path: String,
    /// `key=value` pairs that go into the query
    data: Vec<String>,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Delete {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let client = self.connection.client()?;
        let query = data::parse_query(&self.data, !self.connection.non_interactive)?;
        let path = sanitize(&self.path);
        let answer = Secret::delete(&client, path, &data::as_pairs(&query)).await;
        let answer = answer.map_err(Failure::doing(format!("Error deleting {path}")))?;
        let success = format!("Success! Data deleted (if it existed) at: {path}");
        self.output.print_answer(format, answer, &success)
    }
}

//! `kv enable-versioning`: from now on a mount keeps versions.

use clap::Args;
use serde_json::json;

use super::super::connection::Connection;
use super::super::output::{FormatFlag, print_line};
use super::super::path::mount;
use super::super::secret::Secret;
use super::super::{Failure, Outcome};

/// Have a mount keep versions from now on. There is no way back.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault kv enable-versioning kv")]
pub(in super::super) struct EnableVersioning {
    /// The mount
    mount: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

impl EnableVersioning {
    pub(super) async fn run(&self) -> Outcome {
        self.format.resolve()?;
        let client = self.connection.client()?;
        let mount = mount(&self.mount);
        let body = json!({ "options": { "version": "2" } });
        let answer = Secret::write(&client, &format!("sys/mounts/{mount}tune"), &body).await;
        answer.map_err(Failure::doing(format!("Error tuning secrets engine {mount}")))?;
        print_line(&format!("Success! Tuned the secrets engine at: {mount}"))
    }
}

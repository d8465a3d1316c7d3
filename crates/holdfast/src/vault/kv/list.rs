//! `kv list`: the names of secrets.

use clap::Args;

use super::super::connection::Connection;
use super::super::list::{nothing, print_listing};
use super::super::output::FormatFlag;
use super::super::secret::Secret;
use super::super::{Failure, Outcome};
use super::MountFlag;

/// List the names of secrets; folders end with a slash. Values are not shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vault kv list -mount=secret\n  vault kv list secret/web/")]
pub(in super::super) struct List {
    /// The folder: `mount/folder`, or only `folder` with -mount
    path: Option<String>,
    #[command(flatten)]
    mount: MountFlag,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// List the names of secrets in a folder and in all that lie below it. Values are not shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vault kv scan -mount=secret\n  vault kv scan secret/web/")]
pub(in super::super) struct Scan {
    #[command(flatten)]
    list: List,
}

impl Scan {
    pub(super) async fn run(&self) -> Outcome {
        self.list.ask("scan", "scanning").await
    }
}

impl List {
    pub(super) async fn run(&self) -> Outcome {
        self.ask("list", "listing").await
    }

    async fn ask(&self, verb: &str, doing: &str) -> Outcome {
        let format = self.format.resolve()?;
        let path = match (&self.path, &self.mount.mount) {
            (Some(path), _) => path.as_str(),
            (None, Some(_)) => "",
            (None, None) => {
                let text = "Not enough arguments (expected 1, got 0)";
                return Err(Failure::Usage(text.into()));
            }
        };
        let client = self.connection.client()?;
        let path = self.mount.locate(&client, path).await?.face("metadata");
        let secret = Secret::read(&client, &path, &[(verb, "true")]).await;
        let secret = secret.map_err(Failure::doing(format!("Error {doing} {path}")))?;
        if secret.is_none() && verb == "scan" {
            return nothing(format, "entries", &path);
        }
        print_listing(format, secret, &path, false)
    }
}

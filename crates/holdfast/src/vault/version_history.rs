//! `version-history`: which versions ran on this store.

use clap::Args;
use serde_json::Value;

use super::connection::Connection;
use super::output::{Format, FormatFlag, print_document, print_line, warn};
use super::secret::Secret;
use super::{Failure, Outcome};

/// Show which versions of the server ran, and since when.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault version-history")]
pub(super) struct VersionHistory {
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// What the official client says before it asks.
const NOTE: &str = "
Note:
Use of this command requires a server running Vault 1.10.0 or greater.
Version tracking was added in 1.9.0. Earlier versions have not been tracked.

";

impl VersionHistory {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let secret = Secret::list(&client, "sys/version-history", &[]).await;
        let secret = secret.map_err(Failure::doing("Error reading version history"))?;
        let Some(secret) = secret else {
            return Err(Failure::Request("Invalid response returned from Vault".into()));
        };
        warn(NOTE);
        if format != Format::Table {
            return print_document(format, &secret);
        }
        let data = secret.data.clone().unwrap_or_default();
        let versions = secret.keys().into_iter().flatten().filter_map(Value::as_str);
        let mut rows = vec![["Version", "Installation Time", "Commit Date"].map(String::from)];
        rows.push(rows[0].each_ref().map(|title| "-".repeat(title.len())));
        rows.extend(versions.map(|version| {
            let info = &data["key_info"][version];
            let field = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
            [version.to_owned(), field("timestamp_installed"), field("commit_date")]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        let lines = rows.iter().map(|[a, b, c]| format!("{a:first$}  {b:second$}  {c}"));
        print_line(&lines.collect::<Vec<_>>().join("\n"))
    }
}

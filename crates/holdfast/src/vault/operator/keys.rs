//! `operator key-status` and `rotate`: the key that new entries are encrypted with.

use clap::Args;
use holdfast_client::vault::{Method, Response, VaultClient};
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::connection::Connection;
use super::super::output::{Format, FormatFlag, print_document, print_line};
use super::super::{Failure, Outcome, table};

/// Show which key new entries are encrypted with.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault operator key-status")]
pub(in super::super) struct KeyStatus {
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Encrypt new entries with a new key. Older ones stay readable.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault operator rotate")]
pub(in super::super) struct Rotate {
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// `sys/key-status`, in the official order.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Key {
    term: u64,
    install_time: String,
    encryptions: u64,
}

impl KeyStatus {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let key = Key::fetch(&self.connection.client()?).await?;
        if format == Format::Table {
            print_line(&key.table())
        } else {
            print_document(format, &key)
        }
    }
}

impl Rotate {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let response = client.request(Method::POST, "sys/rotate/keyring", None, &[]).await;
        // Vault, and older servers, know only the shorter path.
        let response = match response {
            Ok(response) if response.status == 404 => {
                client.request(Method::PUT, "sys/rotate", None, &[]).await
            }
            other => other,
        };
        let response = response.and_then(Response::success);
        response.map_err(Failure::doing("Error rotating key"))?;
        let key = Key::fetch(&client).await?;
        if format != Format::Table {
            return print_document(format, &key);
        }
        print_line(&format!("Success! Rotated key\n\n{}", key.table()))
    }
}

impl Key {
    async fn fetch(client: &VaultClient) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Reply {
            data: Key,
        }
        let response = client.request(Method::GET, "sys/key-status", None, &[]).await;
        let key = response.and_then(|response| response.success()?.parse::<Reply>());
        Ok(key.map_err(Failure::doing("Error reading key status"))?.data)
    }

    fn table(&self) -> String {
        let time = self.install_time.parse::<Timestamp>();
        let time = time.map_or_else(
            |_| self.install_time.clone(),
            |time| time.strftime("%d %b %y %H:%M UTC").to_string(),
        );
        table::write_plain(&[
            vec!["Key Term".into(), self.term.to_string()],
            vec!["Install Time".into(), time],
            vec!["Encryption Count".into(), self.encryptions.to_string()],
        ])
    }
}

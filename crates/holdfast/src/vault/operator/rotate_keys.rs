//! `operator rotate-keys`: new shares of the key, for a quorum of the old ones.

use clap::Args;
use holdfast_client::vault::{Method, Response, VaultClient, VaultError};
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::connection::Connection;
use super::super::output::{
    Format, FormatFlag, print_document, print_line, print_rows, print_secret, warn,
};
use super::super::secret::Secret;
use super::super::{Failure, Outcome, values};
use super::payload;
use super::quorum::Share;

/// Make new shares of the unseal key, for a quorum of the old ones.
///
/// Begin with -init; then everyone gives a share. The last one gets the new shares.
#[derive(Debug, Args)]
#[command(
    alias = "rekey",
    after_help = "\
Examples:
  vault operator rotate-keys -init -key-shares=5 -key-threshold=3
  vault operator rotate-keys
  vault operator rotate-keys -nonce=f0e2... - < share"
)]
pub(in super::super) struct RotateKeys {
    #[command(flatten)]
    share: Share,
    /// Begin
    #[arg(long)]
    init: bool,
    /// Give up
    #[arg(long)]
    cancel: bool,
    /// Show how far it is
    #[arg(long)]
    status: bool,
    /// Into how many shares to split the new key
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "5", value_parser = values::integer)]
    key_shares: i64,
    /// How many of them are needed
    #[arg(short = 't', long, value_name = "COUNT", default_value = "3", value_parser = values::integer)]
    key_threshold: i64,
    /// `barrier`, or `recovery` for the recovery key of a server that unseals itself
    #[arg(long, value_name = "KEY", default_value = "barrier")]
    target: String,
    /// Take the new shares into use only once a quorum of them was given back
    #[arg(long)]
    verify: bool,
    /// Encrypt the new shares for their holders; not supported
    #[arg(long, value_name = "KEYS")]
    pgp_keys: Option<String>,
    /// Keep copies of the new shares; not supported
    #[arg(long)]
    backup: bool,
    /// Show the copies that the server keeps
    #[arg(long)]
    backup_retrieve: bool,
    /// Delete the copies that the server keeps
    #[arg(long)]
    backup_delete: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// How far it is, in the official order.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(skip_serializing_if = "is_false")]
    complete: bool,
    nonce: String,
    started: bool,
    t: u64,
    n: u64,
    progress: u64,
    required: u64,
    pgp_fingerprints: Option<Vec<String>>,
    backup: bool,
    verification_required: bool,
    verification_nonce: String,
}

/// What the last share brings, in the official order.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Update {
    nonce: String,
    complete: bool,
    keys: Option<Vec<SecretString>>,
    keys_base64: Option<Vec<SecretString>>,
    pgp_fingerprints: Option<Vec<String>>,
    backup: bool,
    verification_required: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    verification_nonce: String,
}

impl RotateKeys {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let base = match self.target.trim().to_lowercase().as_str() {
            "barrier" => "sys/rotate/root",
            "recovery" | "hsm" => "sys/rotate/recovery",
            _ => return Err(Failure::Usage(format!("Unknown target: {}", self.target))),
        };
        if self.pgp_keys.is_some() || self.backup {
            let text = "-pgp-keys and -backup are not supported: the server does not encrypt shares \
                        for their holders";
            return Err(Failure::Usage(text.into()));
        }
        if self.backup_retrieve {
            self.retrieve_backup(&client, base, format).await
        } else if self.backup_delete {
            self.delete_backup(&client, base).await
        } else if self.cancel {
            self.cancel(&client, base).await
        } else if self.init {
            self.init(&client, base, format).await
        } else if self.status {
            let status = self.fetch(&client, base).await;
            let status = status.map_err(Failure::doing("Error reading rotate status"))?;
            self.print(&status, format)
        } else {
            self.provide(&client, base, format).await
        }
    }

    async fn retrieve_backup(&self, client: &VaultClient, base: &str, format: Format) -> Outcome {
        let kept = Secret::read(client, &format!("{base}/backup"), &[]).await;
        let kept = kept.map_err(Failure::doing("Error retrieving rotation backed up keys"))?;
        print_secret(format, &kept.unwrap_or_default())
    }

    async fn delete_backup(&self, client: &VaultClient, base: &str) -> Outcome {
        let done = Secret::delete(client, &format!("{base}/backup"), &[]).await;
        done.map_err(Failure::doing("Error deleting rotation backed up keys"))?;
        print_line("Success! Deleted backed up keys (if they existed)")
    }

    /// How far the attempt is, or the verification of its outcome.
    fn print(&self, status: &Status, format: Format) -> Outcome {
        if !self.verify || format != Format::Table {
            return status.print(format);
        }
        let rows = [
            ("Started", status.started.to_string()),
            ("New Shares", status.n.to_string()),
            ("New Threshold", status.t.to_string()),
            ("Verification Nonce", status.nonce.clone()),
            ("Verification Progress", format!("{}/{}", status.progress, status.t)),
        ];
        let rows = rows.map(|(key, value)| vec![key.to_owned(), value]);
        print_rows(&["Key", "Value"], rows.to_vec())
    }

    async fn cancel(&self, client: &VaultClient, base: &str) -> Outcome {
        let path = format!("{base}/{}", if self.verify { "verify" } else { "init" });
        let response = client.request(Method::DELETE, &path, None, &[]).await;
        let response = response.and_then(Response::success);
        response.map_err(Failure::doing("Error canceling rotation"))?;
        print_line("Success! Canceled rotation (if it was started)")
    }

    async fn init(&self, client: &VaultClient, base: &str, format: Format) -> Outcome {
        let body = json!({
            "secret_shares": self.key_shares,
            "secret_threshold": self.key_threshold,
            "pgp_keys": null,
            "backup": false,
            "require_verification": self.verify,
        });
        let path = format!("{base}/init");
        let response = client.request(Method::POST, &path, Some(&body), &[]).await;
        let status: Status = response
            .and_then(|response| payload(&response.success()?))
            .map_err(Failure::doing("Error initializing rotation"))?;
        if format == Format::Table {
            warn("The new shares are shown once, to whoever gives the last of the old ones.");
            print_line("")?;
        }
        status.print(format)
    }

    /// The status of the attempt, or of the verification of its outcome.
    async fn fetch(&self, client: &VaultClient, base: &str) -> Result<Status, VaultError> {
        let path = format!("{base}/{}", if self.verify { "verify" } else { "init" });
        payload(&client.request(Method::GET, &path, None, &[]).await?.success()?)
    }

    async fn provide(&self, client: &VaultClient, base: &str, format: Format) -> Outcome {
        let status = self.fetch(client, base).await;
        let status = status.map_err(Failure::doing("Error getting rotation status"))?;
        if !status.started {
            return Err(Failure::Usage(
                "No rotation is in progress. Start a rotation process by running \"bao operator\n\
                 rotate-keys -init\"."
                    .into(),
            ));
        }
        let (key, nonce) = self.share.read(&status.nonce, !self.connection.non_interactive)?;
        let body = json!({ "key": key.expose(), "nonce": nonce });
        let path = format!("{base}/{}", if self.verify { "verify" } else { "update" });
        let response = client.request(Method::PUT, &path, Some(&body), &[]).await;
        let update: Update = response
            .and_then(|response| payload(&response.success()?))
            .map_err(Failure::doing("Error posting unseal key"))?;
        if !update.complete {
            let status = self.fetch(client, base).await;
            let status = status.map_err(Failure::doing("Error reading rotate status"))?;
            return self.print(&status, format);
        }
        if format != Format::Table {
            return print_document(format, &update);
        }
        update.print(&status, self.verify)
    }
}

impl Status {
    fn print(&self, format: Format) -> Outcome {
        if format != Format::Table {
            return print_document(format, self);
        }
        let mut rows = Vec::new();
        let mut add = |key: &str, value: String| rows.push(vec![key.to_owned(), value]);
        add("Nonce", self.nonce.clone());
        add("Started", self.started.to_string());
        if self.started {
            let verifying = match self.progress == self.required {
                true => " (verification in progress)",
                false => "",
            };
            add("Progress", format!("{}/{}{verifying}", self.progress, self.required));
            for (key, count) in [("New Shares", self.n), ("New Threshold", self.t)] {
                if count > 0 {
                    add(key, count.to_string());
                }
            }
            add("Verification Required", self.verification_required.to_string());
            if !self.verification_nonce.is_empty() {
                add("Verification Nonce", self.verification_nonce.clone());
            }
        }
        print_rows(&["Key", "Value"], rows)
    }
}

impl Update {
    fn print(&self, status: &Status, verified: bool) -> Outcome {
        if verified {
            return print_line("Success! The new shares are verified and in use.");
        }
        let hex = self.keys.as_deref().unwrap_or_default();
        let base64 = self.keys_base64.as_deref().unwrap_or_default();
        let keys = if base64.len() == hex.len() { base64 } else { hex };
        print_line("")?;
        for (index, key) in keys.iter().enumerate() {
            print_line(&format!("Key {}: {}", index + 1, key.expose()))?;
        }
        print_line(&format!("\nOperation nonce: {}\n", self.nonce))?;
        let (n, t) = (status.n, status.t);
        if self.verification_required {
            return print_line(&format!(
                "{t} of these {n} shares have to be given back before they are in use:\n  vault \
                 operator rotate-keys -verify -nonce={}",
                self.verification_nonce
            ));
        }
        print_line(&format!("Success! From now on {t} of these {n} shares are needed."))
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

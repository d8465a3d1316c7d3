//! `operator unseal`, `seal`, `step-down`.

use clap::Args;
use holdfast_client::vault::{Method, Response};
use holdfast_types::SecretString;
use serde_json::{Value, json};

use super::super::connection::Connection;
use super::super::output::{FormatFlag, print_line};
use super::super::status::SealStatus;
use super::super::{Failure, Outcome, prompt};

/// Give a share of the unseal key. Without an argument it is asked for, without an echo.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault operator unseal
  vault operator unseal - < share
  vault operator unseal -reset")]
pub(in super::super) struct Unseal {
    /// The share, or `-` for standard input; arguments are visible to other processes
    key: Option<String>,
    /// Forget the shares given so far
    #[arg(long)]
    reset: bool,
    /// Give the share to a change of the seal
    #[arg(long)]
    migrate: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Close the store. Nothing is served until it is unsealed again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault operator seal")]
pub(in super::super) struct Seal {
    #[command(flatten)]
    connection: Connection,
}

/// Have the active server of several hand over to another.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault operator step-down")]
pub(in super::super) struct StepDown {
    #[command(flatten)]
    connection: Connection,
}

impl Unseal {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let (body, doing) = if self.reset {
            (json!({ "reset": true }), "Error resetting unseal process")
        } else {
            let key = self.key()?;
            let body = json!({ "key": key.expose(), "reset": false, "migrate": self.migrate });
            (body, "Error unsealing")
        };
        let response = client.request(Method::PUT, "sys/unseal", Some(&body), &[]).await;
        let status = response.and_then(|response| response.success()?.parse::<SealStatus>());
        let mut status = status.map_err(Failure::doing(doing))?;
        status.ask_leader(&client).await?;
        status.print(format)
    }

    fn key(&self) -> Result<SecretString, Failure> {
        match self.key.as_deref().map(str::trim) {
            Some("-") => {
                let text = std::io::read_to_string(std::io::stdin())
                    .map_err(|error| Failure::Usage(format!("read the key: {error}")))?;
                Ok(SecretString::from(text.trim()))
            }
            Some(key) if !key.is_empty() => Ok(SecretString::from(key)),
            _ if self.connection.non_interactive => Err(Failure::Usage(
                "Refusing to read from stdin with -non-interactive specified; specify unseal key \
                 as an\nargument to this command"
                    .into(),
            )),
            _ => prompt::hidden("Unseal Key (will be hidden): ", "an unseal key"),
        }
    }
}

impl Seal {
    pub(super) async fn run(&self) -> Outcome {
        let client = self.connection.client()?;
        client.seal().await.map_err(Failure::doing("Error sealing"))?;
        print_line("Success! Vault is sealed.")
    }
}

impl StepDown {
    pub(super) async fn run(&self) -> Outcome {
        let client = self.connection.client()?;
        let response = client.request(Method::PUT, "sys/step-down", None::<&Value>, &[]).await;
        let response = response.and_then(Response::success);
        response.map_err(Failure::doing("Error stepping down"))?;
        print_line(&format!("Success! Stepped down: {}", client.address()))
    }
}

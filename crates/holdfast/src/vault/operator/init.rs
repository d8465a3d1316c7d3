//! `operator init`: make the store of a new server.

use std::process::ExitCode;

use clap::Args;
use holdfast_client::vault::{InitReply, InitRequest, Method};
use holdfast_types::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::connection::{Connection, explain};
use super::super::output::{Format, FormatFlag, print_document, print_line};
use super::super::{Failure, Outcome, values};

/// Make the store of a new server, and print the keys that open it and the first token.
///
/// They are shown this once. Give each share to another person.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault operator init -key-shares=3 -key-threshold=2
  vault operator init -status")]
pub(in super::super) struct Init {
    /// Only say whether the server is initialized: exit code 0 if it is, 2 if not, 1 on errors
    #[arg(long)]
    status: bool,
    /// Into how many shares to split the unseal key [default: 5]
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = values::integer)]
    key_shares: Option<i64>,
    /// How many of them open the store [default: 3]
    #[arg(short = 't', long, value_name = "COUNT", value_parser = values::integer)]
    key_threshold: Option<i64>,
    /// Into how many shares to split the recovery key of a server that unseals itself
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = values::integer)]
    recovery_shares: i64,
    /// How many of them are needed
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = values::integer)]
    recovery_threshold: i64,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// What is shown, in the official order.
#[derive(Serialize)]
struct Shown<'a> {
    unseal_keys_b64: &'a [SecretString],
    unseal_keys_hex: &'a [SecretString],
    unseal_shares: u64,
    unseal_threshold: u64,
    recovery_keys_b64: &'a [SecretString],
    recovery_keys_hex: &'a [SecretString],
    recovery_keys_shares: u64,
    recovery_keys_threshold: u64,
    root_token: &'a SecretString,
}

impl Init {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        if self.status {
            return self.print_status(&client, format).await;
        }
        let seal = client.seal_status().await;
        let seal = seal.map_err(|error| Failure::Request(explain(&error)))?;
        let number = |number: i64| u64::try_from(number).unwrap_or_default();
        let request = if seal.recovery_seal {
            InitRequest {
                secret_shares: number(self.key_shares.unwrap_or_default()),
                secret_threshold: number(self.key_threshold.unwrap_or_default()),
                recovery_shares: number(self.recovery_shares),
                recovery_threshold: number(self.recovery_threshold),
            }
        } else {
            InitRequest {
                secret_shares: number(self.key_shares.unwrap_or(5)),
                secret_threshold: number(self.key_threshold.unwrap_or(3)),
                ..InitRequest::default()
            }
        };
        let reply = client.init(&request).await.map_err(Failure::doing("Error initializing"))?;
        print_keys(format, &request, &reply)
    }

    async fn print_status(
        &self,
        client: &holdfast_client::vault::VaultClient,
        format: Format,
    ) -> Outcome {
        let response = client.request(Method::GET, "sys/init", None, &[]).await;
        let status = response.and_then(|response| response.success()?.json());
        let status = status
            .map_err(Failure::doing("Error checking init status"))
            .map_err(Failure::into_usage)?;
        let initialized = status.get("initialized") == Some(&Value::Bool(true));
        match (format, initialized) {
            (Format::Table, true) => print_line("Vault is initialized")?,
            (Format::Table, false) => print_line("Vault is not initialized")?,
            _ => print_document(format, &json!({ "Initialized": initialized }))?,
        };
        Ok(ExitCode::from(if initialized { 0 } else { 2 }))
    }
}

fn print_keys(format: Format, request: &InitRequest, reply: &InitReply) -> Outcome {
    let (shares, threshold) = match reply.keys.is_empty() {
        true => (1, 1),
        false => (request.secret_shares, request.secret_threshold),
    };
    if format != Format::Table {
        return print_document(
            format,
            &Shown {
                unseal_keys_b64: &reply.keys_base64,
                unseal_keys_hex: &reply.keys,
                unseal_shares: shares,
                unseal_threshold: threshold,
                recovery_keys_b64: &reply.recovery_keys_base64,
                recovery_keys_hex: &reply.recovery_keys,
                recovery_keys_shares: request.recovery_shares,
                recovery_keys_threshold: request.recovery_threshold,
                root_token: &reply.root_token,
            },
        );
    }
    for (name, hex, base64) in [
        ("Unseal", &reply.keys, &reply.keys_base64),
        ("Recovery", &reply.recovery_keys, &reply.recovery_keys_base64),
    ] {
        let keys = if base64.len() == hex.len() { base64 } else { hex };
        for (index, key) in keys.iter().enumerate() {
            print_line(&format!("{name} Key {}: {}", index + 1, key.expose()))?;
        }
    }
    print_line(&format!("\nInitial Root Token: {}\n", reply.root_token.expose()))?;
    if reply.keys.is_empty() {
        return print_line("Success! Vault is initialized");
    }
    print_line(&format!(
        "Success! {threshold} of these {shares} keys open the store after each start. They are \
         stored\nnowhere: whoever loses more than {} of them loses every secret.",
        shares.saturating_sub(threshold)
    ))
}

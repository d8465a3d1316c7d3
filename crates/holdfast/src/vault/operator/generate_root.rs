//! `operator generate-root`: a root token, for a quorum of the shares.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::Args;
use holdfast_client::vault::{Method, Response, VaultClient};
use holdfast_types::{Random, SecretString, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::connection::Connection;
use super::super::output::{Format, FormatFlag, print_bare, print_document, print_line, warn};
use super::super::{Failure, Outcome, table};
use super::quorum::Share;

/// The API path under which an attempt lives.
const ATTEMPT: &str = "sys/generate-root-token/attempt";
/// The length of a token where the server does not say it.
const TOKEN_LENGTH: usize = 26;

/// Make a root token, for a quorum of the shares of the unseal key.
///
/// Begin with -init, and keep the one-time password that it shows. Then everyone gives a share.
/// The last one gets the token, hidden by the password: -decode brings it out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault operator generate-root -init
  vault operator generate-root
  vault operator generate-root -decode=- -otp=... < encoded
  vault operator generate-root -cancel")]
pub(in super::super) struct GenerateRoot {
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
    /// Print a one-time password for -init
    #[arg(long)]
    generate_otp: bool,
    /// Bring the token out of this text, or `-` for standard input
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    decode: String,
    /// The one-time password
    #[arg(long, value_name = "PASSWORD", default_value = "", hide_default_value = true)]
    otp: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// How far it is, in the official order.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Status {
    nonce: String,
    started: bool,
    progress: u64,
    required: u64,
    complete: bool,
    encoded_token: String,
    encoded_root_token: String,
    pgp_fingerprint: String,
    otp: String,
    otp_length: usize,
}

impl GenerateRoot {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        if self.generate_otp {
            let length = match fetch(&client).await?.otp_length {
                0 => TOKEN_LENGTH,
                length => length,
            };
            let random: &dyn Random = &SystemRandom;
            let otp = SecretString::new(random.base62(length));
            return match format {
                Format::Table => print_bare(otp.expose()),
                _ => print_document(format, &json!({ "otp": otp, "otp_length": length })),
            };
        }
        if !self.decode.is_empty() {
            return self.decode(&client, format).await;
        }
        if self.cancel {
            let response = client.request(Method::DELETE, ATTEMPT, None, &[]).await;
            let response = response.and_then(Response::success);
            response.map_err(Failure::doing("Error canceling root token generation"))?;
            return print_line("Success! Root token generation canceled (if it was started)");
        }
        if self.init {
            let body = json!({ "otp": self.otp, "pgp_key": "" });
            let response = client.request(Method::PUT, ATTEMPT, Some(&body), &[]).await;
            let status = response.and_then(|response| parse(&response.success()?));
            return status
                .map_err(Failure::doing("Error initializing root generation"))?
                .print(format);
        }
        let status = fetch(&client).await?;
        if self.status {
            status.print(format)
        } else {
            self.provide(&client, &status, format).await
        }
    }

    async fn provide(&self, client: &VaultClient, status: &Status, format: Format) -> Outcome {
        if !status.started {
            return Err(Failure::Usage(format!(
                "No root generation is in progress. Start a root generation by running \"bao\n\
                 operator generate-root -init\".\n\
                 If starting root generation using the OTP method and generating your own OTP,\n\
                 the length of the OTP string needs to be {} characters in length.",
                status.otp_length
            )));
        }
        let (key, nonce) = self.share.read(&status.nonce, !self.connection.non_interactive)?;
        let body = json!({ "key": key.expose(), "nonce": nonce });
        let path = "sys/generate-root-token/update";
        let response = client.request(Method::PUT, path, Some(&body), &[]).await;
        let status = response.and_then(|response| parse(&response.success()?));
        status.map_err(Failure::doing("Error posting unseal key"))?.print(format)
    }

    async fn decode(&self, client: &VaultClient, format: Format) -> Outcome {
        if self.otp.is_empty() {
            return Err(Failure::Usage("Missing otp: use -otp to supply it".into()));
        }
        let encoded = match self.decode.as_str() {
            "-" => std::io::read_to_string(std::io::stdin())
                .map_err(|error| Failure::Usage(format!("Failed to read from stdin: {error}")))?,
            text => text.to_owned(),
        };
        // As in the official client, although the answer does not change the outcome.
        fetch(client).await?;
        let token = decode(encoded.trim(), &self.otp)
            .map_err(|problem| Failure::Usage(format!("Error decoding root token: {problem}")))?;
        match format {
            Format::Table => print_bare(token.expose()),
            _ => print_document(format, &json!({ "token": token })),
        }
    }
}

/// The token in `encoded`: base64 of its bytes, each combined with one of the password by XOR.
fn decode(encoded: &str, otp: &str) -> Result<SecretString, String> {
    let bytes = STANDARD_NO_PAD
        .decode(encoded.trim_end_matches('='))
        .map_err(|error| format!("error decoding base64'd token: {error}"))?;
    if bytes.len() != otp.len() {
        return Err(format!(
            "error xoring token: length of byte slices is not equivalent: {} != {}",
            bytes.len(),
            otp.len()
        ));
    }
    let token = bytes.iter().zip(otp.bytes()).map(|(left, right)| left ^ right).collect();
    String::from_utf8(token).map(SecretString::new).map_err(|_| "wrong one-time password".into())
}

async fn fetch(client: &VaultClient) -> Result<Status, Failure> {
    let response = client.request(Method::GET, ATTEMPT, None, &[]).await;
    let status = response.and_then(|response| parse(&response.success()?));
    status.map_err(Failure::doing("Error getting root generation status"))
}

fn parse(response: &Response) -> Result<Status, holdfast_client::vault::VaultError> {
    super::payload(response)
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
        add("Progress", format!("{}/{}", self.progress, self.required));
        add("Complete", self.complete.to_string());
        if !self.encoded_token.is_empty() {
            add("Encoded Token", self.encoded_token.clone());
        } else if !self.encoded_root_token.is_empty() {
            add("Encoded Root Token", self.encoded_root_token.clone());
        }
        if !self.otp.is_empty() {
            warn("Keep the one-time password: the token comes hidden by it, and -decode needs it.");
            add("OTP", self.otp.clone());
        }
        if self.otp_length != 0 {
            add("OTP Length", self.otp_length.to_string());
        }
        print_line(&table::write_plain(&rows))
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_password_brings_the_token_out() {
        // "s.ab" combined with "wxyz".
        assert_eq!(decode("BFYYGA", "wxyz").unwrap().expose(), "s.ab");
        assert_eq!(decode("BFYYGA==", "wxyz").unwrap().expose(), "s.ab");
        assert!(decode("BFYYGA", "short").unwrap_err().contains("4 != 5"));
        assert!(decode("!", "w").is_err());
    }
}

//! `unwrap`: the answer that a wrapping token stands for.

use clap::Args;
use holdfast_client::vault::Method;
use serde_json::json;

use super::connection::Connection;
use super::output::{FieldFlags, print_keys, print_success};
use super::secret::Secret;
use super::{Failure, Outcome};

/// Take out the answer that a wrapping token stands for. It is good for one use.
///
/// Without an argument the current token is the wrapping token.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault unwrap s.abcdef
  BAO_TOKEN=s.abcdef vault unwrap -field=secret_id")]
pub(super) struct Unwrap {
    /// The wrapping token
    token: Option<String>,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Unwrap {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let client = self.connection.client()?;
        let token = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        // Sent as the body by a caller who has a token, else as the token itself.
        let (client, body) = match (token, client.token()) {
            (Some(token), Some(own)) if own.expose() != token => {
                (client, Some(json!({ "token": token })))
            }
            (Some(token), _) => (client.with_token(Some(token.into())), None),
            (None, _) => (client, None),
        };
        let path = "sys/wrapping/unwrap";
        let response = client.request(Method::PUT, path, body.as_ref(), &[]).await;
        let answer = response.and_then(|response| Secret::parse(&response.success()?));
        match answer.map_err(Failure::doing("Error unwrapping"))? {
            None => print_success(
                format,
                "Successfully unwrapped. There was no data in the wrapped secret.",
            ),
            Some(secret) => match secret.keys() {
                Some(keys) if self.output.field.is_none() => print_keys(format, &secret, keys),
                _ => self.output.print_secret(format, &secret),
            },
        }
    }
}

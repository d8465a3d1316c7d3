//! `lease`: look at, renew and revoke leases.

use std::time::Duration;

use clap::{Args, Subcommand};
use holdfast_client::vault::Method;
use serde_json::json;

use super::connection::Connection;
use super::output::{FormatFlag, print_line, print_secret, warn};
use super::secret::Secret;
use super::{Failure, Outcome, values};

/// Look at, renew and revoke leases.
#[derive(Debug, Subcommand)]
pub(super) enum Lease {
    Lookup(Lookup),
    Renew(Renew),
    Revoke(Revoke),
}

/// Show when a lease was made, and how long it still lasts.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault lease lookup database/creds/backend-role/abcdef")]
pub(super) struct Lookup {
    /// The lease
    id: Option<String>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Have a lease last longer.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  vault lease renew -increment=1h database/creds/backend-role/abcdef"
)]
pub(super) struct Renew {
    /// The lease
    id: Option<String>,
    /// For how long from now; a wish that the server may cut
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    increment: Option<Duration>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Revoke a lease: what it stands for stops to work.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault lease revoke database/creds/backend-role/abcdef
  vault lease revoke -prefix database/creds")]
pub(super) struct Revoke {
    /// The lease, or with -prefix what its name begins with
    id: String,
    /// Forget the leases even where revoking them fails; only with -prefix
    #[arg(short, long)]
    force: bool,
    /// Revoke all leases whose names begin so
    #[arg(long)]
    prefix: bool,
    /// Wait until it is done
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Lease {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Lookup(command) => command.run().await,
            Self::Renew(command) => command.run().await,
            Self::Revoke(command) => command.run().await,
        }
    }
}

impl Lookup {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let id = required(self.id.as_deref())?;
        let client = self.connection.client()?;
        let answer = Secret::write(&client, "sys/leases/lookup", &json!({ "lease_id": id })).await;
        let answer = answer.map_err(Failure::doing(format!("error looking up lease id {id}")))?;
        print_secret(format, &answer.unwrap_or_default())
    }
}

impl Renew {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let id = required(self.id.as_deref())?;
        let client = self.connection.client()?;
        let increment = self.increment.unwrap_or_default().as_secs();
        let body = json!({ "lease_id": id, "increment": increment });
        let answer = Secret::write(&client, "sys/leases/renew", &body).await;
        let answer = answer.map_err(Failure::doing(format!("Error renewing {id}")))?;
        print_secret(format, &answer.unwrap_or_default())
    }
}

impl Revoke {
    async fn run(&self) -> Outcome {
        if self.force && !self.prefix {
            let text = "Specifying -force requires also specifying -prefix";
            return Err(Failure::Usage(text.into()));
        }
        let client = self.connection.client()?;
        let id = self.id.trim();
        if self.force {
            warn(
                "Warning! Forgetting leases whose revocation fails leaves their credentials \
                 working,\nunknown to the server.",
            );
        }
        let (path, doing) = match (self.force, self.prefix) {
            (true, _) => ("sys/leases/revoke-force/", "force revoking leases with prefix"),
            (false, true) => ("sys/leases/revoke-prefix/", "revoking leases with prefix"),
            (false, false) => ("sys/leases/revoke/", "revoking lease"),
        };
        let body = (!self.force).then(|| json!({ "sync": self.sync }));
        let path = format!("{path}{id}");
        let answer = Secret::send(&client, Method::PUT, &path, body.as_ref()).await;
        answer.map_err(Failure::doing(format!("Error {doing} {id}")))?;
        print_line(&match (self.force, self.sync, self.prefix) {
            (true, ..) => format!("Success! Force revoked any leases with prefix: {id}"),
            (_, true, true) => format!("Success! Revoked any leases with prefix: {id}"),
            (_, true, false) => format!("Success! Revoked lease: {id}"),
            _ => "All revocation operations queued successfully!".to_owned(),
        })
    }
}

fn required(id: Option<&str>) -> Result<&str, Failure> {
    id.map(str::trim).ok_or_else(|| Failure::Usage("Missing ID!".into()))
}

//! `jwt`: tokens that an operator has signed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use holdfast_spiffe::proto::node as wire;
use holdfast_types::{SecretString, Timestamp, rfc3339};
use serde_json::json;

use super::connection::Connection;
use super::{Output, duration};

#[derive(Debug, Subcommand)]
pub(super) enum Jwt {
    Mint(Mint),
}

impl Jwt {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Mint(command) = self;
        command.run().await
    }
}

/// Have a JWT-SVID signed for any ID of the trust domain, whether there is an entry for it or not.
///
/// For whoever cannot ask an agent. The server writes into its audit log who asked for which ID.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  holdfast spiffe jwt mint -spiffeID spiffe://demo.local/ci \\\n    \
                  -audience vault -ttl 10m -write ci.jwt"
)]
pub(super) struct Mint {
    #[command(flatten)]
    connection: Connection,
    /// Whose it is to be.
    #[arg(long = "spiffeID", value_name = "ID")]
    spiffe_id: String,
    /// Whom it is for; can be given several times.
    #[arg(long, value_name = "NAME", required = true)]
    audience: Vec<String>,
    /// How long it is wanted [default: the server's]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Duration>,
    /// Write it to this file, for its owner alone, and not to the terminal.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    write: Option<PathBuf>,
    /// How to tell it.
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    output: Output,
}

impl Mint {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let ttl = self.ttl.map_or(0, |ttl| ttl.as_secs());
        let request = wire::MintJwtSvidRequest {
            spiffe_id: self.spiffe_id,
            audience: self.audience,
            ttl: ttl.try_into().context("-ttl is too long")?,
        };
        let minted = self.connection.answer(admin.mint_jwt_svid(request)).await?;
        let token = SecretString::new(minted.token);
        let end = Timestamp::from_second(minted.expires_at).context("the time of its end")?;
        match (&self.write, self.output) {
            (Some(path), _) => {
                let mut options = OpenOptions::new();
                let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
                file.and_then(|mut file| file.write_all(token.expose().as_bytes()))
                    .with_context(|| format!("write {}", path.display()))?;
                anstream::println!(
                    "JWT-SVID written to {}, good until {}",
                    path.display(),
                    rfc3339(end)
                );
            }
            (None, Output::Pretty) => anstream::println!("{}", token.expose()),
            (None, Output::Json) => {
                let told = json!({ "token": token.expose(), "expires_at": rfc3339(end) });
                anstream::println!("{told:#}");
            }
        }
        Ok(())
    }
}

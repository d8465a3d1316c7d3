//! `token`: with what machines join.

use clap::{Args, Subcommand};
use holdfast_spiffe::proto::node as wire;

use super::connection::Connection;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    Generate(Generate),
}

impl Token {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Generate(command) = self;
        command.run().await
    }
}

/// Make a join token: one agent on another machine joins with it, once.
///
/// The agent keeps a key and an SVID of its own from then on, so a restart needs no other token.
/// The agent on the server's machine needs none at all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe token generate -ttl 600\n  \
                  holdfast spiffe token generate -spiffeID spiffe://demo.local/node/db1")]
pub(super) struct Generate {
    #[command(flatten)]
    connection: Connection,
    /// How long it may be used, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    ttl: u64,
    /// An ID that the agent gets besides its own, as the parent of entries.
    #[arg(long = "spiffeID", value_name = "ID", default_value = "")]
    spiffe_id: String,
}

impl Generate {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::GenerateTokenRequest { ttl: self.ttl, spiffe_id: self.spiffe_id };
        let made = self.connection.answer(admin.generate_token(request)).await?;
        anstream::println!("Token: {}", made.token);
        Ok(())
    }
}

//! `token` and `agents`: machines that join.

use clap::{Args, Subcommand};
use holdfast_spiffe::proto::node as wire;
use holdfast_types::{Timestamp, rfc3339};

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

#[derive(Debug, Subcommand)]
pub(super) enum Agents {
    List(List),
    Ban(Ban),
}

impl Agents {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(command) => command.run().await,
            Self::Ban(command) => command.run().await,
        }
    }
}

/// List the agents that joined from other machines.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe agents list")]
pub(super) struct List {
    #[command(flatten)]
    connection: Connection,
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::ListAgentsRequest {};
        let agents = self.connection.answer(admin.list_agents(request)).await?.agents;
        let noun = if agents.len() == 1 { "attested agent" } else { "attested agents" };
        anstream::println!("Found {} {noun}\n", agents.len());
        for agent in agents {
            let expires = Timestamp::from_second(agent.expires_at).map(rfc3339);
            anstream::println!("SPIFFE ID         : {}", agent.spiffe_id);
            anstream::println!("Attestation type  : {}", agent.attestation_type);
            anstream::println!("Expiration time   : {}", expires.unwrap_or_default());
            anstream::println!("Banned            : {}\n", agent.banned);
        }
        Ok(())
    }
}

/// End an agent: it gets nothing any more, and cannot join again under its ID.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe agents ban -spiffeID spiffe://demo.local/spire/agent/x509pop/1"
)]
pub(super) struct Ban {
    #[command(flatten)]
    connection: Connection,
    /// The agent's ID.
    #[arg(long = "spiffeID", value_name = "ID")]
    spiffe_id: String,
}

impl Ban {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::BanAgentRequest { spiffe_id: self.spiffe_id };
        self.connection.answer(admin.ban_agent(request)).await?;
        anstream::println!("Agent banned successfully");
        Ok(())
    }
}

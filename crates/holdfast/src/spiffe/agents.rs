//! `agents`: those that joined from other machines.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use holdfast_spiffe::proto::node as wire;
use holdfast_types::Timestamp;
use serde_json::{Value, json};

use super::Output;
use super::api::as_go;
use super::connection::Connection;
use super::entry::{id_json, selectors_json};

#[derive(Debug, Subcommand)]
pub(super) enum Agents {
    List(List),
    Show(Show),
    Count(Count),
    Ban(Ban),
    Evict(Evict),
}

impl Agents {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(command) => command.run().await,
            Self::Show(command) => command.run().await,
            Self::Count(command) => command.run().await,
            Self::Ban(command) => command.run().await,
            Self::Evict(command) => command.run().await,
        }
    }
}

/// What each of them takes.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    connection: Connection,
    /// How to tell it.
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    output: Output,
}

impl Common {
    /// The agents, or the one of this id.
    async fn agents(&self, spiffe_id: String) -> anyhow::Result<Vec<wire::Agent>> {
        let mut admin = self.connection.admin();
        let call = admin.list_agents(wire::ListAgentsRequest { spiffe_id });
        Ok(self.connection.answer(call).await?.agents)
    }

    /// Tells that it was done.
    fn done(&self, what: &str) {
        match self.output {
            Output::Pretty => anstream::println!("Agent {what} successfully"),
            Output::Json => anstream::println!("{{}}"),
        }
    }
}

/// List the agents that joined from other machines.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe agents list\n  \
                  holdfast spiffe agents list -attestationType x509pop -output json")]
pub(super) struct List {
    #[command(flatten)]
    common: Common,
    /// Only those that joined so, such as x509pop.
    #[arg(long = "attestationType", value_name = "TYPE")]
    attestation_type: Option<String>,
    /// Only those that are banned, or are not.
    #[arg(long, value_name = "true|false")]
    banned: Option<bool>,
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let mut agents = self.common.agents(String::new()).await?;
        agents.retain(|agent| {
            self.attestation_type.as_ref().is_none_or(|wanted| *wanted == agent.attestation_type)
                && self.banned.is_none_or(|wanted| wanted == agent.banned)
        });
        match self.common.output {
            Output::Json => {
                let agents: Vec<_> = agents.iter().map(to_json).collect();
                anstream::println!("{:#}", json!({ "agents": agents, "next_page_token": "" }));
            }
            Output::Pretty if agents.is_empty() => anstream::println!("No attested agents found"),
            Output::Pretty => {
                anstream::println!("Found {}:\n", counted(agents.len()));
                agents.iter().try_for_each(print)?;
            }
        }
        Ok(())
    }
}

/// Show one agent, and what was seen of its machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe agents show -spiffeID spiffe://demo.local/spire/agent/x509pop/1"
)]
pub(super) struct Show {
    #[command(flatten)]
    common: Common,
    /// The agent's ID.
    #[arg(long = "spiffeID", value_name = "ID")]
    spiffe_id: String,
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let found = self.common.agents(self.spiffe_id.clone()).await?;
        let [agent] = found.as_slice() else {
            bail!("no agent {} joined: see `holdfast spiffe agents list`", self.spiffe_id);
        };
        match self.common.output {
            Output::Json => anstream::println!("{:#}", to_json(agent)),
            Output::Pretty => {
                anstream::println!("Found an attested agent given its SPIFFE ID\n");
                print(agent)?;
                for wire::Selector { r#type, value } in &agent.selectors {
                    anstream::println!("Selectors         : {type}:{value}");
                }
            }
        }
        Ok(())
    }
}

/// Count the agents that joined from other machines.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe agents count")]
pub(super) struct Count {
    #[command(flatten)]
    common: Common,
}

impl Count {
    async fn run(self) -> anyhow::Result<()> {
        let count = self.common.agents(String::new()).await?.len();
        match self.common.output {
            Output::Json => anstream::println!("{:#}", json!({ "count": count })),
            Output::Pretty => anstream::println!("{}", counted(count)),
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
    common: Common,
    /// The agent's ID.
    #[arg(long = "spiffeID", value_name = "ID")]
    spiffe_id: String,
}

impl Ban {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.common.connection.admin();
        let call = admin.ban_agent(wire::BanAgentRequest { spiffe_id: self.spiffe_id });
        self.common.connection.answer(call).await?;
        self.common.done("banned");
        Ok(())
    }
}

/// Forget an agent, and that it was banned: it gets nothing until it joins again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe agents evict -spiffeID spiffe://demo.local/spire/agent/x509pop/1"
)]
pub(super) struct Evict {
    #[command(flatten)]
    common: Common,
    /// The agent's ID.
    #[arg(long = "spiffeID", value_name = "ID")]
    spiffe_id: String,
}

impl Evict {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.common.connection.admin();
        let call = admin.evict_agent(wire::EvictAgentRequest { spiffe_id: self.spiffe_id });
        self.common.connection.answer(call).await?;
        self.common.done("evicted");
        Ok(())
    }
}

fn counted(count: usize) -> String {
    let noun = if count == 1 { "attested agent" } else { "attested agents" };
    format!("{count} {noun}")
}

fn print(agent: &wire::Agent) -> anyhow::Result<()> {
    let end = Timestamp::from_second(agent.expires_at).context("the time of its end")?;
    anstream::println!("SPIFFE ID         : {}", agent.spiffe_id);
    anstream::println!("Attestation type  : {}", agent.attestation_type);
    anstream::println!("Expiration time   : {}", as_go(end));
    match agent.banned {
        true => anstream::println!("Banned            : true"),
        false => anstream::println!("Serial number     : {}", agent.serial_number),
    }
    anstream::println!("Can re-attest     : {}\n", agent.can_reattest);
    Ok(())
}

/// As protobuf's JSON has it, where whole numbers of 64 bits are texts.
fn to_json(agent: &wire::Agent) -> Value {
    json!({
        "id": id_json(&agent.spiffe_id),
        "attestation_type": agent.attestation_type, "banned": agent.banned,
        "can_reattest": agent.can_reattest,
        "selectors": selectors_json(&agent.selectors),
        "x509svid_expires_at": agent.expires_at.to_string(),
        "x509svid_serial_number": agent.serial_number,
    })
}

//! Nodes: how they join, and those that have.

use std::time::Duration;

use holdfast_types::SpiffeId;
use tonic::Status;

use super::{invalid, optional_id};
use crate::proto::node as wire;
use crate::server::Shared;
use crate::server::node::{Agent, NodeError};
use crate::wire::selectors_to_wire;

const MAX_TOKEN_TTL: u64 = 30 * 86_400;

pub(super) async fn generate_token(
    shared: &Shared,
    asked: wire::GenerateTokenRequest,
) -> Result<wire::GenerateTokenResponse, Status> {
    let alias = optional_id(&asked.spiffe_id)?;
    if !(1..=MAX_TOKEN_TTL).contains(&asked.ttl) {
        return Err(invalid("a join token is valid for 1 second to 30 days"));
    }
    if alias.as_ref().is_some_and(|id| !shared.settings.trust_domain.holds(id)) {
        return Err(invalid("the SPIFFE ID is not in the server's trust domain"));
    }
    let made = shared.join_tokens.make(Duration::from_secs(asked.ttl), alias).await;
    let (token, expires) = made.map_err(node_status)?;
    let (token, expires_at) = (token.expose().clone(), expires.as_second());
    Ok(wire::GenerateTokenResponse { token, expires_at })
}

pub(super) async fn list(
    shared: &Shared,
    asked: wire::ListAgentsRequest,
) -> Result<wire::ListAgentsResponse, Status> {
    let wanted = optional_id(&asked.spiffe_id)?;
    let is_wanted = |agent: &Agent| wanted.as_ref().is_none_or(|id| *id == agent.spiffe_id);
    let agents = shared.nodes.list().into_iter().filter(is_wanted).map(to_wire).collect();
    Ok(wire::ListAgentsResponse { agents })
}

pub(super) async fn ban(
    shared: &Shared,
    asked: wire::BanAgentRequest,
) -> Result<wire::BanAgentResponse, Status> {
    shared.nodes.ban(&agent_id(&asked.spiffe_id)?).await.map_err(node_status)?;
    Ok(wire::BanAgentResponse {})
}

pub(super) async fn evict(
    shared: &Shared,
    asked: wire::EvictAgentRequest,
) -> Result<wire::EvictAgentResponse, Status> {
    shared.nodes.evict(&agent_id(&asked.spiffe_id)?).await.map_err(node_status)?;
    Ok(wire::EvictAgentResponse {})
}

fn agent_id(text: &str) -> Result<SpiffeId, Status> {
    SpiffeId::parse(text).map_err(|error| invalid(format!("{text:?}: {error}")))
}

fn to_wire(agent: Agent) -> wire::Agent {
    wire::Agent {
        spiffe_id: agent.spiffe_id.to_string(),
        // A token is used up.
        can_reattest: agent.attestation_type != "join_token",
        attestation_type: agent.attestation_type,
        expires_at: agent.expires.as_second(),
        banned: agent.banned,
        selectors: selectors_to_wire(&agent.selectors),
        serial_number: agent.serial,
    }
}

fn node_status(error: NodeError) -> Status {
    let text = error.to_string();
    match error {
        NodeError::Unknown => Status::not_found(text),
        NodeError::Full => Status::resource_exhausted(text),
        NodeError::Store(source) => {
            tracing::error!(error = &source as &dyn std::error::Error, "keep a node");
            Status::unavailable(text)
        }
        _ => Status::failed_precondition(text),
    }
}

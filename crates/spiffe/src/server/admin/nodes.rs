//! Nodes: how they join, and those that have.

use std::time::Duration;

use holdfast_types::SpiffeId;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{AdminService, invalid, optional_id};
use crate::proto::node as wire;
use crate::server::node::{Agent, NodeError};
use crate::wire::selectors_to_wire;

const MAX_TOKEN_TTL: u64 = 30 * 86_400;

impl AdminService {
    pub(super) async fn generate_token(
        &self,
        request: Request<wire::GenerateTokenRequest>,
    ) -> Result<Response<wire::GenerateTokenResponse>, Status> {
        const ACTION: &str = "token generate";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        let details = json!({ "ttl": asked.ttl, "spiffe_id": asked.spiffe_id });
        self.begin(&caller, ACTION, &details)?;
        let alias = optional_id(&asked.spiffe_id)?;
        if !(1..=MAX_TOKEN_TTL).contains(&asked.ttl) {
            return Err(invalid("a join token is valid for 1 second to 30 days"));
        }
        if alias.as_ref().is_some_and(|id| !self.0.settings.trust_domain.holds(id)) {
            return Err(invalid("the SPIFFE ID is not in the server's trust domain"));
        }
        let made = self.0.join_tokens.make(Duration::from_secs(asked.ttl), alias).await;
        let outcome = made.map_err(node_status).map(|(token, expires)| {
            let (token, expires_at) = (token.expose().clone(), expires.as_second());
            wire::GenerateTokenResponse { token, expires_at }
        });
        self.end(&caller, ACTION, outcome)
    }

    pub(super) async fn list_agents(
        &self,
        request: Request<wire::ListAgentsRequest>,
    ) -> Result<Response<wire::ListAgentsResponse>, Status> {
        const ACTION: &str = "agent list";
        let caller = self.caller(&request, ACTION)?;
        let text = request.into_inner().spiffe_id;
        self.begin(&caller, ACTION, &json!({ "spiffe_id": text }))?;
        let wanted = optional_id(&text)?;
        let is_wanted = |agent: &Agent| wanted.as_ref().is_none_or(|id| *id == agent.spiffe_id);
        let agents = self.0.nodes.list().into_iter().filter(is_wanted).map(to_wire);
        Ok(Response::new(wire::ListAgentsResponse { agents: agents.collect() }))
    }

    pub(super) async fn ban_agent(
        &self,
        request: Request<wire::BanAgentRequest>,
    ) -> Result<Response<wire::BanAgentResponse>, Status> {
        const ACTION: &str = "agent ban";
        let caller = self.caller(&request, ACTION)?;
        let text = request.into_inner().spiffe_id;
        self.begin(&caller, ACTION, &json!({ "spiffe_id": text }))?;
        let outcome = match agent_id(&text) {
            Ok(id) => self.0.nodes.ban(&id).await.map_err(node_status),
            Err(status) => Err(status),
        };
        self.end(&caller, ACTION, outcome.map(|()| wire::BanAgentResponse {}))
    }

    pub(super) async fn evict_agent(
        &self,
        request: Request<wire::EvictAgentRequest>,
    ) -> Result<Response<wire::EvictAgentResponse>, Status> {
        const ACTION: &str = "agent evict";
        let caller = self.caller(&request, ACTION)?;
        let text = request.into_inner().spiffe_id;
        self.begin(&caller, ACTION, &json!({ "spiffe_id": text }))?;
        let outcome = match agent_id(&text) {
            Ok(id) => self.0.nodes.evict(&id).await.map_err(node_status),
            Err(status) => Err(status),
        };
        self.end(&caller, ACTION, outcome.map(|()| wire::EvictAgentResponse {}))
    }
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

//! The side that operators see: entries, bundles, tokens, agents. Over the server's own Unix socket
//! alone, for root and for whoever runs the server, and every question is audited.

mod authorities;
mod bundles;
mod entries;
mod federations;
mod nodes;

use std::sync::Arc;

use holdfast_types::SpiffeId;
use serde_json::Value;
use tonic::{Request, Response, Status};

use super::Shared;
use super::peer::Peer;
use crate::proto::node as wire;

/// `holdfast.spiffe.v1.Admin`
pub(crate) struct AdminService(pub(crate) Arc<Shared>);

impl AdminService {
    /// Who asks, if they may.
    fn caller<T>(&self, request: &Request<T>, action: &str) -> Result<String, Status> {
        let peer = request.extensions().get::<Peer>();
        let name = peer.map(ToString::to_string).unwrap_or_default();
        if peer.is_some_and(Peer::is_owner) {
            return Ok(name);
        }
        let refusal = "only root and the server's own user may do this";
        // Refused either way.
        let _ = self.0.audit.write(&name, action, &Value::Null, Some(refusal));
        Err(Status::permission_denied(refusal))
    }

    /// Audits what is about to be done: without a line it is not done.
    fn begin(&self, caller: &str, action: &str, details: &Value) -> Result<(), Status> {
        let written = self.0.audit.write(caller, action, details, None);
        written.map_err(|_| Status::unavailable("the audit log cannot be written"))
    }

    /// Audits that it failed.
    fn end<T>(
        &self,
        caller: &str,
        action: &str,
        outcome: Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        if let Err(status) = &outcome {
            let error = Some(status.message());
            let _ = self.0.audit.write(caller, action, &Value::Null, error);
        }
        outcome.map(Response::new)
    }
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn optional_id(text: &str) -> Result<Option<SpiffeId>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    SpiffeId::parse(text).map(Some).map_err(|error| invalid(format!("{text:?}: {error}")))
}

/// Each call is in the file of what it is about.
#[tonic::async_trait]
impl wire::admin_server::Admin for AdminService {
    async fn create_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        self.create_entry(request).await
    }

    async fn update_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        self.update_entry(request).await
    }

    async fn list_entries(
        &self,
        request: Request<wire::ListEntriesRequest>,
    ) -> Result<Response<wire::ListEntriesResponse>, Status> {
        self.list_entries(request).await
    }

    async fn delete_entry(
        &self,
        request: Request<wire::DeleteEntryRequest>,
    ) -> Result<Response<wire::Entry>, Status> {
        self.delete_entry(request).await
    }

    async fn count_entries(
        &self,
        request: Request<wire::CountEntriesRequest>,
    ) -> Result<Response<wire::CountEntriesResponse>, Status> {
        self.count_entries(request).await
    }

    async fn show_bundle(
        &self,
        request: Request<wire::ShowBundleRequest>,
    ) -> Result<Response<wire::Bundle>, Status> {
        self.show_bundle(request).await
    }

    async fn set_bundle(
        &self,
        request: Request<wire::Bundle>,
    ) -> Result<Response<wire::SetBundleResponse>, Status> {
        self.set_bundle(request).await
    }

    async fn acknowledge_jwt_keys(
        &self,
        request: Request<wire::AcknowledgeJwtKeysRequest>,
    ) -> Result<Response<wire::AcknowledgeJwtKeysResponse>, Status> {
        self.acknowledge_jwt_keys(request).await
    }

    async fn list_authorities(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::ListAuthoritiesResponse>, Status> {
        self.list_authorities(request).await
    }

    async fn prepare_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.prepare_authority(request).await
    }

    async fn activate_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.activate_authority(request).await
    }

    async fn taint_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.taint_authority(request).await
    }

    async fn revoke_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.revoke_authority(request).await
    }

    async fn mint_jwt_svid(
        &self,
        request: Request<wire::MintJwtSvidRequest>,
    ) -> Result<Response<wire::MintJwtResponse>, Status> {
        self.mint_jwt_svid(request).await
    }

    async fn list_bundles(
        &self,
        request: Request<wire::ListBundlesRequest>,
    ) -> Result<Response<wire::ListBundlesResponse>, Status> {
        self.list_bundles(request).await
    }

    async fn delete_bundle(
        &self,
        request: Request<wire::DeleteBundleRequest>,
    ) -> Result<Response<wire::DeleteBundleResponse>, Status> {
        self.delete_bundle(request).await
    }

    async fn create_federation(
        &self,
        request: Request<wire::Federation>,
    ) -> Result<Response<wire::Federation>, Status> {
        self.create_federation(request).await
    }

    async fn update_federation(
        &self,
        request: Request<wire::Federation>,
    ) -> Result<Response<wire::Federation>, Status> {
        self.update_federation(request).await
    }

    async fn list_federations(
        &self,
        request: Request<wire::ListFederationsRequest>,
    ) -> Result<Response<wire::ListFederationsResponse>, Status> {
        self.list_federations(request).await
    }

    async fn delete_federation(
        &self,
        request: Request<wire::DeleteFederationRequest>,
    ) -> Result<Response<wire::DeleteFederationResponse>, Status> {
        self.delete_federation(request).await
    }

    async fn refresh_federation(
        &self,
        request: Request<wire::RefreshFederationRequest>,
    ) -> Result<Response<wire::RefreshFederationResponse>, Status> {
        self.refresh_federation(request).await
    }

    async fn generate_token(
        &self,
        request: Request<wire::GenerateTokenRequest>,
    ) -> Result<Response<wire::GenerateTokenResponse>, Status> {
        self.generate_token(request).await
    }

    async fn list_agents(
        &self,
        request: Request<wire::ListAgentsRequest>,
    ) -> Result<Response<wire::ListAgentsResponse>, Status> {
        self.list_agents(request).await
    }

    async fn ban_agent(
        &self,
        request: Request<wire::BanAgentRequest>,
    ) -> Result<Response<wire::BanAgentResponse>, Status> {
        self.ban_agent(request).await
    }

    async fn evict_agent(
        &self,
        request: Request<wire::EvictAgentRequest>,
    ) -> Result<Response<wire::EvictAgentResponse>, Status> {
        self.evict_agent(request).await
    }
}

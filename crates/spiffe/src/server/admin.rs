//! The side that operators see: entries, bundles, tokens, agents. Over the server's own Unix socket
//! alone, for root and for whoever runs the server, and every question is audited.

mod authorities;
mod bundles;
mod entries;
mod federations;
mod nodes;

use std::sync::Arc;

use holdfast_types::SpiffeId;
use serde_json::{Value, json};
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

    /// Does `work` for an operator. What is asked is audited before, and that it failed after.
    async fn audited<T, R>(
        &self,
        request: Request<T>,
        action: &str,
        details: Value,
        work: impl AsyncFnOnce(&Shared, T) -> Result<R, Status>,
    ) -> Result<Response<R>, Status> {
        let caller = self.caller(&request, action)?;
        self.begin(&caller, action, &details)?;
        let outcome = work(&self.0, request.into_inner()).await;
        self.end(&caller, action, outcome)
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

/// What each call is audited as; the work is in the file of what it is about.
#[tonic::async_trait]
impl wire::admin_server::Admin for AdminService {
    async fn create_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        let details = entries::details(request.get_ref());
        self.audited(request, "entry create", details, entries::create).await
    }

    async fn update_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        let details = entries::details(request.get_ref());
        self.audited(request, "entry update", details, entries::update).await
    }

    async fn list_entries(
        &self,
        request: Request<wire::ListEntriesRequest>,
    ) -> Result<Response<wire::ListEntriesResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "entry_id": asked.entry_id, "spiffe_id": asked.spiffe_id });
        self.audited(request, "entry show", details, entries::list).await
    }

    async fn delete_entry(
        &self,
        request: Request<wire::DeleteEntryRequest>,
    ) -> Result<Response<wire::Entry>, Status> {
        let asked = request.get_ref();
        let details = json!({ "entry_id": asked.entry_id });
        self.audited(request, "entry delete", details, entries::delete).await
    }

    async fn count_entries(
        &self,
        request: Request<wire::CountEntriesRequest>,
    ) -> Result<Response<wire::CountEntriesResponse>, Status> {
        self.audited(request, "entry count", Value::Null, entries::count).await
    }

    async fn show_bundle(
        &self,
        request: Request<wire::ShowBundleRequest>,
    ) -> Result<Response<wire::Bundle>, Status> {
        let asked = request.get_ref();
        let details = json!({ "trust_domain": asked.trust_domain });
        self.audited(request, "bundle show", details, bundles::show).await
    }

    async fn set_bundle(
        &self,
        request: Request<wire::Bundle>,
    ) -> Result<Response<wire::SetBundleResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "trust_domain": asked.trust_domain });
        self.audited(request, "bundle set", details, bundles::set).await
    }

    async fn acknowledge_jwt_keys(
        &self,
        request: Request<wire::AcknowledgeJwtKeysRequest>,
    ) -> Result<Response<wire::AcknowledgeJwtKeysResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "key_ids": asked.key_ids });
        self.audited(request, "bundle acknowledge", details, authorities::acknowledge).await
    }

    async fn list_authorities(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::ListAuthoritiesResponse>, Status> {
        let details = authorities::details(request.get_ref());
        self.audited(request, "localauthority show", details, authorities::list).await
    }

    async fn prepare_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        let details = authorities::details(request.get_ref());
        self.audited(request, "localauthority prepare", details, authorities::prepare).await
    }

    async fn activate_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        let details = authorities::details(request.get_ref());
        self.audited(request, "localauthority activate", details, authorities::activate).await
    }

    async fn taint_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        let details = authorities::details(request.get_ref());
        self.audited(request, "localauthority taint", details, authorities::taint).await
    }

    async fn revoke_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        let details = authorities::details(request.get_ref());
        self.audited(request, "localauthority revoke", details, authorities::revoke).await
    }

    async fn mint_jwt_svid(
        &self,
        request: Request<wire::MintJwtSvidRequest>,
    ) -> Result<Response<wire::MintJwtResponse>, Status> {
        self.mint(&request)
    }

    async fn list_bundles(
        &self,
        request: Request<wire::ListBundlesRequest>,
    ) -> Result<Response<wire::ListBundlesResponse>, Status> {
        self.audited(request, "bundle list", Value::Null, bundles::list).await
    }

    async fn delete_bundle(
        &self,
        request: Request<wire::DeleteBundleRequest>,
    ) -> Result<Response<wire::DeleteBundleResponse>, Status> {
        let asked = request.get_ref();
        let details =
            json!({ "trust_domain": asked.trust_domain, "mode": format!("{:?}", asked.mode()) });
        self.audited(request, "bundle delete", details, bundles::delete).await
    }

    async fn create_federation(
        &self,
        request: Request<wire::Federation>,
    ) -> Result<Response<wire::Federation>, Status> {
        let details = federations::details(request.get_ref());
        self.audited(request, "federation create", details, federations::create).await
    }

    async fn update_federation(
        &self,
        request: Request<wire::Federation>,
    ) -> Result<Response<wire::Federation>, Status> {
        let details = federations::details(request.get_ref());
        self.audited(request, "federation update", details, federations::update).await
    }

    async fn list_federations(
        &self,
        request: Request<wire::ListFederationsRequest>,
    ) -> Result<Response<wire::ListFederationsResponse>, Status> {
        self.audited(request, "federation list", Value::Null, federations::list).await
    }

    async fn delete_federation(
        &self,
        request: Request<wire::DeleteFederationRequest>,
    ) -> Result<Response<wire::DeleteFederationResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "trust_domain": asked.trust_domain });
        self.audited(request, "federation delete", details, federations::delete).await
    }

    async fn refresh_federation(
        &self,
        request: Request<wire::RefreshFederationRequest>,
    ) -> Result<Response<wire::RefreshFederationResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "trust_domain": asked.trust_domain });
        self.audited(request, "federation refresh", details, federations::refresh).await
    }

    async fn generate_token(
        &self,
        request: Request<wire::GenerateTokenRequest>,
    ) -> Result<Response<wire::GenerateTokenResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "ttl": asked.ttl, "spiffe_id": asked.spiffe_id });
        self.audited(request, "token generate", details, nodes::generate_token).await
    }

    async fn list_agents(
        &self,
        request: Request<wire::ListAgentsRequest>,
    ) -> Result<Response<wire::ListAgentsResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "spiffe_id": asked.spiffe_id });
        self.audited(request, "agent list", details, nodes::list).await
    }

    async fn ban_agent(
        &self,
        request: Request<wire::BanAgentRequest>,
    ) -> Result<Response<wire::BanAgentResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "spiffe_id": asked.spiffe_id });
        self.audited(request, "agent ban", details, nodes::ban).await
    }

    async fn evict_agent(
        &self,
        request: Request<wire::EvictAgentRequest>,
    ) -> Result<Response<wire::EvictAgentResponse>, Status> {
        let asked = request.get_ref();
        let details = json!({ "spiffe_id": asked.spiffe_id });
        self.audited(request, "agent evict", details, nodes::evict).await
    }
}

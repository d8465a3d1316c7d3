//! The side that operators see: entries, bundles, tokens, agents. Over the server's own Unix socket
//! alone, for root and for whoever runs the server, and every question is audited.

mod authorities;

use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Chain, SpiffeId, TrustDomain};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::Shared;
use super::authority::{Authorities, MAX_KEYS};
use super::federation::{FederationError, Profile, Relationship};
use super::node::{NodeError, check_audiences, token_details, token_to_wire};
use super::peer::Peer;
use super::registrar::{Parting, RegistrarError};
use super::registry::{Filter, check_workload};
use crate::Bundle;
use crate::proto::node as wire;
use crate::wire::{
    bundle_from_wire, bundle_to_wire, entry_from_wire, entry_to_wire, selectors_from_wire,
    selectors_to_wire,
};

const MAX_PAGE: u32 = 1000;
const MAX_TOKEN_TTL: u64 = 30 * 86_400;

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

    /// An entry that is to be made or changed, as it was audited, and by whom.
    fn asked_entry(
        &self,
        request: Request<wire::Entry>,
        action: &str,
    ) -> Result<(String, wire::Entry), Status> {
        let caller = self.caller(&request, action)?;
        let mut asked = request.into_inner();
        // What only the server says.
        asked.origin.clear();
        asked.revision = 0;
        let selectors: Vec<_> =
            asked.selectors.iter().map(|one| format!("{}:{}", one.r#type, one.value)).collect();
        let details = json!({
            "entry_id": asked.id, "spiffe_id": asked.spiffe_id, "parent_id": asked.parent_id,
            "selectors": selectors,
        });
        self.begin(&caller, action, &details)?;
        Ok((caller, asked))
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

/// The codes are those that SPIRE's server answers with.
impl From<RegistrarError> for Status {
    fn from(error: RegistrarError) -> Self {
        let text = error.to_string();
        match error {
            RegistrarError::Invalid(_) => Self::invalid_argument(text),
            RegistrarError::Similar(entry) => Self::already_exists(format!("{text}: {}", entry.id)),
            RegistrarError::NotFound(_) => Self::not_found(text),
            RegistrarError::Declared { .. } | RegistrarError::Federates { .. } => {
                Self::failed_precondition(text)
            }
            RegistrarError::Full => Self::resource_exhausted(text),
            RegistrarError::Ending => Self::unavailable(text),
            RegistrarError::Store(source) => {
                tracing::error!(error = &*source as &dyn std::error::Error, "keep an entry");
                Self::unavailable(text)
            }
        }
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

fn federation_status(error: FederationError) -> Status {
    let text = Chain(&error).to_string();
    match error {
        FederationError::Own(_) | FederationError::Invalid(_) => Status::invalid_argument(text),
        FederationError::NoBundle(_) | FederationError::NoRelationship(_) => {
            Status::not_found(text)
        }
        FederationError::Exists(_) => Status::already_exists(text),
        FederationError::Full => Status::resource_exhausted(text),
        FederationError::Fetch(..) => Status::unavailable(text),
        FederationError::Store(source) => {
            tracing::error!(error = &source as &dyn std::error::Error, "keep a bundle");
            Status::unavailable(text)
        }
    }
}

/// A bundle that an operator gave, as strictly read as one that is fetched.
fn checked(bundle: Bundle) -> Result<Bundle, Status> {
    let text = bundle.to_json().to_string();
    let read = Bundle::from_json(bundle.trust_domain.clone(), text.as_bytes()).map_err(invalid)?;
    if read.x509_authorities.len() != bundle.x509_authorities.len() {
        return Err(invalid("an X.509 authority of the bundle is no certificate"));
    }
    Ok(Bundle { tainted: Vec::new(), ..bundle })
}

/// A trust domain by its name or its ID.
fn domain(text: &str) -> Result<TrustDomain, Status> {
    let name = text.strip_prefix("spiffe://").unwrap_or(text);
    TrustDomain::parse(name).map_err(|error| invalid(format!("{text:?}: {error}")))
}

fn federation_from_wire(asked: wire::Federation) -> Result<Relationship, Status> {
    let profile = match optional_id(&asked.endpoint_spiffe_id)? {
        Some(endpoint_spiffe_id) => Profile::HttpsSpiffe { endpoint_spiffe_id },
        None => Profile::HttpsWeb,
    };
    Ok(Relationship {
        trust_domain: domain(&asked.trust_domain)?,
        endpoint_url: asked.bundle_endpoint_url,
        profile,
    })
}

/// What the audit log has of it.
fn federation_details(asked: &wire::Federation) -> Value {
    json!({
        "trust_domain": asked.trust_domain, "bundle_endpoint_url": asked.bundle_endpoint_url,
        "endpoint_spiffe_id": asked.endpoint_spiffe_id,
    })
}

fn federation_to_wire(one: &Relationship) -> wire::Federation {
    wire::Federation {
        trust_domain: one.trust_domain.to_string(),
        bundle_endpoint_url: one.endpoint_url.clone(),
        endpoint_spiffe_id: match &one.profile {
            Profile::HttpsWeb => String::new(),
            Profile::HttpsSpiffe { endpoint_spiffe_id } => endpoint_spiffe_id.to_string(),
        },
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

#[tonic::async_trait]
impl wire::admin_server::Admin for AdminService {
    async fn create_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        const ACTION: &str = "entry create";
        let (caller, asked) = self.asked_entry(request, ACTION)?;
        let outcome = match entry_from_wire(asked) {
            Ok(entry) => self.0.registrar.create(entry).await.map_err(Status::from),
            Err(error) => Err(invalid(error)),
        };
        self.end(&caller, ACTION, outcome.map(|entry| entry_to_wire(&entry)))
    }

    async fn update_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        const ACTION: &str = "entry update";
        let (caller, asked) = self.asked_entry(request, ACTION)?;
        let outcome = match entry_from_wire(asked) {
            Ok(entry) => self.0.registrar.update(entry).await.map_err(Status::from),
            Err(error) => Err(invalid(error)),
        };
        self.end(&caller, ACTION, outcome.map(|entry| entry_to_wire(&entry)))
    }

    async fn list_entries(
        &self,
        request: Request<wire::ListEntriesRequest>,
    ) -> Result<Response<wire::ListEntriesResponse>, Status> {
        const ACTION: &str = "entry show";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        let details = json!({ "entry_id": asked.entry_id, "spiffe_id": asked.spiffe_id });
        self.begin(&caller, ACTION, &details)?;
        let filter = Filter {
            spiffe_id: optional_id(&asked.spiffe_id)?,
            parent: optional_id(&asked.parent_id)?,
            selectors: selectors_from_wire(asked.selectors).map_err(invalid)?,
            hint: (!asked.hint.is_empty()).then_some(asked.hint),
        };
        let limit = match asked.limit {
            0 => MAX_PAGE,
            limit => limit.min(MAX_PAGE),
        } as usize;
        let registry = self.0.registrar.registry();
        let entries = if asked.entry_id.is_empty() {
            registry.list(&filter, &asked.after, limit)
        } else {
            let found = registry.get(&asked.entry_id).cloned();
            Vec::from_iter(found)
        };
        let next = entries.last().filter(|_| entries.len() == limit).map(|last| last.id.clone());
        Ok(Response::new(wire::ListEntriesResponse {
            entries: entries.iter().map(|entry| entry_to_wire(entry)).collect(),
            next: next.unwrap_or_default(),
        }))
    }

    async fn delete_entry(
        &self,
        request: Request<wire::DeleteEntryRequest>,
    ) -> Result<Response<wire::Entry>, Status> {
        const ACTION: &str = "entry delete";
        let caller = self.caller(&request, ACTION)?;
        let id = request.into_inner().entry_id;
        self.begin(&caller, ACTION, &json!({ "entry_id": id }))?;
        let outcome = self.0.registrar.delete(&id).await.map_err(Status::from);
        self.end(&caller, ACTION, outcome.map(|entry| entry_to_wire(&entry)))
    }

    async fn count_entries(
        &self,
        request: Request<wire::CountEntriesRequest>,
    ) -> Result<Response<wire::CountEntriesResponse>, Status> {
        const ACTION: &str = "entry count";
        let caller = self.caller(&request, ACTION)?;
        self.begin(&caller, ACTION, &Value::Null)?;
        let count = self.0.registrar.registry().len() as u64;
        Ok(Response::new(wire::CountEntriesResponse { count }))
    }

    async fn show_bundle(
        &self,
        request: Request<wire::ShowBundleRequest>,
    ) -> Result<Response<wire::Bundle>, Status> {
        const ACTION: &str = "bundle show";
        let caller = self.caller(&request, ACTION)?;
        let name = request.into_inner().trust_domain;
        self.begin(&caller, ACTION, &json!({ "trust_domain": name }))?;
        let own = self.0.authorities.bundle().borrow().clone();
        if name.is_empty() || name == own.trust_domain.as_str() {
            return Ok(Response::new(bundle_to_wire(&own)));
        }
        let wanted = TrustDomain::parse(&name).map_err(invalid)?;
        let found = self.0.federation.bundles().borrow().get(&wanted).cloned();
        let outcome = found.ok_or_else(|| Status::not_found("bundle not found"));
        self.end(&caller, ACTION, outcome.map(|bundle| bundle_to_wire(&bundle)))
    }

    async fn set_bundle(
        &self,
        request: Request<wire::Bundle>,
    ) -> Result<Response<wire::SetBundleResponse>, Status> {
        const ACTION: &str = "bundle set";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        self.begin(&caller, ACTION, &json!({ "trust_domain": asked.trust_domain }))?;
        let outcome = match bundle_from_wire(asked).map_err(invalid).and_then(checked) {
            Ok(bundle) => self.0.federation.set_bundle(bundle).await.map_err(federation_status),
            Err(status) => Err(status),
        };
        self.end(&caller, ACTION, outcome.map(|()| wire::SetBundleResponse {}))
    }

    async fn acknowledge_jwt_keys(
        &self,
        request: Request<wire::AcknowledgeJwtKeysRequest>,
    ) -> Result<Response<wire::AcknowledgeJwtKeysResponse>, Status> {
        const ACTION: &str = "bundle acknowledge";
        let caller = self.caller(&request, ACTION)?;
        let key_ids = request.into_inner().key_ids;
        if key_ids.len() > MAX_KEYS {
            return Err(invalid(format!("there are never more than {MAX_KEYS} keys")));
        }
        self.begin(&caller, ACTION, &json!({ "key_ids": key_ids }))?;
        let outcome = self.0.authorities.acknowledge(&key_ids).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "acknowledge keys");
            Status::unavailable(error.to_string())
        });
        self.end(&caller, ACTION, outcome.map(|()| wire::AcknowledgeJwtKeysResponse {}))
    }

    async fn list_authorities(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::ListAuthoritiesResponse>, Status> {
        self.authorities(request).await
    }

    async fn prepare_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        let prepare = async |all: &Authorities, kind, _: &str| all.prepare(kind).await;
        self.order(request, "localauthority prepare", prepare).await
    }

    async fn activate_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.order(request, "localauthority activate", Authorities::activate).await
    }

    async fn taint_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.order(request, "localauthority taint", Authorities::taint).await
    }

    async fn revoke_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.order(request, "localauthority revoke", Authorities::revoke).await
    }

    async fn mint_jwt_svid(
        &self,
        request: Request<wire::MintJwtSvidRequest>,
    ) -> Result<Response<wire::MintJwtResponse>, Status> {
        const ACTION: &str = "jwt mint";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        let mint = || {
            let shared = &*self.0;
            let id = SpiffeId::parse(&asked.spiffe_id).map_err(invalid)?;
            check_workload(&id, &shared.settings.trust_domain).map_err(invalid)?;
            check_audiences(&asked.audience)?;
            let ttl = match asked.ttl {
                0 => shared.settings.jwt_ttl,
                seconds => Duration::from_secs(seconds.into()),
            };
            let svid = shared.authorities.sign_jwt(&id, &asked.audience, ttl);
            let svid = svid.map_err(|error| Status::unavailable(Chain(&error).to_string()))?;
            self.begin(&caller, ACTION, &token_details(&id, &asked.audience, &svid))?;
            Ok(token_to_wire(&svid))
        };
        let outcome = mint();
        self.end(&caller, ACTION, outcome)
    }

    async fn list_bundles(
        &self,
        request: Request<wire::ListBundlesRequest>,
    ) -> Result<Response<wire::ListBundlesResponse>, Status> {
        const ACTION: &str = "bundle list";
        let caller = self.caller(&request, ACTION)?;
        self.begin(&caller, ACTION, &Value::Null)?;
        let known = self.0.federation.bundles().borrow().clone();
        let bundles = known.values().map(|bundle| bundle_to_wire(bundle)).collect();
        Ok(Response::new(wire::ListBundlesResponse { bundles }))
    }

    async fn delete_bundle(
        &self,
        request: Request<wire::DeleteBundleRequest>,
    ) -> Result<Response<wire::DeleteBundleResponse>, Status> {
        use wire::delete_bundle_request::Mode;
        const ACTION: &str = "bundle delete";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        let mode = match asked.mode() {
            Mode::Restrict => Parting::Restrict,
            Mode::Delete => Parting::Delete,
            Mode::Dissociate => Parting::Dissociate,
        };
        let details = json!({ "trust_domain": asked.trust_domain, "mode": format!("{mode:?}") });
        self.begin(&caller, ACTION, &details)?;
        let outcome = async {
            let name = domain(&asked.trust_domain)?;
            if !self.0.federation.bundles().borrow().contains_key(&name) {
                return Err(federation_status(FederationError::NoBundle(name)));
            }
            self.0.registrar.part_with(&name, mode).await?;
            self.0.federation.delete_bundle(&name).await.map_err(federation_status)
        };
        let outcome = outcome.await;
        self.end(&caller, ACTION, outcome.map(|()| wire::DeleteBundleResponse {}))
    }

    async fn create_federation(
        &self,
        request: Request<wire::Federation>,
    ) -> Result<Response<wire::Federation>, Status> {
        const ACTION: &str = "federation create";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        self.begin(&caller, ACTION, &federation_details(&asked))?;
        let outcome = async {
            let new = federation_from_wire(asked)?;
            self.0.federation.create(new.clone()).await.map_err(federation_status)?;
            Ok(federation_to_wire(&new))
        };
        let outcome = outcome.await;
        self.end(&caller, ACTION, outcome)
    }

    async fn update_federation(
        &self,
        request: Request<wire::Federation>,
    ) -> Result<Response<wire::Federation>, Status> {
        const ACTION: &str = "federation update";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        self.begin(&caller, ACTION, &federation_details(&asked))?;
        let outcome = async {
            let new = federation_from_wire(asked)?;
            self.0.federation.update(new.clone()).await.map_err(federation_status)?;
            Ok(federation_to_wire(&new))
        };
        let outcome = outcome.await;
        self.end(&caller, ACTION, outcome)
    }

    async fn list_federations(
        &self,
        request: Request<wire::ListFederationsRequest>,
    ) -> Result<Response<wire::ListFederationsResponse>, Status> {
        const ACTION: &str = "federation list";
        let caller = self.caller(&request, ACTION)?;
        self.begin(&caller, ACTION, &Value::Null)?;
        let known = self.0.federation.relationships();
        let federations = known.iter().map(federation_to_wire).collect();
        Ok(Response::new(wire::ListFederationsResponse { federations }))
    }

    async fn delete_federation(
        &self,
        request: Request<wire::DeleteFederationRequest>,
    ) -> Result<Response<wire::DeleteFederationResponse>, Status> {
        const ACTION: &str = "federation delete";
        let caller = self.caller(&request, ACTION)?;
        let name = request.into_inner().trust_domain;
        self.begin(&caller, ACTION, &json!({ "trust_domain": name }))?;
        let outcome = match domain(&name) {
            Ok(name) => self.0.federation.delete(&name).await.map_err(federation_status),
            Err(status) => Err(status),
        };
        self.end(&caller, ACTION, outcome.map(|()| wire::DeleteFederationResponse {}))
    }

    async fn refresh_federation(
        &self,
        request: Request<wire::RefreshFederationRequest>,
    ) -> Result<Response<wire::RefreshFederationResponse>, Status> {
        const ACTION: &str = "federation refresh";
        let caller = self.caller(&request, ACTION)?;
        let name = request.into_inner().trust_domain;
        self.begin(&caller, ACTION, &json!({ "trust_domain": name }))?;
        let outcome = match domain(&name) {
            Ok(name) => self.0.federation.refresh(&name).await.map_err(federation_status),
            Err(status) => Err(status),
        };
        self.end(&caller, ACTION, outcome.map(|()| wire::RefreshFederationResponse {}))
    }

    async fn generate_token(
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

    async fn list_agents(
        &self,
        request: Request<wire::ListAgentsRequest>,
    ) -> Result<Response<wire::ListAgentsResponse>, Status> {
        const ACTION: &str = "agent list";
        let caller = self.caller(&request, ACTION)?;
        self.begin(&caller, ACTION, &Value::Null)?;
        let agents = self.0.nodes.list().into_iter().map(|agent| wire::Agent {
            spiffe_id: agent.spiffe_id.to_string(),
            attestation_type: agent.attestation_type,
            expires_at: agent.expires.as_second(),
            banned: agent.banned,
            selectors: selectors_to_wire(&agent.selectors),
        });
        Ok(Response::new(wire::ListAgentsResponse { agents: agents.collect() }))
    }

    async fn ban_agent(
        &self,
        request: Request<wire::BanAgentRequest>,
    ) -> Result<Response<wire::BanAgentResponse>, Status> {
        const ACTION: &str = "agent ban";
        let caller = self.caller(&request, ACTION)?;
        let text = request.into_inner().spiffe_id;
        self.begin(&caller, ACTION, &json!({ "spiffe_id": text }))?;
        let id = SpiffeId::parse(&text).map_err(|error| invalid(format!("{text:?}: {error}")))?;
        let outcome = self.0.nodes.ban(&id).await.map_err(node_status);
        self.end(&caller, ACTION, outcome.map(|()| wire::BanAgentResponse {}))
    }
}

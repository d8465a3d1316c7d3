//! Trust domains whose bundles are fetched.

use holdfast_types::{Chain, TrustDomain};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::{AdminService, invalid, optional_id};
use crate::proto::node as wire;
use crate::server::federation::{FederationError, Profile, Relationship};

impl AdminService {
    pub(super) async fn create_federation(
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

    pub(super) async fn update_federation(
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

    pub(super) async fn list_federations(
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

    pub(super) async fn delete_federation(
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

    pub(super) async fn refresh_federation(
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
}

pub(super) fn federation_status(error: FederationError) -> Status {
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

/// A trust domain by its name or its ID.
pub(super) fn domain(text: &str) -> Result<TrustDomain, Status> {
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

//! Trust domains whose bundles are fetched.

use holdfast_types::{Chain, TrustDomain};
use serde_json::{Value, json};
use tonic::Status;

use super::{invalid, optional_id};
use crate::proto::node as wire;
use crate::server::Shared;
use crate::server::federation::{FederationError, Profile, Relationship};

pub(super) async fn create(
    shared: &Shared,
    asked: wire::Federation,
) -> Result<wire::Federation, Status> {
    let new = from_wire(asked)?;
    shared.federation.create(new.clone()).await.map_err(federation_status)?;
    Ok(to_wire(&new))
}

pub(super) async fn update(
    shared: &Shared,
    asked: wire::Federation,
) -> Result<wire::Federation, Status> {
    let new = from_wire(asked)?;
    shared.federation.update(new.clone()).await.map_err(federation_status)?;
    Ok(to_wire(&new))
}

pub(super) async fn list(
    shared: &Shared,
    _: wire::ListFederationsRequest,
) -> Result<wire::ListFederationsResponse, Status> {
    let federations = shared.federation.relationships().iter().map(to_wire).collect();
    Ok(wire::ListFederationsResponse { federations })
}

pub(super) async fn delete(
    shared: &Shared,
    asked: wire::DeleteFederationRequest,
) -> Result<wire::DeleteFederationResponse, Status> {
    let name = domain(&asked.trust_domain)?;
    shared.federation.delete(&name).await.map_err(federation_status)?;
    Ok(wire::DeleteFederationResponse {})
}

pub(super) async fn refresh(
    shared: &Shared,
    asked: wire::RefreshFederationRequest,
) -> Result<wire::RefreshFederationResponse, Status> {
    let name = domain(&asked.trust_domain)?;
    shared.federation.refresh(&name).await.map_err(federation_status)?;
    Ok(wire::RefreshFederationResponse {})
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

fn from_wire(asked: wire::Federation) -> Result<Relationship, Status> {
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

/// What is audited of a relationship that is to be made or changed.
pub(super) fn details(asked: &wire::Federation) -> Value {
    json!({
        "trust_domain": asked.trust_domain, "bundle_endpoint_url": asked.bundle_endpoint_url,
        "endpoint_spiffe_id": asked.endpoint_spiffe_id,
    })
}

fn to_wire(one: &Relationship) -> wire::Federation {
    wire::Federation {
        trust_domain: one.trust_domain.to_string(),
        bundle_endpoint_url: one.endpoint_url.clone(),
        endpoint_spiffe_id: match &one.profile {
            Profile::HttpsWeb => String::new(),
            Profile::HttpsSpiffe { endpoint_spiffe_id } => endpoint_spiffe_id.to_string(),
        },
    }
}

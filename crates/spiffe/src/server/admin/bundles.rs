//! The bundles: the trust domain's own, and those of others.

use holdfast_types::TrustDomain;
use tonic::Status;

use super::federations::{domain, federation_status};
use super::invalid;
use crate::Bundle;
use crate::proto::node as wire;
use crate::proto::node::delete_bundle_request::Mode;
use crate::server::Shared;
use crate::server::federation::FederationError;
use crate::server::registrar::Parting;
use crate::wire::{bundle_from_wire, bundle_to_wire};

pub(super) async fn show(
    shared: &Shared,
    asked: wire::ShowBundleRequest,
) -> Result<wire::Bundle, Status> {
    let own = shared.authorities.bundle().borrow().clone();
    if asked.trust_domain.is_empty() || asked.trust_domain == own.trust_domain.as_str() {
        return Ok(bundle_to_wire(&own));
    }
    let wanted = TrustDomain::parse(&asked.trust_domain).map_err(invalid)?;
    let found = shared.federation.bundles().borrow().get(&wanted).cloned();
    found.map(|bundle| bundle_to_wire(&bundle)).ok_or_else(|| Status::not_found("bundle not found"))
}

pub(super) async fn set(
    shared: &Shared,
    asked: wire::Bundle,
) -> Result<wire::SetBundleResponse, Status> {
    let bundle = checked(bundle_from_wire(asked).map_err(invalid)?)?;
    shared.federation.set_bundle(bundle).await.map_err(federation_status)?;
    Ok(wire::SetBundleResponse {})
}

pub(super) async fn list(
    shared: &Shared,
    _: wire::ListBundlesRequest,
) -> Result<wire::ListBundlesResponse, Status> {
    let known = shared.federation.bundles().borrow().clone();
    let bundles = known.values().map(|bundle| bundle_to_wire(bundle)).collect();
    Ok(wire::ListBundlesResponse { bundles })
}

pub(super) async fn delete(
    shared: &Shared,
    asked: wire::DeleteBundleRequest,
) -> Result<wire::DeleteBundleResponse, Status> {
    let mode = match asked.mode() {
        Mode::Restrict => Parting::Restrict,
        Mode::Delete => Parting::Delete,
        Mode::Dissociate => Parting::Dissociate,
    };
    let name = domain(&asked.trust_domain)?;
    if !shared.federation.bundles().borrow().contains_key(&name) {
        return Err(federation_status(FederationError::NoBundle(name)));
    }
    shared.registrar.part_with(&name, mode).await?;
    shared.federation.delete_bundle(&name).await.map_err(federation_status)?;
    Ok(wire::DeleteBundleResponse {})
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

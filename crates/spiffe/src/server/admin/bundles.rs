//! The bundles: the trust domain's own, and those of others.

use holdfast_types::TrustDomain;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::federations::{domain, federation_status};
use super::{AdminService, invalid};
use crate::Bundle;
use crate::proto::node as wire;
use crate::server::federation::FederationError;
use crate::server::registrar::Parting;
use crate::wire::{bundle_from_wire, bundle_to_wire};

impl AdminService {
    pub(super) async fn show_bundle(
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

    pub(super) async fn set_bundle(
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

    pub(super) async fn list_bundles(
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

    pub(super) async fn delete_bundle(
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

//! The SPIFFE Workload API, with SPIRE's codes and words.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_types::SpiffeId;
use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind as ProtoKind};
use serde_json::Value;
use tonic::{Request, Response, Status};

use super::attest::Attested;
use super::caller::Caller;
use super::core::{Core, View, unsigned};
use super::follow::{Answers, Kind, follow};
use super::registry::Registry;
use super::validate::validate;
use crate::Bundle;
use crate::proto::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use crate::proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse,
    ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse,
    X509svid, X509svidRequest, X509svidResponse,
};

/// The metadata that a request must have, so that no confused web client can make one.
const SECURITY_HEADER: &str = "workload.spiffe.io";
/// The most audiences of a token, and the longest of them.
const AUDIENCES: (usize, usize) = (64, 2048);

/// The service.
pub(super) struct Workload {
    core: Arc<Core>,
}

impl Workload {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Who asks, and what they are.
    async fn attest<T>(&self, request: &Request<T>) -> Result<(Arc<Registry>, Attested), Status> {
        let caller = caller(request)?;
        let registry = self.core.registry().await?;
        let attested = self.core.attest(&caller, &registry).await?;
        Ok((registry, attested))
    }
}

/// The caller of a request that has the security header.
fn caller<T>(request: &Request<T>) -> Result<Arc<Caller>, Status> {
    let header = request.metadata().get(SECURITY_HEADER);
    if header.is_none_or(|header| header != "true") {
        return Err(Status::invalid_argument("security header missing from request"));
    }
    caller_of(request)
}

/// The caller of any request.
pub(super) fn caller_of<T>(request: &Request<T>) -> Result<Arc<Caller>, Status> {
    let caller = request.extensions().get::<Arc<Caller>>().cloned();
    caller.ok_or_else(|| Status::internal("the connection has no caller"))
}

/// Whether a token can be for this audience.
pub(super) fn check_audience(audience: &[String]) -> Result<(), Status> {
    if audience.is_empty() || audience.iter().any(String::is_empty) {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    if audience.len() > AUDIENCES.0 || audience.iter().any(|one| one.len() > AUDIENCES.1) {
        return Err(Status::invalid_argument("too many audiences, or too long ones"));
    }
    Ok(())
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Workload {
    type FetchX509SVIDStream = Answers<X509svidResponse>;
    type FetchX509BundlesStream = Answers<X509BundlesResponse>;
    type FetchJWTBundlesStream = Answers<JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let kind = Kind { with_svids: true, answer: x509_svids, is_same: View::is_same_x509 };
        Ok(Response::new(follow(&self.core, &caller(&request)?, kind)?))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let answer = |view: &View| {
            let bundles = bundles(view, Bundle::x509_der);
            Ok(X509BundlesResponse { crl: Vec::new(), bundles })
        };
        let kind = Kind { with_svids: false, answer, is_same: View::is_same_x509 };
        Ok(Response::new(follow(&self.core, &caller(&request)?, kind)?))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        let caller = caller(&request)?;
        let JwtsvidRequest { audience, spiffe_id } = request.get_ref();
        check_audience(audience)?;
        let wanted = match spiffe_id.as_str() {
            "" => None,
            text => Some(SpiffeId::parse(text).map_err(|error| {
                Status::invalid_argument(format!("invalid requested SPIFFE ID: {error}"))
            })?),
        };
        let (registry, attested) = self.attest(&request).await?;
        let mut entries = self.core.entries(&registry, &attested)?;
        if let Some(wanted) = wanted {
            entries.retain(|entry| entry.spiffe_id == wanted);
        }
        if entries.is_empty() {
            return Err(self.core.denied(&attested));
        }
        let bundle = &registry.snapshot.bundle;
        let mut svids = Vec::new();
        for entry in &entries {
            let token = self.core.tokens.get(entry, audience, bundle).await;
            svids.push(Jwtsvid {
                spiffe_id: entry.spiffe_id.to_string(),
                svid: token.map_err(|error| unsigned(&error))?.token.expose().clone(),
                hint: entry.hint.clone(),
            });
        }
        if !self.core.is_still(&caller, &attested) {
            return Err(Status::unavailable("the workload changed while it was attested"));
        }
        Ok(Response::new(JwtsvidResponse { svids }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let answer = |view: &View| Ok(JwtBundlesResponse { bundles: bundles(view, Bundle::jwks) });
        let kind = Kind { with_svids: false, answer, is_same: View::is_same_jwt };
        Ok(Response::new(follow(&self.core, &caller(&request)?, kind)?))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        caller(&request)?;
        let ValidateJwtsvidRequest { audience, svid } = request.get_ref();
        if audience.is_empty() {
            return Err(Status::invalid_argument("audience must be specified"));
        }
        if svid.is_empty() {
            return Err(Status::invalid_argument("svid must be specified"));
        }
        let (registry, attested) = self.attest(&request).await?;
        let entries = registry.matching(&attested.selectors);
        let view = self.core.view(&registry, &entries, false).await?;
        let (id, claims) = validate(svid, audience, &view, self.core.clock.now())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let claims = claims.into_iter().map(|(name, value)| (name, proto_value(value)));
        let claims = Some(Struct { fields: claims.collect() });
        Ok(Response::new(ValidateJwtsvidResponse { spiffe_id: id.to_string(), claims }))
    }
}

fn x509_svids(view: &View) -> Result<X509svidResponse, Status> {
    let bundle = view.bundle.x509_der();
    let svids = view.svids.iter().map(|svid| X509svid {
        spiffe_id: svid.entry.spiffe_id.to_string(),
        x509_svid: svid.chain.concat(),
        x509_svid_key: svid.key.to_vec(),
        bundle: bundle.clone(),
        hint: svid.entry.hint.clone(),
    });
    let federated = view.federated.values();
    let federated =
        federated.map(|bundle| (bundle.trust_domain.id().to_string(), bundle.x509_der()));
    Ok(X509svidResponse {
        svids: svids.collect(),
        crl: Vec::new(),
        federated_bundles: federated.collect(),
    })
}

/// All bundles of a view, by the SPIFFE IDs of their trust domains.
pub(super) fn bundles(view: &View, form: fn(&Bundle) -> Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let all = std::iter::once(&view.bundle).chain(view.federated.values());
    all.map(|bundle| (bundle.trust_domain.id().to_string(), form(bundle))).collect()
}

fn proto_value(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => ProtoKind::NullValue(0),
        Value::Bool(value) => ProtoKind::BoolValue(value),
        Value::Number(number) => ProtoKind::NumberValue(number.as_f64().unwrap_or(0.0)),
        Value::String(text) => ProtoKind::StringValue(text),
        Value::Array(values) => ProtoKind::ListValue(ListValue {
            values: values.into_iter().map(proto_value).collect(),
        }),
        Value::Object(fields) => ProtoKind::StructValue(Struct {
            fields: fields.into_iter().map(|(name, value)| (name, proto_value(value))).collect(),
        }),
    };
    ProtoValue { kind: Some(kind) }
}

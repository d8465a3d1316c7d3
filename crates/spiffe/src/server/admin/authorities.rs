//! The authorities, and what they sign for operators.

use std::time::Duration;

use holdfast_types::{Chain, SpiffeId};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::{AdminService, invalid};
use crate::proto::node as wire;
use crate::proto::node::authority_request::Kind as WireKind;
use crate::server::Shared;
use crate::server::authority::{Authority, Kind, MAX_KEYS, OrderError, Standing};
use crate::server::node::{check_audiences, token_details, token_to_wire};
use crate::server::registry::check_workload;

/// What is audited of an order.
pub(super) fn details(asked: &wire::AuthorityRequest) -> Value {
    json!({ "kind": asked.kind().as_str_name().to_lowercase(), "authority_id": asked.authority_id })
}

pub(super) async fn list(
    shared: &Shared,
    asked: wire::AuthorityRequest,
) -> Result<wire::ListAuthoritiesResponse, Status> {
    let authorities = shared.authorities.list(kind(&asked)?).await.into_iter().map(to_wire);
    Ok(wire::ListAuthoritiesResponse { authorities: authorities.collect() })
}

pub(super) async fn prepare(
    shared: &Shared,
    asked: wire::AuthorityRequest,
) -> Result<wire::Authority, Status> {
    let prepared = shared.authorities.prepare(kind(&asked)?).await;
    prepared.map(to_wire).map_err(order_status)
}

pub(super) async fn activate(
    shared: &Shared,
    asked: wire::AuthorityRequest,
) -> Result<wire::Authority, Status> {
    let activated = shared.authorities.activate(kind(&asked)?, &asked.authority_id).await;
    activated.map(to_wire).map_err(order_status)
}

pub(super) async fn taint(
    shared: &Shared,
    asked: wire::AuthorityRequest,
) -> Result<wire::Authority, Status> {
    let tainted = shared.authorities.taint(kind(&asked)?, &asked.authority_id).await;
    tainted.map(to_wire).map_err(order_status)
}

pub(super) async fn revoke(
    shared: &Shared,
    asked: wire::AuthorityRequest,
) -> Result<wire::Authority, Status> {
    let revoked = shared.authorities.revoke(kind(&asked)?, &asked.authority_id).await;
    revoked.map(to_wire).map_err(order_status)
}

pub(super) async fn acknowledge(
    shared: &Shared,
    asked: wire::AcknowledgeJwtKeysRequest,
) -> Result<wire::AcknowledgeJwtKeysResponse, Status> {
    if asked.key_ids.len() > MAX_KEYS {
        return Err(invalid(format!("there are never more than {MAX_KEYS} keys")));
    }
    shared.authorities.acknowledge(&asked.key_ids).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "acknowledge keys");
        Status::unavailable(error.to_string())
    })?;
    Ok(wire::AcknowledgeJwtKeysResponse {})
}

impl AdminService {
    /// What is audited of a token is known when it is signed.
    pub(super) fn mint(
        &self,
        request: &Request<wire::MintJwtSvidRequest>,
    ) -> Result<Response<wire::MintJwtResponse>, Status> {
        const ACTION: &str = "jwt mint";
        let caller = self.caller(request, ACTION)?;
        let asked = request.get_ref();
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
        self.end(&caller, ACTION, mint())
    }
}

/// Of what kind.
fn kind(asked: &wire::AuthorityRequest) -> Result<Kind, Status> {
    match WireKind::try_from(asked.kind) {
        Ok(WireKind::X509) => Ok(Kind::X509),
        Ok(WireKind::Jwt) => Ok(Kind::Jwt),
        Err(_) => Err(Status::invalid_argument("authorities are of X.509 or of JWT")),
    }
}

fn order_status(error: OrderError) -> Status {
    let text = error.to_string();
    match error {
        OrderError::Unknown(_) => Status::not_found(text),
        OrderError::Authority(source) => {
            tracing::error!(error = &source as &dyn std::error::Error, "change an authority");
            Status::unavailable(text)
        }
        _ => Status::failed_precondition(text),
    }
}

fn to_wire(authority: Authority) -> wire::Authority {
    let state = match authority.standing {
        Standing::Prepared => wire::authority::State::Prepared,
        Standing::Active => wire::authority::State::Active,
        Standing::Old => wire::authority::State::Old,
    };
    wire::Authority {
        id: authority.id,
        expires_at: authority.expires_at.as_second(),
        state: state.into(),
        tainted: authority.is_tainted,
        upstream_id: authority.upstream_id.unwrap_or_default(),
    }
}

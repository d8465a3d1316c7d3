//! The authorities, and what they sign for operators.

use std::time::Duration;

use holdfast_types::{Chain, SpiffeId};
use serde_json::json;
use tonic::{Request, Response, Status};

use super::{AdminService, invalid};
use crate::proto::node as wire;
use crate::proto::node::authority_request::Kind as WireKind;
use crate::server::authority::{Authorities, Authority, Kind, MAX_KEYS, OrderError, Standing};
use crate::server::node::{check_audiences, token_details, token_to_wire};
use crate::server::registry::check_workload;

impl AdminService {
    pub(super) async fn acknowledge_jwt_keys(
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

    pub(super) async fn mint_jwt_svid(
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

    pub(super) async fn list_authorities(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::ListAuthoritiesResponse>, Status> {
        const ACTION: &str = "localauthority show";
        let caller = self.caller(&request, ACTION)?;
        let kind = kind(request.get_ref())?;
        self.begin(&caller, ACTION, &json!({ "kind": kind.to_string() }))?;
        let authorities = self.0.authorities.list(kind).await.into_iter().map(to_wire).collect();
        Ok(Response::new(wire::ListAuthoritiesResponse { authorities }))
    }

    pub(super) async fn prepare_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        let prepare = async |all: &Authorities, kind, _: &str| all.prepare(kind).await;
        self.order(request, "localauthority prepare", prepare).await
    }

    pub(super) async fn activate_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.order(request, "localauthority activate", Authorities::activate).await
    }

    pub(super) async fn taint_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.order(request, "localauthority taint", Authorities::taint).await
    }

    pub(super) async fn revoke_authority(
        &self,
        request: Request<wire::AuthorityRequest>,
    ) -> Result<Response<wire::Authority>, Status> {
        self.order(request, "localauthority revoke", Authorities::revoke).await
    }

    /// Carries out an order for one of them.
    async fn order(
        &self,
        request: Request<wire::AuthorityRequest>,
        action: &str,
        order: impl AsyncFnOnce(&Authorities, Kind, &str) -> Result<Authority, OrderError>,
    ) -> Result<Response<wire::Authority>, Status> {
        let caller = self.caller(&request, action)?;
        let asked = request.into_inner();
        let kind = kind(&asked)?;
        let id = &asked.authority_id;
        self.begin(&caller, action, &json!({ "kind": kind.to_string(), "authority_id": id }))?;
        let outcome = order(&self.0.authorities, kind, id).await.map_err(order_status);
        self.end(&caller, action, outcome.map(to_wire))
    }
}

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

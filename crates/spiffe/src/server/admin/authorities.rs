//! What operators order of the authorities.

use serde_json::json;
use tonic::{Request, Response, Status};

use super::AdminService;
use crate::proto::node as wire;
use crate::proto::node::authority_request::Kind as WireKind;
use crate::server::authority::{Authorities, Authority, Kind, OrderError, Standing};

impl AdminService {
    /// Lists them.
    pub(super) async fn authorities(
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

    /// Carries out an order for one of them.
    pub(super) async fn order(
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

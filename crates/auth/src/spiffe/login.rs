//! `login`: an SVID for a token.

use std::collections::BTreeMap;

use holdfast_logical::{Auth, EntityAlias, Error, Reply, Request, Response};
use holdfast_types::{SecretString, SpiffeId};
use serde_json::{Value, json};

use super::svid::{verify_jwt, verify_x509};
use super::{Active, Spiffe};
use crate::{source_address, token_params};

/// By what a workload was recognised.
#[derive(Clone, Copy)]
enum Kind {
    X509,
    Jwt,
}

impl Spiffe {
    /// `PUT login {role, jwt}`: the JWT-SVID in `jwt`, in `token`, or as the bearer token; else the
    /// X.509-SVID of the connection. Whatever is wrong with them has one answer.
    pub(super) async fn login(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let text = |name| {
            let value = fields.string(name).map_err(Error::field_validation)?;
            Ok::<_, Error>(value.unwrap_or_default())
        };
        let name = text("role")?.to_lowercase();
        let token = [text("jwt")?, text("token")?].into_iter().find(|token| !token.is_empty());
        let bearer = || request.headers.get("authorization")?.strip_prefix("Bearer ");
        let token = token.or_else(|| bearer().map(str::to_owned)).map(SecretString::new);
        if name.is_empty() {
            return Err(Error::invalid("missing role"));
        }
        let Some(active) = self.active().await? else {
            return Err(Error::invalid("could not load configuration"));
        };
        let (id, kind) = self.recognise(&active, request, token.as_ref()).await?;
        let denied = |reason: String, advice: &str| Error::Denied.because(reason, advice);
        let Some(role) = self.role(&name).await? else {
            return Err(denied(format!("there is no role {name:?}"), "list the roles under role/"));
        };
        if !role.takes(&id) {
            return Err(denied(
                format!("{id} fits no pattern of the role {name:?}"),
                "compare it with the role's workload_id_patterns",
            ));
        }
        source_address::check(request, &role.tokens.params)?;
        let display_name = match role.display_name.as_str() {
            "" => id.to_string(),
            name => name.to_owned(),
        };
        let auth = Auth {
            metadata: metadata(&name, &id, kind),
            display_name,
            alias: Some(EntityAlias { name: id.to_string(), metadata: metadata(&name, &id, kind) }),
            internal: json!({ "role": name, "spiffe_id": id }),
            renewable: true,
            params: role.tokens.params,
            ..Auth::default()
        };
        Ok(Some(Response { auth: Some(auth), ..Response::default() }))
    }

    /// A token lives on under the life that its role gives now, as long as the role takes its
    /// workload and gives the same policies.
    pub(super) async fn renew(&self, mut auth: Auth) -> Result<Auth, Error> {
        let text = |name| auth.internal.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("role");
        let Some(role) = self.role(name).await? else {
            return Err(Error::invalid(format!("role {name} does not exist during renewal")));
        };
        let id = SpiffeId::parse(text("spiffe_id"));
        if !id.is_ok_and(|id| role.takes(&id)) {
            return Err(Error::invalid("the role does not take this workload any more"));
        }
        if !token_params::same_policies(&role.tokens.params, &auth.params) {
            return Err(Error::invalid("policies have changed, not renewing"));
        }
        token_params::renew(&mut auth, &role.tokens.params);
        Ok(auth)
    }

    async fn recognise(
        &self,
        active: &Active,
        request: &Request,
        token: Option<&SecretString>,
    ) -> Result<(SpiffeId, Kind), Error> {
        let (config, source) = (&active.config, &active.source);
        let domain = &config.trust_domain;
        let chain = &request.connection.client_certificates;
        let (judged, kind, advice) = if let Some(token) = token {
            let judged = source
                .judge(|bundle, now| {
                    verify_jwt(token.expose(), bundle, domain, &config.audience, now)
                })
                .await;
            (judged, Kind::Jwt, "compare the JWT-SVID with the mount's configuration and bundle")
        } else if chain.is_empty() {
            return Err(Error::invalid("neither a JWT-SVID nor a client certificate was given"));
        } else {
            let judged = source.judge(|bundle, now| verify_x509(chain, bundle, domain, now)).await;
            (judged, Kind::X509, "compare the X.509-SVID with the mount's configuration and bundle")
        };
        let id = judged.map_err(|error| Error::Denied.because(error.to_string(), advice))?;
        Ok((id, kind))
    }
}

fn metadata(role: &str, id: &SpiffeId, kind: Kind) -> BTreeMap<String, String> {
    let kind = match kind {
        Kind::X509 => "x509",
        Kind::Jwt => "jwt",
    };
    let pairs = [
        ("role", role),
        ("spiffe_id", id.as_str()),
        ("svid_type", kind),
        ("trust_domain", id.trust_domain()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

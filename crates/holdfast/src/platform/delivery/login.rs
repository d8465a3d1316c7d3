//! Who a service is to the secrets server: its SPIFFE ID. A login method trusts the platform's trust
//! domain, and a role of each service asks for its ID. No secret of it lies on a disk.
//!
//! A JWT-SVID logs in everywhere. Our own server takes an X.509-SVID, too; OpenBao refuses one, for it
//! has no common name.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use holdfast_spiffe::JwtSvid;
use holdfast_types::{Clock, SystemClock};
use serde_json::{Map, Value, json};

use super::super::account::Account;
use super::super::config::{Engine, FILE_NAME, Platform};
use super::super::spiffe::{self, Declarations, Domain};
use super::super::{files, identity};
use super::Place;
use crate::apply::{Object, POLICIES};

/// Whom the logins are made for, so that they are good nowhere else.
pub(crate) const AUDIENCE: &str = "vault";
/// How often a login is replaced, at least.
pub(super) const EVERY: Duration = Duration::from_secs(60);
/// Each renewal gives an agent's token this much again. What an agent leaves behind that is killed,
/// and not started again, ends after it.
const TOKEN_PERIOD: &str = "1h";
/// The role by which the supervisor logs in as the part it is.
pub(crate) const SUPERVISOR_ROLE: &str = "holdfast-supervisor";
/// The same for operators, each under an ID of their own.
pub(crate) const OPERATOR_ROLE: &str = "holdfast-operator";
/// What an operator may do; the platform directory says that.
pub(crate) const OPERATOR_POLICY: &str = "operator";
/// How long an operator's token lives.
pub(crate) const OPERATOR_TTL: &str = "8h";

/// What every agent may do beside what the service's policies say.
const AGENT_POLICY: &str = "\
# Of the agents of this platform's services, beside the policies of each service.

# To hear of changes at once. Only of what the token may read.
path \"sys/events/subscribe/*\" {
  capabilities = [\"read\"]
}

# To end a credential once all have its successor. Whoever ends one has to know its id.
path \"sys/leases/revoke\" {
  capabilities = [\"update\"]
}
";

/// Writes a login of the service, for its user alone; says how long it stays good.
pub(crate) async fn write(
    domain: &Domain,
    place: &Place,
    account: &Account,
) -> anyhow::Result<Duration> {
    let JwtSvid { token, expires_at, .. } = domain.service_token(&place.service, AUDIENCE).await?;
    let path = place.jwt();
    files::write(&path, token.expose().as_bytes(), 0o400, Some(account))
        .with_context(|| format!("write {}", path.display()))?;
    let left = expires_at.duration_since(SystemClock.now());
    Ok(Duration::try_from(left).unwrap_or_default())
}

/// What the secrets server knows the trust domain by.
pub(crate) enum Trust {
    /// Where the keys are published, which it fetches when it meets a new one, and what it verifies
    /// that place by. The platform's root, which is at the end of every X.509-SVID, too.
    Published { issuer: String, root_pem: String },
    /// The keys themselves: for a server that may not reach this machine. Somebody has to bring it the
    /// next one in time.
    Brought(Vec<String>),
}

/// Where the login method is mounted, such as `holdfast-services-demo`: several platforms can share
/// an external secrets server.
pub(crate) fn mount(platform: &Platform) -> String {
    format!("holdfast-services-{}", platform.name)
}

/// The same for logins by certificate.
pub(crate) fn certificate_mount(platform: &Platform) -> String {
    format!("{}-cert", mount(platform))
}

/// What the login method is configured with.
pub(crate) fn trust(platform: &Platform, trust: &Trust) -> Object {
    let config = match trust {
        Trust::Published { issuer, root_pem } => json!({
            "oidc_discovery_url": issuer,
            "oidc_discovery_ca_pem": root_pem.trim_end(),
            "bound_issuer": issuer,
        }),
        Trust::Brought(keys) => json!({ "jwt_validation_pubkeys": keys }),
    };
    object(format!("auth/{}/config", mount(platform)), config)
}

/// What the secrets server has to hold so that services can log in, and the supervisor of a server of
/// its own.
pub(crate) fn objects(
    platform: &Platform,
    declarations: &Declarations,
    trusted: &Trust,
) -> anyhow::Result<Vec<Object>> {
    let services: Vec<_> = platform
        .services
        .iter()
        .filter_map(|(name, service)| Some((name, service.policies.as_ref()?)))
        .collect();
    let supervised = platform.vault.is_supervised();
    if services.is_empty() && !supervised {
        return Ok(Vec::new());
    }
    let mount = mount(platform);
    let agents = format!("holdfast-agents-{}", platform.name);
    let description = format!("services of the platform {}", platform.name);
    let mut objects = vec![
        object(format!("sys/auth/{mount}"), json!({ "type": "jwt", "description": description })),
        object(format!("{POLICIES}{agents}"), json!({ "policy": AGENT_POLICY })),
        trust(platform, trusted),
    ];
    let role = |id: &str, policies: &[String]| {
        json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_subject": id,
            "bound_audiences": [AUDIENCE],
            "claim_mappings": { "sub": "spiffe_id" },
            "token_policies": policies,
        })
    };
    if supervised {
        let entry = declarations.part("supervisor").context("the supervisor has no identity")?;
        let mut role = role(entry.spiffe_id.as_str(), &[identity::POLICY.to_owned()]);
        let ttl = format!("{}s", identity::TOKEN_TTL.as_secs());
        role["token_ttl"] = json!(ttl);
        role["token_max_ttl"] = json!(ttl);
        role["token_no_default_policy"] = json!(true);
        objects.push(object(format!("auth/{mount}/role/{SUPERVISOR_ROLE}"), role));
        objects.push(object(format!("auth/{mount}/role/{OPERATOR_ROLE}"), operators(platform)));
    }
    let certificates = certificate_mount(platform);
    let root = match (&platform.vault.engine, trusted) {
        (Engine::Embedded { .. }, Trust::Published { root_pem, .. }) if !services.is_empty() => {
            let mount = json!({ "type": "cert", "description": description });
            objects.push(object(format!("sys/auth/{certificates}"), mount));
            // A token outlives the certificate that it was got by, and is renewed by its successor.
            let config = json!({ "disable_binding": true });
            objects.push(object(format!("auth/{certificates}/config"), config));
            Some(root_pem.trim_end())
        }
        _ => None,
    };
    for (name, policies) in services {
        let mut policies = policies.clone();
        policies.push(agents.clone());
        let entry =
            declarations.service(name).with_context(|| format!("{name} has no identity"))?;
        let id = entry.spiffe_id.as_str();
        let mut role = role(id, &policies);
        role["token_period"] = json!(TOKEN_PERIOD);
        objects.push(object(format!("auth/{mount}/role/{name}"), role));
        if let Some(root) = root {
            let certificate = json!({
                "certificate": root,
                "allowed_uri_sans": [id],
                "display_name": name,
                "token_policies": policies,
                "token_period": TOKEN_PERIOD,
            });
            objects.push(object(format!("auth/{certificates}/certs/{name}"), certificate));
        }
    }
    Ok(objects)
}

/// Whoever has an operator's ID, which the supervisor alone has signed.
fn operators(platform: &Platform) -> Value {
    json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_claims_type": "glob",
        "bound_claims": { "sub": format!("{}*", spiffe::operators(&platform.trust_domain)) },
        "bound_audiences": [AUDIENCE],
        "claim_mappings": { "sub": "spiffe_id" },
        "token_policies": [OPERATOR_POLICY],
        "token_ttl": OPERATOR_TTL,
        "token_explicit_max_ttl": OPERATOR_TTL,
    })
}

fn object(path: String, fields: Value) -> Object {
    let fields = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Object { path, fields, file: PathBuf::from(FILE_NAME) }
}

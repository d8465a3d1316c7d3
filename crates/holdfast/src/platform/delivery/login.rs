//! Who a service is to the secrets server: a login method that trusts a key of the supervisor's, and
//! a role for each service. No secret of it lies on a disk.
//!
//! What is signed is the service's name. Once services have SPIFFE IDs, their agents log in with
//! those: another method and another subject in the same roles.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::super::account::Account;
use super::super::config::{FILE_NAME, Platform};
use super::super::files;
use super::super::seal::SealKey;
use super::super::signing::SigningKey;
use super::super::state::State;
use super::Place;
use crate::apply::{Object, POLICIES};

/// Whom the logins are made for, so that they are good nowhere else.
const AUDIENCE: &str = "holdfast-service";
/// The life of a login, and how often it is replaced.
const JWT_TTL: Duration = Duration::from_secs(600);
pub(super) const EVERY: Duration = Duration::from_secs(60);
/// Each renewal gives an agent's token this much again. What an agent leaves behind that is killed,
/// and not started again, ends after it.
const TOKEN_PERIOD: &str = "1h";

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

/// Signs in for services.
pub(crate) struct ServiceLogins(SigningKey);

impl ServiceLogins {
    /// Opens the key, or makes it at the first start.
    pub(crate) fn load(state: &State, seal: &SealKey) -> anyhow::Result<Self> {
        Ok(Self(SigningKey::load(state, seal, "services")?))
    }

    /// What the roles are to trust, as PEM.
    pub(crate) fn public_pem(&self) -> &str {
        self.0.public_pem()
    }

    /// Writes the service's login, for its user alone.
    pub(super) fn write(&self, place: &Place, account: &Account) -> anyhow::Result<()> {
        let jwt = self.0.sign(&place.service, AUDIENCE, JWT_TTL).context("sign a login")?;
        let path = place.jwt();
        files::write(&path, jwt.expose().as_bytes(), 0o400, Some(account))
            .with_context(|| format!("write {}", path.display()))
    }
}

/// Where the login method is mounted, such as `holdfast-services-demo`: several platforms can share
/// an external secrets server.
pub(super) fn mount(platform: &Platform) -> String {
    format!("holdfast-services-{}", platform.name)
}

/// What the secrets server has to hold so that services can log in; nothing where none has secrets.
pub(crate) fn objects(platform: &Platform, public_pem: &str) -> Vec<Object> {
    let services: Vec<_> = platform
        .services
        .iter()
        .filter_map(|(name, service)| Some((name, service.delivery.as_ref()?)))
        .collect();
    if services.is_empty() {
        return Vec::new();
    }
    let object = |path: String, fields: Value| Object {
        path,
        fields: match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        },
        file: PathBuf::from(FILE_NAME),
    };
    let mount = mount(platform);
    let agents = format!("holdfast-agents-{}", platform.name);
    let description = format!("services of the platform {}", platform.name);
    let mut objects = vec![
        object(format!("sys/auth/{mount}"), json!({ "type": "jwt", "description": description })),
        object(format!("{POLICIES}{agents}"), json!({ "policy": AGENT_POLICY })),
        object(
            format!("auth/{mount}/config"),
            // An engine keeps it without the last line's end.
            json!({ "jwt_validation_pubkeys": [public_pem.trim_end()] }),
        ),
    ];
    for (name, delivery) in services {
        let mut policies = delivery.policies.clone();
        policies.push(agents.clone());
        let role = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_subject": name,
            "bound_audiences": [AUDIENCE],
            "token_policies": policies,
            "token_period": TOKEN_PERIOD,
        });
        objects.push(object(format!("auth/{mount}/role/{name}"), role));
    }
    objects
}

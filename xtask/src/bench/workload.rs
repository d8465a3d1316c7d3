//! What the load asks for, and what must be there for it.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::engine::Server;
use super::http::write_request;
use super::load::{self, CONNECTIONS};

/// Keys that are read and written.
pub(super) const KEYS: usize = 1000;
/// One value, of the size of a database's address with user and password.
pub(super) const VALUE: &str = r#"{"data":{"username":"app-backend","password":"9f86d081884c7d659a2feaa0c55ad015","host":"db.internal:5432"}}"#;

/// One kind of request, by many clients at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workload {
    /// Reads one of the keys.
    Read,
    /// Looks up its own token.
    LookupSelf,
    /// Logs in with a role id and a secret id, which makes a token.
    Login,
    /// Writes a version of one of the keys, which is on disk when it is answered.
    Write,
}

impl Workload {
    pub(super) const ALL: [Self; 4] = [Self::Read, Self::LookupSelf, Self::Login, Self::Write];

    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "KV read",
            Self::LookupSelf => "lookup-self",
            Self::Login => "AppRole login",
            Self::Write => "KV write",
        }
    }

    /// How many times the real server's rate is wanted, and what share of its 99th percentile.
    pub(super) fn goal(self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::Read | Self::Login => (Some(5.0), Some(0.25)),
            Self::LookupSelf => (None, None),
            Self::Write => (Some(3.0), None),
        }
    }
}

/// Who asks: a token with a policy, and an AppRole.
pub(super) struct Client {
    token: String,
    login: String,
}

impl Client {
    /// Mounts what is needed on a new server, and makes a token and a role.
    pub(super) fn set_up(server: &Server) -> Result<Self> {
        let v2 = json!({ "type": "kv", "options": { "version": "2" } });
        server.call("POST", "sys/mounts/secret", &v2)?;
        let policy = r#"path "secret/data/*" { capabilities = ["create", "read", "update"] }"#;
        server.call("PUT", "sys/policies/acl/bench", &json!({ "policy": policy }))?;
        server.call("POST", "sys/auth/approle", &json!({ "type": "approle" }))?;
        let role = json!({ "token_policies": "bench", "token_ttl": "1h" });
        server.call("POST", "auth/approle/role/bench", &role)?;
        let text = |reply: Value, at: &str| {
            reply.pointer(at).and_then(Value::as_str).map(str::to_owned).context(at.to_owned())
        };
        let order = json!({ "policies": ["bench"], "ttl": "24h" });
        let token = text(server.call("POST", "auth/token/create", &order)?, "/auth/client_token")?;
        let reply = server.call("GET", "auth/approle/role/bench/role-id", &Value::Null)?;
        let role_id = text(reply, "/data/role_id")?;
        let reply = server.call("POST", "auth/approle/role/bench/secret-id", &json!({}))?;
        let secret_id = text(reply, "/data/secret_id")?;
        let login = json!({ "role_id": role_id, "secret_id": secret_id }).to_string();
        Ok(Self { token, login })
    }

    /// Writes each of the keys once, through the API.
    pub(super) fn write_keys(&self, server: &Server) -> Result<()> {
        // The real server prepares a new mount in the background.
        let first = serde_json::from_str(VALUE)?;
        server.call("POST", "secret/data/bench/0000000", &first)?;
        let target = server.target(false);
        load::all(&target, CONNECTIONS, KEYS, &|number, buffer| {
            write_request(buffer, "POST", &key(number), &self.token, VALUE);
        })?;
        Ok(())
    }

    /// The request with that number, of a server with `keys` keys.
    pub(super) fn request(
        &self,
        workload: Workload,
        keys: usize,
        number: usize,
        buffer: &mut Vec<u8>,
    ) {
        // All keys, in an order without neighbours.
        let key = key(number.wrapping_mul(0x9E37_79B9) % keys);
        match workload {
            Workload::Read => write_request(buffer, "GET", &key, &self.token, ""),
            Workload::LookupSelf => {
                write_request(buffer, "GET", "auth/token/lookup-self", &self.token, "");
            }
            Workload::Login => {
                write_request(buffer, "POST", "auth/approle/login", "", &self.login);
            }
            Workload::Write => write_request(buffer, "POST", &key, &self.token, VALUE),
        }
    }
}

fn key(number: usize) -> String {
    format!("secret/data/bench/{number:07}")
}

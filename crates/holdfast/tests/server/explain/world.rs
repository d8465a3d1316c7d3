//! A server with mounts, policies and callers for the rows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use holdfast_client::vault::{Method, VaultClient, VaultConfig};
use holdfast_policy::Policy;
use holdfast_testkit::StockServer;
use holdfast_types::SecretString;
use serde_json::{Value, json};

use super::row::{Row, rows};

pub(super) struct World {
    server: StockServer,
    rows: Vec<Row>,
    /// The tokens of the rows' callers.
    tokens: Mutex<BTreeMap<String, String>>,
    /// Clients without a token, by the wrapping that they ask for.
    clients: Mutex<BTreeMap<Option<String>, VaultClient>>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) explain_id: Option<String>,
}

/// Puts a policy back.
pub(super) struct Undo {
    policy: String,
    text: Option<String>,
}

impl World {
    pub(super) async fn new() -> Self {
        let ours = Path::new(env!("CARGO_BIN_EXE_holdfast"));
        let server = StockServer::start_binary(ours, &["vault", "server"]);
        let world =
            Self { server, rows: rows(), tokens: Mutex::default(), clients: Mutex::default() };
        let v2 = json!({ "type": "kv", "options": { "version": "2" } });
        world.write("sys/mounts/kv", &v2).await;
        world.write("sys/mounts/kv1", &json!({ "type": "kv" })).await;
        world.write("sys/auth/approle", &json!({ "type": "approle" })).await;
        world.write("sys/auth/jwt", &json!({ "type": "jwt" })).await;
        world.write("kv1/cfg", &json!({ "a": "1" })).await;
        for secret in ["app/db", "app", "app/root-password", "app1/db", "billing/card", "other"] {
            world.write(&format!("kv/data/{secret}"), &json!({ "data": { "a": "1" } })).await;
        }
        let key = include_str!("issuer.pem");
        world.write("auth/jwt/config", &json!({ "jwt_validation_pubkeys": [key] })).await;
        world
    }

    fn client(&self, token: Option<&str>, wrap: Option<&str>) -> VaultClient {
        let wrap = wrap.map(str::to_owned);
        let mut clients = self.clients.lock().unwrap();
        let client = clients.entry(wrap.clone()).or_insert_with(|| {
            let mut config = VaultConfig::new(self.server.address().parse().expect("an address"));
            config.max_retries = 0;
            config.wrap_ttl = wrap;
            VaultClient::new(&config).expect("a client")
        });
        client.with_token(token.map(SecretString::from))
    }

    fn root(&self) -> VaultClient {
        self.client(Some(StockServer::ROOT_TOKEN), None)
    }

    async fn write(&self, path: &str, body: &Value) -> Value {
        let reply = self.root().request(Method::PUT, path, Some(body), &[]).await;
        let reply = reply.expect("the server answers").success();
        let reply = reply.unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_slice(reply.body.expose()).unwrap_or_default()
    }

    /// Writes the row's policies and makes its caller.
    pub(super) async fn prepare(&self, row: &Row) {
        for (name, text) in &row.policies {
            self.write(&format!("sys/policies/acl/{name}"), &json!({ "policy": text })).await;
        }
        let token = self.make_caller(row).await;
        self.tokens.lock().unwrap().extend(token.map(|token| (row.name.clone(), token)));
    }

    async fn make_caller(&self, row: &Row) -> Option<String> {
        let policies: Vec<_> = row.policies.keys().cloned().collect();
        let token = async |mut body: Value| {
            body["policies"] = json!(policies);
            let reply = self.write("auth/token/create", &body).await;
            Some(reply["auth"]["client_token"].as_str().expect("a token").to_owned())
        };
        match row.caller.as_str() {
            "token" => token(json!({})).await,
            "none" => None,
            "login" => {
                self.make_role(row).await;
                None
            }
            "unknown" => Some("s.ABCDEFGHIJKLMNOPQRSTUVWX".to_owned()),
            "missing-policy" => {
                let body = json!({ "policies": [format!("{}-ghost", row.name)] });
                let reply = self.write("auth/token/create", &body).await;
                reply["auth"]["client_token"].as_str().map(str::to_owned)
            }
            "expired" => {
                let token = token(json!({ "ttl": "1s" })).await;
                tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
                token
            }
            "revoked" => {
                let token = token(json!({})).await?;
                self.write("auth/token/revoke", &json!({ "token": token })).await;
                Some(token)
            }
            "used-up" => {
                let token = token(json!({ "num_uses": 1 })).await?;
                let client = self.client(Some(&token), None);
                client.read("auth/token/lookup-self", &[]).await.expect("the one use");
                Some(token)
            }
            "elsewhere" => {
                let role = json!({
                    "allowed_policies": policies, "token_bound_cidrs": ["10.0.0.0/8"],
                });
                let path = format!("auth/token/roles/{}", row.name);
                self.write(&path, &role).await;
                let path = format!("auth/token/create/{}", row.name);
                let reply = self.write(&path, &json!({ "policies": policies })).await;
                reply["auth"]["client_token"].as_str().map(str::to_owned)
            }
            "approle" => {
                let role = format!("auth/approle/role/{}", row.name);
                self.write(&role, &json!({ "token_policies": policies })).await;
                let ids = self.root().read(&format!("{role}/role-id"), &[]).await.unwrap().unwrap();
                let secret = self.write(&format!("{role}/secret-id"), &json!({})).await;
                let body = json!({
                    "role_id": ids.data.unwrap()["role_id"],
                    "secret_id": secret["data"]["secret_id"],
                });
                let reply = self.write("auth/approle/login", &body).await;
                reply["auth"]["client_token"].as_str().map(str::to_owned)
            }
            other => panic!("{}: no caller {other}", row.name),
        }
    }

    /// The role that a login is refused by.
    async fn make_role(&self, row: &Row) {
        if row.parts().1 == "auth/jwt/login" {
            let role = json!({
                "role_type": "jwt", "user_claim": "sub", "bound_claims": { "team": "red" },
            });
            self.write(&format!("auth/jwt/role/{}", row.name), &role).await;
            return;
        }
        let role = format!("auth/approle/role/{}", row.name);
        let elsewhere = row.advice.contains(&"secret_id_bound_cidrs".to_owned());
        let cidrs = if elsewhere { json!(["10.0.0.0/8"]) } else { json!([]) };
        self.write(&role, &json!({ "secret_id_bound_cidrs": cidrs })).await;
        let id = json!({ "role_id": format!("{}-role-id", row.name) });
        self.write(&format!("{role}/role-id"), &id).await;
        let id = json!({ "secret_id": format!("{}-secret", row.name) });
        self.write(&format!("{role}/custom-secret-id"), &id).await;
    }

    /// Makes a row's request as the caller of `caller`'s row.
    pub(super) async fn send(&self, row: &Row, caller: &str) -> Answer {
        let token = self.tokens.lock().unwrap().get(caller).cloned();
        let (method, path, body) = row.parts();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut query: Vec<(&str, &str)> =
            query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let method = match method {
            "LIST" => {
                query.push(("list", "true"));
                Method::GET
            }
            other => other.parse().expect("a method"),
        };
        let client = self.client(token.as_deref(), row.wrap.as_deref());
        let reply = client.request(method, path, body.as_ref(), &query).await;
        let reply = reply.expect("the server answers");
        let id = reply.headers.get("x-holdfast-explain").map(|id| id.to_str().unwrap().to_owned());
        Answer { status: reply.status.as_u16(), explain_id: id }
    }

    /// What operators are told of a refusal.
    pub(super) async fn why(&self, id: &str) -> Value {
        let path = format!("sys/internal/explain/{id}");
        let reply = self.root().read(&path, &[]).await.expect("root may ask");
        Value::Object(reply.expect("it is kept").data.expect("it says something"))
    }

    /// Which of all requests the caller of one row may make.
    pub(super) async fn all(&self, caller: &str) -> BTreeMap<String, bool> {
        let mut allowed = BTreeMap::new();
        for row in &self.rows {
            // What is created by one request must not be there for the next.
            if row.fix.as_ref().is_some_and(|fix| fix.contains("create")) {
                let (_, path, _) = row.parts();
                let path = path.replace("kv/data/", "kv/metadata/");
                if !path.ends_with("/db") {
                    self.root().delete(&path).await.expect("root may delete");
                }
            }
            let answer = self.send(row, caller).await;
            let login = row.caller == "login";
            allowed.insert(row.name.clone(), !login && answer.status != 403);
        }
        allowed
    }

    /// Applies a proposed rule.
    pub(super) async fn apply(&self, row: &str, fix: &Value) -> Undo {
        let any = self.rows.iter().find(|found| found.name == row).expect("a row");
        let policy = match fix["policy"].as_str() {
            Some(policy) => policy.to_owned(),
            None => any.policies.keys().next().expect("a policy").clone(),
        };
        let path = format!("sys/policies/acl/{policy}");
        let found = self.root().read(&path, &[]).await.expect("root may read");
        let text = found.map(|reply| reply.data.unwrap()["policy"].as_str().unwrap().to_owned());
        let hcl = fix["hcl"].as_str().unwrap();
        let changed = match fix["kind"].as_str() {
            Some("add") => format!("{}\n{hcl}", text.as_deref().unwrap_or_default()),
            Some("change") => {
                let parsed = Policy::parse(&policy, text.as_ref().unwrap()).unwrap();
                let line = fix["line"].as_u64().unwrap();
                let replaced = RefCell::new(0);
                let rules = parsed.rules().iter().map(|rule| match u64::from(rule.line) == line {
                    true => {
                        *replaced.borrow_mut() += 1;
                        hcl.to_owned()
                    }
                    false => rule.to_hcl(),
                });
                let rules: String = rules.collect();
                assert_eq!(replaced.into_inner(), 1, "line {line} of {policy}");
                rules
            }
            other => panic!("{other:?} is no rule"),
        };
        self.write(&path, &json!({ "policy": changed })).await;
        Undo { policy, text }
    }
}

impl Undo {
    pub(super) async fn undo(self, world: &World) {
        let path = format!("sys/policies/acl/{}", self.policy);
        match self.text {
            Some(text) => _ = world.write(&path, &json!({ "policy": text })).await,
            None => _ = world.root().delete(&path).await.expect("root may delete"),
        }
    }
}

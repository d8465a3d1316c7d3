//! What an `OpenID` provider is configured with: `oidc/provider`, `scope`, `assignment`, `client`.
//!
//! The login flow itself (authorize, token, userinfo) is refused by name: people log in with the
//! platform's own provider, and this one is for tools that keep its configuration.

use std::time::Duration;

use holdfast_logical::{Error, Fields, Operation, Request, Response};
use holdfast_types::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::{ISSUER_IS_SET, check_issuer};
use super::key::{ALGORITHMS, DEFAULT};
use super::paths::raw;
use super::role::checked_template;
use super::{Oidc, template};
use crate::core::answer::Answer;
use crate::identity::entities::listed;

/// The assignment of everybody, which is always there.
const ALLOW_ALL: &str = "allow_all";
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Provider {
    issuer: String,
    allowed_client_ids: Vec<String>,
    scopes_supported: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Scope {
    template: String,
    description: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Assignment {
    entity_ids: Vec<String>,
    group_ids: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Client {
    redirect_uris: Vec<String>,
    assignments: Vec<String>,
    key: String,
    id_token_ttl: Duration,
    access_token_ttl: Duration,
    /// Public clients have no secret.
    public: bool,
    client_id: String,
    client_secret: SecretString,
}

/// Answers a request to `oidc/<kind>...`, where `kind` is one of the four.
///
/// # Errors
/// OpenBao's for each path.
pub(super) async fn handle(
    oidc: &Oidc,
    request: &Request,
    segments: &[&str],
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let fields = request.fields();
    let done = |()| Answer::none();
    match (segments, request.operation) {
        (["provider"], List) => oidc.list_providers().await,
        (["client"], List) => oidc.list_clients().await,
        (["scope"], List) => Ok(Response::list(oidc.names("scope").await?).into()),
        (["assignment"], List) => Ok(Response::list(oidc.names("assignment").await?).into()),
        (["provider" | "client" | "scope" | "assignment", _], List) => Err(Error::UnsupportedPath),
        (["provider", name], Read) => Ok(oidc.read_provider(name).await?.into()),
        (["provider", name], Create | Update) => oidc.write_provider(name, &fields).await,
        (["provider", name], Delete) => oidc.delete_provider(name).await.map(done),
        (["provider", name, ".well-known", "openid-configuration"], Read) => {
            Ok(oidc.provider_discovery(name).await?.map_or_else(Answer::none, |d| raw(&d)))
        }
        (["provider", name, ".well-known", "keys"], Read) => {
            Ok(oidc.provider_keys(name).await?.map_or_else(Answer::none, |keys| raw(&keys)))
        }
        (["provider", _, "authorize" | "token" | "userinfo"], _) => {
            Err(Error::invalid("logging in through this server's OIDC provider is not supported"))
        }
        (["scope", name], Read) => {
            let scope = oidc.get::<Scope>("scope", name).await?;
            let shown = |s: Scope| json!({ "template": s.template, "description": s.description });
            Ok(scope.map(|scope| Response::data(shown(scope))).into())
        }
        (["scope", name], Create | Update) => oidc.write_scope(name, &fields).await.map(done),
        (["scope", name], Delete) => oidc.delete_scope(name).await.map(done),
        (["assignment", name], Read) => {
            let found = oidc.assignment(name).await?;
            let shown =
                |a: Assignment| json!({ "entity_ids": a.entity_ids, "group_ids": a.group_ids });
            Ok(found.map(|found| Response::data(shown(found))).into())
        }
        (["assignment", name], Create | Update) => {
            oidc.write_assignment(name, &fields).await.map(done)
        }
        (["assignment", name], Delete) => oidc.delete_assignment(name).await.map(done),
        (["client", name], Read) => {
            let client = oidc.get::<Client>("client", name).await?;
            Ok(client.map(|client| Response::data(client.show(true))).into())
        }
        (["client", name], Create | Update) => oidc.write_client(name, &fields).await.map(done),
        (["client", name], Delete) => oidc.delete("client", name).await.map(done),
        (["provider" | "client" | "scope" | "assignment"], _)
        | (["provider" | "client" | "scope" | "assignment", _], _)
        | (["provider", _, ".well-known", "openid-configuration" | "keys"], _) => {
            Err(Error::UnsupportedOperation)
        }
        _ => Err(Error::UnsupportedPath),
    }
}

impl Client {
    fn show(&self, with_secret: bool) -> Value {
        let mut shown = json!({
            "access_token_ttl": self.access_token_ttl.as_secs(),
            "assignments": self.assignments,
            "authorization_code": true,
            "client_credentials": false,
            "client_id": self.client_id,
            "client_type": if self.public { "public" } else { "confidential" },
            "id_token_ttl": self.id_token_ttl.as_secs(),
            "key": self.key,
            "redirect_uris": self.redirect_uris,
        });
        if with_secret && !self.public {
            shown["client_secret"] = json!(self.client_secret.expose());
        }
        shown
    }
}

impl Oidc {
    async fn get<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Result<Option<T>, Error> {
        Ok(self.store.get_json(&format!("{kind}/{name}")).await?)
    }

    async fn put<T: Serialize>(&self, kind: &str, name: &str, value: &T) -> Result<(), Error> {
        Ok(self.store.put_json(&format!("{kind}/{name}"), value).await?)
    }

    async fn delete(&self, kind: &str, name: &str) -> Result<(), Error> {
        Ok(self.store.delete(&format!("{kind}/{name}")).await?)
    }

    /// All names of a kind, with the one that is always there.
    async fn names(&self, kind: &str) -> Result<Vec<String>, Error> {
        let mut names = self.store.list(&format!("{kind}/")).await?;
        let always = match kind {
            "provider" => Some(DEFAULT),
            "assignment" => Some(ALLOW_ALL),
            _ => None,
        };
        if let Some(always) = always.filter(|always| !names.iter().any(|name| name == always)) {
            names.push(always.to_owned());
            names.sort();
        }
        Ok(names)
    }

    async fn provider(&self, name: &str) -> Result<Option<Provider>, Error> {
        let default =
            || Provider { allowed_client_ids: vec!["*".to_owned()], ..Provider::default() };
        let stored = self.get("provider", name).await?;
        Ok(stored.or_else(|| (name == DEFAULT).then(default)))
    }

    fn show_provider(&self, name: &str, provider: &Provider) -> Value {
        json!({
            "allowed_client_ids": provider.allowed_client_ids,
            "issuer": format!("{}/v1/identity/oidc/provider/{name}", self.base_of(provider)),
            "scopes_supported": provider.scopes_supported,
        })
    }

    fn base_of(&self, provider: &Provider) -> String {
        match provider.issuer.as_str() {
            "" => self.api_addr.clone(),
            issuer => issuer.to_owned(),
        }
    }

    async fn read_provider(&self, name: &str) -> Result<Option<Response>, Error> {
        let Some(provider) = self.provider(name).await? else { return Ok(None) };
        Ok(Some(Response::data(self.show_provider(name, &provider))))
    }

    async fn list_providers(&self) -> Result<Answer, Error> {
        let names = self.names("provider").await?;
        let mut info = Map::new();
        for name in &names {
            if let Some(provider) = self.provider(name).await? {
                info.insert(name.clone(), self.show_provider(name, &provider));
            }
        }
        Ok(listed(names, info))
    }

    async fn write_provider(&self, name: &str, fields: &Fields<'_>) -> Result<Answer, Error> {
        let _change = self.change.lock().await;
        let mut provider = self.provider(name).await?.unwrap_or_default();
        if let Some(issuer) = fields.string("issuer")? {
            check_issuer(&issuer)?;
            provider.issuer = issuer;
        }
        if let Some(ids) = fields.strings("allowed_client_ids")? {
            provider.allowed_client_ids = ids;
        }
        if let Some(scopes) = fields.strings("scopes_supported")? {
            provider.scopes_supported = scopes;
        }
        let mut claims: Vec<String> = Vec::new();
        for scope in &provider.scopes_supported {
            let found = self.get::<Scope>("scope", scope).await?;
            let found =
                found.ok_or_else(|| Error::invalid(format!("scope {scope:?} does not exist")))?;
            for claim in claims_of(&found) {
                if claims.contains(&claim) {
                    return Err(Error::invalid(format!(
                        "found scopes with conflicting top-level keys: conflict {claim:?} in \
                         scopes {:?}",
                        provider.scopes_supported
                    )));
                }
                claims.push(claim);
            }
        }
        self.put("provider", name, &provider).await?;
        Ok(match provider.issuer.is_empty() {
            true => Answer::none(),
            false => Response::default().warn(ISSUER_IS_SET).into(),
        })
    }

    async fn delete_provider(&self, name: &str) -> Result<(), Error> {
        if name == DEFAULT {
            return Err(Error::invalid(format!(
                "deletion of OIDC provider {DEFAULT:?} not allowed"
            )));
        }
        self.delete("provider", name).await
    }

    async fn provider_discovery(&self, name: &str) -> Result<Option<Value>, Error> {
        let Some(provider) = self.provider(name).await? else { return Ok(None) };
        let base = self.base_of(&provider);
        let path = format!("identity/oidc/provider/{name}");
        let issuer = format!("{base}/v1/{path}");
        let mut scopes = provider.scopes_supported;
        scopes.push("openid".to_owned());
        Ok(Some(json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/.well-known/keys"),
            "authorization_endpoint": format!("{base}/ui/vault/{path}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "id_token_signing_alg_values_supported": ALGORITHMS,
            "response_types_supported": ["code"],
            "scopes_supported": scopes,
            "claims_supported": [],
            "subject_types_supported": ["public"],
            "grant_types_supported": ["authorization_code"],
            "token_endpoint_auth_methods_supported":
                ["none", "client_secret_basic", "client_secret_post"],
        })))
    }

    /// The keys of the clients that a provider allows. No flow issues tokens with them yet, so that
    /// nothing is kept in memory for this.
    async fn provider_keys(&self, name: &str) -> Result<Option<Value>, Error> {
        let Some(provider) = self.provider(name).await? else { return Ok(None) };
        let now = self.clock.now();
        let mut names = std::collections::BTreeSet::new();
        for client in self.names("client").await? {
            let Some(client) = self.get::<Client>("client", &client).await? else { continue };
            let mut allowed = provider.allowed_client_ids.iter();
            if allowed.any(|id| id == "*" || *id == client.client_id) {
                names.insert(client.key);
            }
        }
        let mut keys = Vec::new();
        for name in names {
            let Some(key) = self.key(&name).await? else { continue };
            keys.extend(key.current.into_iter().chain(key.next).map(|half| half.jwk));
            keys.extend(key.retired.into_iter().filter(|old| old.until > now).map(|old| old.jwk));
        }
        Ok(Some(json!({ "keys": keys })))
    }

    async fn write_scope(&self, name: &str, fields: &Fields<'_>) -> Result<(), Error> {
        if name == "openid" {
            return Err(Error::invalid("the \"openid\" scope name is reserved"));
        }
        let _change = self.change.lock().await;
        let mut scope = self.get::<Scope>("scope", name).await?.unwrap_or_default();
        if let Some(text) = fields.string("template")? {
            scope.template = checked_template(text)?;
        }
        scope.description = fields.string("description")?.unwrap_or(scope.description);
        self.put("scope", name, &scope).await
    }

    async fn delete_scope(&self, name: &str) -> Result<(), Error> {
        let _change = self.change.lock().await;
        let mut users = Vec::new();
        for provider in self.names("provider").await? {
            let found = self.provider(&provider).await?;
            if found.is_some_and(|found| found.scopes_supported.iter().any(|own| own == name)) {
                users.push(provider);
            }
        }
        refuse_used("scope", name, "providers", &users)?;
        self.delete("scope", name).await
    }

    async fn assignment(&self, name: &str) -> Result<Option<Assignment>, Error> {
        let all = || vec!["*".to_owned()];
        match name {
            ALLOW_ALL => Ok(Some(Assignment { entity_ids: all(), group_ids: all() })),
            name => self.get("assignment", name).await,
        }
    }

    async fn write_assignment(&self, name: &str, fields: &Fields<'_>) -> Result<(), Error> {
        if name == ALLOW_ALL {
            return Err(Error::invalid(format!(
                "modification of assignment {ALLOW_ALL:?} not allowed"
            )));
        }
        let _change = self.change.lock().await;
        let mut assignment = self.assignment(name).await?.unwrap_or_default();
        assignment.entity_ids = fields.strings("entity_ids")?.unwrap_or(assignment.entity_ids);
        assignment.group_ids = fields.strings("group_ids")?.unwrap_or(assignment.group_ids);
        self.put("assignment", name, &assignment).await
    }

    async fn delete_assignment(&self, name: &str) -> Result<(), Error> {
        if name == ALLOW_ALL {
            return Err(Error::invalid(format!(
                "deletion of assignment {ALLOW_ALL:?} not allowed"
            )));
        }
        let _change = self.change.lock().await;
        let mut users = Vec::new();
        for client in self.names("client").await? {
            let found = self.get::<Client>("client", &client).await?;
            if found.is_some_and(|found| found.assignments.iter().any(|own| own == name)) {
                users.push(client);
            }
        }
        refuse_used("assignment", name, "clients", &users)?;
        self.delete("assignment", name).await
    }

    async fn list_clients(&self) -> Result<Answer, Error> {
        let names = self.names("client").await?;
        let mut info = Map::new();
        for name in &names {
            if let Some(client) = self.get::<Client>("client", name).await? {
                info.insert(name.clone(), client.show(false));
            }
        }
        Ok(listed(names, info))
    }

    async fn write_client(&self, name: &str, fields: &Fields<'_>) -> Result<(), Error> {
        let _change = self.change.lock().await;
        let old = self.get::<Client>("client", name).await?;
        let is_new = old.is_none();
        let mut client = old.unwrap_or_else(|| Client {
            redirect_uris: Vec::new(),
            assignments: Vec::new(),
            key: DEFAULT.to_owned(),
            id_token_ttl: DAY,
            access_token_ttl: DAY,
            public: false,
            client_id: self.random.base62(32),
            client_secret: SecretString::new(format!("hvo_secret_{}", self.random.base62(64))),
        });
        client.redirect_uris = fields.strings("redirect_uris")?.unwrap_or(client.redirect_uris);
        if let Some(assignments) = fields.strings("assignments")? {
            for assignment in &assignments {
                if self.assignment(assignment).await?.is_none() {
                    return Err(Error::invalid(format!(
                        "assignment {assignment:?} does not exist"
                    )));
                }
            }
            client.assignments = assignments;
        }
        if let Some(key) = fields.string("key")? {
            if !is_new && key != client.key {
                return Err(Error::invalid("key modification is not allowed"));
            }
            client.key = key;
        }
        let key = self.key(&client.key).await?;
        let key =
            key.ok_or_else(|| Error::invalid(format!("key {:?} does not exist", client.key)))?;
        client.id_token_ttl = fields.duration("id_token_ttl")?.unwrap_or(client.id_token_ttl);
        if client.id_token_ttl > key.verification_ttl {
            return Err(Error::invalid(
                "a client's id_token_ttl cannot be greater than the verification_ttl of the key \
                 it references",
            ));
        }
        let ttl = fields.duration("access_token_ttl")?;
        client.access_token_ttl = ttl.unwrap_or(client.access_token_ttl);
        if let Some(kind) = fields.string("client_type")? {
            let public = match kind.as_str() {
                "public" => true,
                "confidential" => false,
                _ => return Err(Error::invalid(format!("invalid client_type {kind:?}"))),
            };
            if !is_new && public != client.public {
                return Err(Error::invalid("client_type modification is not allowed"));
            }
            client.public = public;
        }
        if client.key == DEFAULT {
            self.ready_default().await?;
        }
        self.put("client", name, &client).await
    }

    /// The clients that use a key. Looks at all clients: for changes of keys alone.
    pub(super) async fn clients_of(&self, key: &str) -> Result<Vec<(String, Duration)>, Error> {
        let mut clients = Vec::new();
        for name in self.names("client").await? {
            let client = self.get::<Client>("client", &name).await?;
            let client = client.filter(|client| client.key == key);
            clients.extend(client.map(|client| (name, client.id_token_ttl)));
        }
        Ok(clients)
    }
}

/// The claims that a scope's template makes.
fn claims_of(scope: &Scope) -> Vec<String> {
    let filled = template::fill(&scope.template, &crate::identity::who::nobody(), None);
    let claims = filled.ok().and_then(|filled| template::claims(&filled).ok());
    claims.map(|claims| claims.keys().cloned().collect()).unwrap_or_default()
}

/// Refuses to remove what others refer to.
fn refuse_used(kind: &str, name: &str, by: &str, users: &[String]) -> Result<(), Error> {
    if users.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "unable to delete {kind} {name:?} because it is currently referenced by these {by}: {}",
        users.join(", ")
    )))
}

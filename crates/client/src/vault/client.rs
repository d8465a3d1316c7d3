//! The client itself: any path, any method.

use std::fmt;
use std::sync::Arc;

use holdfast_types::SecretString;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::transport::{Outgoing, Response, Transport};
use super::{Address, Auth, ConfigError, Rehearsal, Reply, VaultConfig, VaultError};

/// A client of one server. Cheap to clone; clones share their connections.
///
/// Paths are those of the API without `/v1/`: `kv/data/app`, `sys/mounts`.
#[derive(Clone)]
pub struct VaultClient {
    transport: Arc<Transport>,
    token: Option<SecretString>,
    namespace: Option<String>,
    wrap_ttl: Option<String>,
    rehearsal: Option<Rehearsal>,
}

impl VaultClient {
    /// A client as `config` describes it. Nothing is sent yet.
    ///
    /// # Errors
    /// Certificates that cannot be read or used, header fields that cannot be sent.
    pub fn new(config: &VaultConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            transport: Arc::new(Transport::new(config)?),
            token: config.token.clone(),
            namespace: config.namespace.clone(),
            wrap_ttl: config.wrap_ttl.clone(),
            rehearsal: None,
        })
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.transport.address
    }

    /// The token that requests carry.
    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// The namespace that requests name.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The same client with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<SecretString>) -> Self {
        Self { token, ..self.clone() }
    }

    /// The same client in another namespace.
    #[must_use]
    pub fn with_namespace(&self, namespace: Option<String>) -> Self {
        Self { namespace, ..self.clone() }
    }

    /// The same client, whose answers come wrapped for `ttl`, such as `5m`.
    #[must_use]
    pub fn with_wrap_ttl(&self, ttl: Option<String>) -> Self {
        Self { wrap_ttl: ttl, ..self.clone() }
    }

    /// The same client, whose requests are shown to `rehearsal` and not sent; with `None` one that
    /// sends them.
    #[must_use]
    pub fn with_rehearsal(&self, rehearsal: Option<Rehearsal>) -> Self {
        Self { rehearsal, ..self.clone() }
    }

    /// Sends a request and gives the answer, whatever its status. A body is JSON; with
    /// [`Method::PATCH`] it is a merge patch.
    ///
    /// # Errors
    /// No answer came, or one too large; a path, token or namespace that cannot be sent;
    /// [`VaultError::Rehearsed`] of a client [`with_rehearsal`](Self::with_rehearsal).
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        query: &[(&str, &str)],
    ) -> Result<Response, VaultError> {
        let outgoing = self.outgoing(method, path, body, query);
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.show(&self.transport, &outgoing)?;
            return Err(VaultError::Rehearsed);
        }
        self.transport.send(&outgoing).await
    }

    /// Shows a request that is sent by other means than [`Self::request`], to the rehearsal of this
    /// client. Without one it does nothing.
    pub(super) fn rehearse(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(), VaultError> {
        let Some(rehearsal) = &self.rehearsal else { return Ok(()) };
        rehearsal.show(&self.transport, &self.outgoing(method, path, None, query))?;
        Err(VaultError::Rehearsed)
    }

    fn outgoing<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        body: Option<&'a Value>,
        query: &'a [(&'a str, &'a str)],
    ) -> Outgoing<'a> {
        Outgoing {
            method,
            path,
            query,
            body,
            token: self.token.as_ref(),
            namespace: self.namespace.as_deref(),
            wrap_ttl: self.wrap_ttl.as_deref(),
        }
    }

    /// Reads `path`. `None` when nothing is there; a 404 that carries data (a deleted version) or
    /// warnings counts as an answer, as in the official client.
    ///
    /// # Errors
    /// Every refusal but 404.
    pub async fn read(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Reply>, VaultError> {
        found(self.request(Method::GET, path, None, query).await?)
    }

    /// The names below `path`, folders with a trailing `/`. Empty when nothing is there.
    ///
    /// # Errors
    /// Every refusal but 404.
    pub async fn list(&self, path: &str) -> Result<Vec<String>, VaultError> {
        let reply = found(self.request(Method::GET, path, None, &[("list", "true")]).await?)?;
        let mut data = reply.and_then(|reply| reply.data).unwrap_or_default();
        let keys = data.remove("keys").unwrap_or_default();
        Ok(keys
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(String::from)
            .collect())
    }

    /// Writes `body` to `path`. Where the server has nothing to say the reply is empty.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn write(&self, path: &str, body: &Value) -> Result<Reply, VaultError> {
        self.request(Method::PUT, path, Some(body), &[]).await?.success()?.reply()
    }

    /// Changes what `path` holds by a merge patch (RFC 7386).
    ///
    /// # Errors
    /// Every refusal.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Reply, VaultError> {
        self.request(Method::PATCH, path, Some(patch), &[]).await?.success()?.reply()
    }

    /// Deletes `path`. Most paths answer the same whether or not anything was there.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn delete(&self, path: &str) -> Result<Reply, VaultError> {
        self.request(Method::DELETE, path, None, &[]).await?.success()?.reply()
    }

    /// Logs in at `path`, such as `auth/jwt/login`. The token of this client is not sent.
    ///
    /// # Errors
    /// Every refusal; [`VaultError::Malformed`] when the answer holds no token.
    pub async fn login(&self, path: &str, body: &Value) -> Result<Auth, VaultError> {
        let reply = self.with_token(None).write(path, body).await?;
        reply.auth.ok_or_else(|| VaultError::Malformed {
            request: format!("PUT {path}"),
            problem: "it holds no token".into(),
        })
    }

    /// Logs in with a JWT at the method mounted at `auth/<mount>`.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn login_jwt(
        &self,
        mount: &str,
        role: &str,
        jwt: &SecretString,
    ) -> Result<Auth, VaultError> {
        let body = json!({ "role": role, "jwt": jwt.expose() });
        self.login(&format!("auth/{mount}/login"), &body).await
    }

    /// Logs in as a role of the AppRole method mounted at `auth/<mount>`.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn login_approle(
        &self,
        mount: &str,
        role_id: &str,
        secret_id: Option<&SecretString>,
    ) -> Result<Auth, VaultError> {
        let mut body = json!({ "role_id": role_id });
        if let Some(secret_id) = secret_id {
            body["secret_id"] = secret_id.expose().as_str().into();
        }
        self.login(&format!("auth/{mount}/login"), &body).await
    }

    /// What the server knows about this client's token.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn token_lookup_self(&self) -> Result<Map<String, Value>, VaultError> {
        let path = "auth/token/lookup-self";
        let response = self.request(Method::GET, path, None, &[]).await?.success()?;
        Ok(response.reply()?.data.unwrap_or_default())
    }

    /// Renews this client's token, by `increment` seconds where that is given.
    ///
    /// # Errors
    /// Every refusal; [`VaultError::Malformed`] when the answer holds no token.
    pub async fn token_renew_self(&self, increment: Option<u64>) -> Result<Auth, VaultError> {
        let path = "auth/token/renew-self";
        let body = increment.map_or_else(|| json!({}), |seconds| json!({ "increment": seconds }));
        self.write(path, &body).await?.auth.ok_or_else(|| VaultError::Malformed {
            request: format!("PUT {path}"),
            problem: "it holds no token".into(),
        })
    }

    /// Revokes this client's token with everything that hangs on it.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn token_revoke_self(&self) -> Result<(), VaultError> {
        self.write("auth/token/revoke-self", &json!({})).await.map(drop)
    }

    /// What a wrapping token stands for. It is good for one use.
    ///
    /// # Errors
    /// Every refusal, a used or unknown token among them (400).
    pub async fn unwrap(&self, token: &SecretString) -> Result<Reply, VaultError> {
        let client = self.with_token(Some(token.clone())).with_wrap_ttl(None);
        client.write("sys/wrapping/unwrap", &json!({})).await
    }
}

impl fmt::Debug for VaultClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultClient")
            .field("address", &self.transport.address)
            .field("token", &self.token)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// A reply, or nothing where nothing was found.
fn found(response: Response) -> Result<Option<Reply>, VaultError> {
    if response.status == StatusCode::NOT_FOUND {
        let reply = response.reply().unwrap_or_default();
        let says = reply.data.is_some() || !reply.warnings.is_empty();
        return Ok(says.then_some(reply));
    }
    response.success()?.reply().map(Some)
}

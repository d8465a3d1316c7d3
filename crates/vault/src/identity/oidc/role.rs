//! `oidc/role/<name>`: for whom tokens are issued, with which key and which claims.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_logical::{Error, Fields, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::key::DEFAULT;
use super::{Oidc, template};
use crate::identity::who::nobody;

const TTL: Duration = Duration::from_secs(24 * 3600);

/// A role as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct OidcRole {
    pub(super) key: String,
    /// JSON with templates, whose members become claims.
    pub(super) template: String,
    pub(super) ttl: Duration,
    /// The `aud` of its tokens.
    pub(super) client_id: String,
}

impl Oidc {
    pub(super) async fn role(&self, name: &str) -> Result<Option<OidcRole>, Error> {
        Ok(self.store.get_json(&format!("role/{name}")).await?)
    }

    /// The roles that use a key. Looks at all roles: for changes of keys alone.
    pub(super) async fn roles_of(&self, key: &str) -> Result<Vec<(String, OidcRole)>, Error> {
        let mut roles = Vec::new();
        for name in self.store.list("role/").await? {
            let role = self.role(&name).await?.filter(|role| role.key == key);
            roles.extend(role.map(|role| (name, role)));
        }
        Ok(roles)
    }

    pub(super) async fn read_role(&self, name: &str) -> Result<Option<Response>, Error> {
        Ok(self.role(name).await?.map(|role| {
            Response::data(json!({
                "client_id": role.client_id,
                "key": role.key,
                "template": role.template,
                "ttl": role.ttl.as_secs(),
            }))
        }))
    }

    pub(super) async fn write_role(&self, name: &str, fields: &Fields<'_>) -> Result<(), Error> {
        let _change = self.change.lock().await;
        let mut role = self.role(name).await?.unwrap_or_else(|| OidcRole {
            key: String::new(),
            template: String::new(),
            ttl: TTL,
            client_id: String::new(),
        });
        role.key = fields.string("key")?.unwrap_or(role.key);
        if role.key.is_empty() {
            return Err(Error::invalid("the key parameter is required"));
        }
        if let Some(text) = fields.string("template")? {
            role.template = checked_template(text)?;
        }
        role.ttl = fields.duration("ttl")?.unwrap_or(role.ttl);
        let key = self.key(&role.key).await?;
        let key = key.ok_or_else(|| Error::invalid(format!("cannot find key {:?}", role.key)))?;
        if role.ttl > key.verification_ttl {
            return Err(Error::invalid(
                "a role's token ttl cannot be longer than the verification_ttl of the key it \
                 references",
            ));
        }
        role.client_id = fields.string("client_id")?.unwrap_or(role.client_id);
        if role.client_id.is_empty() {
            role.client_id = self.random.base62(26);
        }
        if role.key == DEFAULT {
            self.ready_default().await?;
        }
        let done = self.store.put_json(&format!("role/{name}"), &role).await;
        self.published.store(None);
        Ok(done?)
    }

    pub(super) async fn delete_role(&self, name: &str) -> Result<(), Error> {
        let _change = self.change.lock().await;
        let done = self.store.delete(&format!("role/{name}")).await;
        self.published.store(None);
        Ok(done?)
    }
}

/// A template that makes an object of claims; it may come in base64.
///
/// # Errors
/// 400 in OpenBao's words.
pub(super) fn checked_template(text: String) -> Result<String, Error> {
    let decoded = STANDARD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = decoded.unwrap_or(text);
    if text.is_empty() {
        return Ok(text);
    }
    let filled = template::fill(&text, &nobody(), None)
        .map_err(|why| Error::invalid(format!("error parsing template: {why}")))?;
    let claims = template::claims(&filled)
        .map_err(|why| Error::invalid(format!("error parsing template JSON: {why}")))?;
    match claims.keys().find(|name| template::RESERVED.contains(&name.as_str())) {
        Some(name) => Err(Error::invalid(format!(
            "top level key {name:?} not allowed. Restricted keys: {}",
            template::RESERVED.join(", ")
        ))),
        None => Ok(text),
    }
}

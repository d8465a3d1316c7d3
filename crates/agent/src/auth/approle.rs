//! Logging in with a role id and a secret id.

use holdfast_client::vault::{Method as Verb, VaultClient, VaultError};
use holdfast_types::SecretString;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::kept::Kept;
use super::source::{self, Source};
use super::{LoginError, nothing, remove};
use crate::chain;
use crate::config::{AgentConfig, AppRole, MethodConfig};

/// The credential of an AppRole.
pub(super) struct AppRoleLogin {
    config: AppRole,
    role_id: Source,
    secret_id: Option<SecretString>,
    /// Where a secret id is kept that came wrapped.
    kept: Option<Kept>,
}

impl AppRoleLogin {
    pub(super) fn new(config: AppRole, method: &MethodConfig, agent: &AgentConfig) -> Self {
        let role_id = Source::new(config.role_id_file.clone());
        let kept = match &config.wrapping_path {
            Some(_) => Kept::open(agent, method, &config.role_id_file),
            None => None,
        };
        Self { config, role_id, secret_id: None, kept }
    }

    /// The body of the login.
    pub(super) async fn credential(&mut self, client: &VaultClient) -> Result<Value, LoginError> {
        let role_id = self.role_id.read()?;
        let Some(path) = self.config.secret_id_file.clone() else {
            return Ok(json!({ "role_id": role_id.expose() }));
        };
        let found = source::read(&path);
        let found = found.map_err(|source| LoginError::Read { path: path.clone(), source });
        match found {
            Ok(Some(text)) => match self.take(client, text).await {
                Ok(secret_id) => {
                    self.secret_id = Some(secret_id);
                    if self.config.remove_secret_id_file {
                        remove(&path, true);
                    }
                }
                Err(LoginError::WrappedElsewhere { expected, found }) => {
                    error!(expected, found, "SECURITY: the wrapping token was made elsewhere");
                    return Err(LoginError::WrappedElsewhere { expected, found });
                }
                Err(error) => self.fall_back(error)?,
            },
            Ok(None) => {
                let text = format!("no secret id: {} is missing or empty", path.display());
                self.fall_back(LoginError::Credential(text))?;
            }
            Err(error) => self.fall_back(error)?,
        }
        let secret_id = self.secret_id.clone().unwrap_or_default();
        Ok(json!({ "role_id": role_id.expose(), "secret_id": secret_id.expose() }))
    }

    /// The secret id that the text of its file stands for.
    async fn take(
        &mut self,
        client: &VaultClient,
        text: SecretString,
    ) -> Result<SecretString, LoginError> {
        let Some(expected) = &self.config.wrapping_path else { return Ok(text) };
        if let Some(kept) = self.kept.as_ref().and_then(|kept| kept.of(&text)) {
            return Ok(kept);
        }
        let secret_id = unwrap(client, &text, expected).await?;
        // Before the file is removed: whatever ends this process now, one of the two is there.
        match &self.kept {
            Some(kept) => kept.keep(&text, &secret_id),
            None => warn!("the secret id is not kept: a restart needs another wrapping token"),
        }
        Ok(secret_id)
    }

    /// Uses what was read before, or what an earlier process kept; else `error` it is.
    fn fall_back(&mut self, error: LoginError) -> Result<(), LoginError> {
        if self.secret_id.is_none()
            && let Some(kept) = self.kept.as_ref().and_then(Kept::any)
        {
            info!("using the secret id that was kept");
            self.secret_id = Some(kept);
        }
        match &self.secret_id {
            Some(_) => {
                if !matches!(error, LoginError::Credential(_)) {
                    warn!(error = %chain(&error), "using the secret id that was read before");
                }
                Ok(())
            }
            None => Err(error),
        }
    }

    /// The login failed. Where that is the secret id's fault, what was kept is good for nothing; a
    /// mount that is not there yet is no reason to throw it away.
    pub(super) fn refused(&mut self, error: &VaultError) {
        // The wording is OpenBao's, and Vault's.
        let invalid = error.failure().is_some_and(|failure| {
            let says = |text: &String| text.contains("invalid role or secret ID");
            failure.status == 400 && failure.errors.iter().any(says)
        });
        if invalid && self.config.wrapping_path.is_some() && self.secret_id.take().is_some() {
            info!("the secret id was refused; forgetting it");
            if let Some(kept) = &self.kept {
                kept.forget();
            }
        }
    }
}

/// The secret id inside a wrapping token, which has to be made at `expected`.
async fn unwrap(
    client: &VaultClient,
    token: &SecretString,
    expected: &str,
) -> Result<SecretString, LoginError> {
    let path = "sys/wrapping/lookup";
    let wrapped = client.with_token(Some(token.clone())).with_wrap_ttl(None);
    let reply = wrapped.request(Verb::GET, path, None, &[]).await?.success()?.reply()?;
    let data = reply.data.unwrap_or_default();
    let found = data.get("creation_path").and_then(Value::as_str).unwrap_or_default();
    if found != expected {
        let (expected, found) = (expected.to_owned(), found.to_owned());
        return Err(LoginError::WrappedElsewhere { expected, found });
    }
    let reply = client.unwrap(token).await?;
    let data = reply.data.unwrap_or_default();
    let secret_id = data.get("secret_id").and_then(Value::as_str);
    let secret_id = secret_id.ok_or_else(|| nothing("sys/wrapping/unwrap", "secret_id"))?;
    Ok(SecretString::from(secret_id))
}

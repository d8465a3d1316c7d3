//! Logging in to the secrets server with an SVID, fetched anew for each login.

use async_trait::async_trait;
use holdfast_types::SecretBytes;
use serde_json::json;

use super::Workload;
use crate::postgres::{Login, LoginError};
use crate::vault::{Auth, Trust, VaultClient, VaultConfig};

/// Logs in with what the agent says of this process: nothing is kept in files, and nothing that
/// was fetched once is used again after it ended.
pub struct SvidLogin {
    workload: Workload,
    mount: String,
    role: Option<String>,
    by: By,
}

enum By {
    /// A JWT-SVID for this audience.
    Token { audience: String },
    /// The X.509-SVID, on a connection of its own; the method calls its role so.
    Certificate { config: Box<VaultConfig>, role_field: &'static str },
}

impl SvidLogin {
    /// With a JWT-SVID for `audience`, as `role` of the `jwt` or the `spiffe` method mounted at
    /// `auth/<mount>`.
    pub fn jwt(
        workload: Workload,
        mount: impl Into<String>,
        role: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        let by = By::Token { audience: audience.into() };
        Self { workload, mount: mount.into(), role: Some(role.into()), by }
    }

    /// With the X.509-SVID, as `role` of the `spiffe` method mounted at `auth/<mount>` of the
    /// server that `config` describes. Where `config` trusts by [`Trust::Tls`], that configuration
    /// shows the certificate: make it by [`Workload::client_tls`].
    pub fn spiffe(
        workload: Workload,
        mount: impl Into<String>,
        role: impl Into<String>,
        config: VaultConfig,
    ) -> Self {
        let by = By::Certificate { config: Box::new(config), role_field: "role" };
        Self { workload, mount: mount.into(), role: Some(role.into()), by }
    }

    /// With the X.509-SVID, at the `cert` method; the rest is as in [`spiffe`](Self::spiffe).
    /// Without a role, the server takes the first that matches the certificate.
    pub fn cert(
        workload: Workload,
        mount: impl Into<String>,
        role: Option<String>,
        config: VaultConfig,
    ) -> Self {
        let by = By::Certificate { config: Box::new(config), role_field: "name" };
        Self { workload, mount: mount.into(), role, by }
    }
}

#[async_trait]
impl Login for SvidLogin {
    async fn log_in(&self, vault: &VaultClient) -> Result<Auth, LoginError> {
        let fetched = |error| LoginError::Secret(Box::new(error));
        match &self.by {
            By::Token { audience } => {
                let token = self.workload.token(audience).await.map_err(fetched)?;
                let role = self.role.as_deref().unwrap_or_default();
                Ok(vault.login_jwt(&self.mount, role, &token).await?)
            }
            By::Certificate { config, role_field } => {
                let mut config = (**config).clone();
                // What has ended is not shown: the server's word for it would only be "denied".
                let svid = self.workload.svid().map_err(fetched)?;
                if !matches!(config.trust, Trust::Tls(_)) {
                    let pem = svid.to_pem();
                    config.identity = Some(SecretBytes::new(pem.expose().clone().into_bytes()));
                }
                // Of its own: an open connection would still show the certificate of its handshake.
                let client =
                    VaultClient::new(&config)?.with_namespace(vault.namespace().map(str::to_owned));
                let mut body = json!({});
                if let Some(role) = &self.role {
                    body[role_field] = role.as_str().into();
                }
                Ok(client.login(&format!("auth/{}/login", self.mount), &body).await?)
            }
        }
    }
}

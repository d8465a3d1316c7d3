//! The supervisor's own way into the secrets server: a key that it holds sealed, and a role that
//! trusts the key. Its tokens live five minutes and may do everything; each use is audited.

use std::time::Duration;

use holdfast_client::vault::{Auth, VaultClient, VaultError};

use super::seal::SealKey;
use super::signing::SigningKey;
use super::state::State;

/// Where its login method is mounted: `auth/holdfast-supervisor`.
pub(crate) const MOUNT: &str = "holdfast-supervisor";
/// The method's only role.
pub(crate) const ROLE: &str = "supervisor";
/// What the role grants: everything.
pub(crate) const POLICY: &str = "holdfast-supervisor";
/// Whom its tokens are made for, so that they are good nowhere else.
pub(crate) const AUDIENCE: &str = "holdfast-vault";
/// The life of its tokens.
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(300);

/// The life of a login. Long enough for a slow start, too short to be worth stealing.
const JWT_TTL: Duration = Duration::from_secs(60);

/// The supervisor's key.
pub(crate) struct Identity(SigningKey);

impl Identity {
    /// Opens the key, or makes it at the first start.
    pub(crate) fn load(state: &State, seal: &SealKey) -> anyhow::Result<Self> {
        Ok(Self(SigningKey::load(state, seal, "supervisor")?))
    }

    /// What the role is to trust, as PEM.
    pub(crate) fn public_pem(&self) -> &str {
        self.0.public_pem()
    }

    /// Logs in at `vault`; the token is good for [`TOKEN_TTL`].
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub(crate) async fn login(&self, vault: &VaultClient) -> Result<Auth, LoginError> {
        let jwt = self.0.sign(ROLE, AUDIENCE, JWT_TTL).map_err(LoginError::Sign)?;
        vault.login_jwt(MOUNT, ROLE, &jwt).await.map_err(LoginError::Vault)
    }
}

/// Why the supervisor got no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The key would not sign.
    #[error("sign a login")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The server said no, or nothing.
    #[error("log in to the secrets server as the supervisor")]
    Vault(#[source] VaultError),
}

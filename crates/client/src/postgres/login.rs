//! Logging in to the secrets server, anew for each credential.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use holdfast_types::{SecretBytes, SecretString};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::vault::{Auth, ConfigError, VaultClient, VaultConfig, VaultError};

/// Gets a token from the secrets server.
///
/// A lease ends with the token that made it. So each credential has a login of its own, and a token
/// that outlives the lease: with one that does not, the pool takes the token's end for the
/// credential's, and rotates sooner.
#[async_trait]
pub trait Login: Send + Sync + 'static {
    /// Logs in. What is proven, such as a JWT, is fetched anew each time: what was fetched once
    /// ends some day.
    ///
    /// # Errors
    /// No proof, or the server refuses, or does not answer.
    async fn log_in(&self, vault: &VaultClient) -> Result<Auth, LoginError>;
}

/// Why a login failed. No secret is part of it.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is nothing to log in with.
    #[error("fetch what to log in with")]
    Secret(#[source] Box<dyn StdError + Send + Sync>),
    /// The client certificate cannot be used.
    #[error("set up a client with the certificate")]
    Certificate(#[from] ConfigError),
    /// The server refused, or did not answer.
    #[error("ask the secrets server for a token")]
    Vault(#[from] VaultError),
}

/// Where a secret comes from that can change: a file, a Workload API.
#[async_trait]
pub trait SecretSource: Send + Sync + 'static {
    /// The secret as it is now.
    ///
    /// # Errors
    /// Why there is none, without any part of it.
    async fn secret(&self) -> Result<SecretString, Box<dyn StdError + Send + Sync>>;
}

/// One that does not change.
#[async_trait]
impl SecretSource for SecretString {
    async fn secret(&self) -> Result<SecretString, Box<dyn StdError + Send + Sync>> {
        Ok(self.clone())
    }
}

/// The text of a file, read anew each time, without white space at its ends.
#[derive(Debug, Clone)]
pub struct SecretFile(pub PathBuf);

/// A certificate chain and its key, both PEM, in two files that are read anew each time.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    /// The client's certificate, and the intermediates above it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Logs in as a role of the `AppRole` method.
pub struct AppRoleLogin {
    mount: String,
    role_id: String,
    secret_id: Option<Box<dyn SecretSource>>,
}

/// Logs in as a role of the JWT method, with a JWT that its source makes or reads anew each time.
pub struct JwtLogin {
    mount: String,
    role: String,
    jwt: Box<dyn SecretSource>,
}

/// Logs in with a client certificate, over a connection of its own.
pub struct CertificateLogin {
    mount: String,
    role: Option<String>,
    config: VaultConfig,
    identity: Box<dyn SecretSource>,
}

impl AppRoleLogin {
    /// At the method mounted at `auth/<mount>`. A secret id that can be used a few times only does
    /// not last: each rotation is a login.
    pub fn new(mount: impl Into<String>, role_id: impl Into<String>) -> Self {
        Self { mount: mount.into(), role_id: role_id.into(), secret_id: None }
    }

    /// With a secret id.
    #[must_use]
    pub fn secret_id(self, secret_id: impl SecretSource) -> Self {
        Self { secret_id: Some(Box::new(secret_id)), ..self }
    }
}

impl JwtLogin {
    /// At the method mounted at `auth/<mount>`, as `role`.
    pub fn new(mount: impl Into<String>, role: impl Into<String>, jwt: impl SecretSource) -> Self {
        Self { mount: mount.into(), role: role.into(), jwt: Box::new(jwt) }
    }
}

impl CertificateLogin {
    /// At the method mounted at `auth/<mount>` of the server that `config` describes; `identity`
    /// gives a certificate chain followed by its key, both PEM.
    pub fn new(mount: impl Into<String>, config: VaultConfig, identity: impl SecretSource) -> Self {
        let identity = Box::new(identity);
        Self { mount: mount.into(), role: None, config, identity }
    }

    /// As this role. Without, the server takes the first that matches the certificate.
    #[must_use]
    pub fn role(self, role: impl Into<String>) -> Self {
        Self { role: Some(role.into()), ..self }
    }
}

#[async_trait]
impl Login for AppRoleLogin {
    async fn log_in(&self, vault: &VaultClient) -> Result<Auth, LoginError> {
        let secret_id = match &self.secret_id {
            Some(source) => Some(source.secret().await.map_err(LoginError::Secret)?),
            None => None,
        };
        Ok(vault.login_approle(&self.mount, &self.role_id, secret_id.as_ref()).await?)
    }
}

#[async_trait]
impl Login for JwtLogin {
    async fn log_in(&self, vault: &VaultClient) -> Result<Auth, LoginError> {
        let jwt = self.jwt.secret().await.map_err(LoginError::Secret)?;
        Ok(vault.login_jwt(&self.mount, &self.role, &jwt).await?)
    }
}

#[async_trait]
impl Login for CertificateLogin {
    async fn log_in(&self, vault: &VaultClient) -> Result<Auth, LoginError> {
        let identity = self.identity.secret().await.map_err(LoginError::Secret)?;
        let mut config = self.config.clone();
        config.identity = Some(SecretBytes::new(identity.expose().clone().into_bytes()));
        let client =
            VaultClient::new(&config)?.with_namespace(vault.namespace().map(str::to_owned));
        let body = self.role.as_ref().map_or_else(|| json!({}), |role| json!({ "name": role }));
        Ok(client.login(&format!("auth/{}/login", self.mount), &body).await?)
    }
}

#[async_trait]
impl SecretSource for SecretFile {
    async fn secret(&self) -> Result<SecretString, Box<dyn StdError + Send + Sync>> {
        let text = read(&self.0).await?;
        match text.trim() {
            "" => Err(format!("{} is empty", self.0.display()).into()),
            text => Ok(SecretString::from(text)),
        }
    }
}

#[async_trait]
impl SecretSource for IdentityFiles {
    async fn secret(&self) -> Result<SecretString, Box<dyn StdError + Send + Sync>> {
        let certificate = read(&self.certificate).await?;
        let key = read(&self.key).await?;
        // Room for both at once: growing would leave a copy behind.
        let mut both = String::with_capacity(certificate.len() + key.len() + 1);
        both.push_str(&certificate);
        both.push('\n');
        both.push_str(&key);
        Ok(SecretString::new(both))
    }
}

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// A file's text.
pub(super) async fn read(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LARGEST + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| FileError::NotText(path.to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Why a file gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is larger than 1 MiB.
    #[error("{} is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// It is not UTF-8.
    #[error("{} is no text", .0.display())]
    NotText(PathBuf),
}

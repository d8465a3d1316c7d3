//! Logging in: with what, and what comes of it.
//!
//! Each method knows where its credential comes from and what the server wants to be sent; the rest
//! is the same for all. Credentials are read anew for each login, so that a file that was replaced
//! counts from then on; where a file is gone, the value that was read last is used again.
//!
//! A secret id that came wrapped is kept in the agent's state directory, because its wrapping token
//! is spent: see [`kept`].

mod approle;
mod cert;
mod jwt;
mod kept;
mod source;

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use holdfast_client::vault::{ConfigError, VaultClient, VaultError, WrapInfo};
use holdfast_types::SecretString;
use serde_json::{Value, json};
use tracing::warn;

use crate::config::{AgentConfig, Method, MethodConfig, ServerConfig};
use crate::session::{Authority, Granted, Life, is_refusal};
use approle::AppRoleLogin;
use cert::CertLogin;
use jwt::JwtFile;
use source::Source;

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no credential.
    #[error("{0}")]
    Credential(String),
    /// The credential cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The wrapping token in the secret id's file holds something else: somebody may have put
    /// another one there. It was not unwrapped.
    #[error("the wrapping token was made at {found:?}, not at {expected:?}")]
    WrappedElsewhere {
        /// Where it was to be made.
        expected: String,
        /// Where it was made.
        found: String,
    },
    /// The client certificate or the authorities cannot be used.
    #[error("set up the client")]
    Client(#[from] ConfigError),
    /// The server refused, or did not answer.
    #[error("ask the server")]
    Server(#[from] VaultError),
}

/// Logs in with the configured method, and looks after the token.
pub(crate) struct Authenticator {
    config: MethodConfig,
    method: Login,
    /// Asks once, so that the lifecycle alone decides when to ask again.
    asking: VaultClient,
    /// What the login's holders get: it is patient.
    serving: VaultClient,
    /// Whether another credential brings another login.
    reauth: bool,
}

enum Login {
    AppRole(AppRoleLogin),
    Jwt(JwtFile),
    Cert(Box<CertLogin>),
    /// Role, and the service account's token.
    Kubernetes(String, Source),
    TokenFile(Source),
}

impl Authenticator {
    /// None where the configuration has no `auto_auth`.
    pub(crate) fn new(config: &AgentConfig) -> Result<Option<Self>, LoginError> {
        let Some(auth) = &config.auto_auth else { return Ok(None) };
        let method = auth.method.clone();
        let login = match &method.method {
            Method::AppRole(approle) => {
                Login::AppRole(AppRoleLogin::new(approle.clone(), &method, config))
            }
            Method::Jwt(jwt) => Login::Jwt(JwtFile::new(jwt.clone())),
            Method::Cert(cert) => {
                Login::Cert(Box::new(CertLogin::new(cert.clone(), config.server.clone())))
            }
            Method::Kubernetes(it) => {
                Login::Kubernetes(it.role.clone(), Source::new(it.token_path.clone()))
            }
            Method::TokenFile(it) => Login::TokenFile(Source::new(it.path.clone())),
        };
        let (asking, serving) = clients(&config.server)?;
        let reauth = auth.reauth_on_new_credentials;
        Ok(Some(Self { config: method, method: login, asking, serving, reauth }))
    }

    async fn enter(&mut self) -> Result<Granted, LoginError> {
        let namespace = self.config.namespace.clone();
        let namespace = namespace.or_else(|| self.asking.namespace().map(str::to_owned));
        let mut client = self.asking.with_namespace(namespace);
        let body = match &mut self.method {
            Login::AppRole(approle) => approle.credential(&client).await?,
            Login::Jwt(jwt) => jwt.credential()?,
            Login::Cert(cert) => {
                client = cert.client(client)?;
                cert.credential()
            }
            Login::Kubernetes(role, token) => {
                json!({ "role": *role, "jwt": token.read()?.expose() })
            }
            Login::TokenFile(token) => {
                let token = token.read()?;
                return self.adopt(token).await;
            }
        };
        let path = format!("{}/login", self.config.mount_path);
        if let Some(ttl) = self.config.wrap_ttl {
            let client = client.with_wrap_ttl(Some(format!("{}s", ttl.as_secs().max(1))));
            let reply = client.with_token(None).write(&path, &body).await?;
            let wrapped = reply.wrap_info.ok_or_else(|| nothing(&path, "wrap_info"))?;
            return Ok(Granted::Wrapped(wrap_info_json(&wrapped)));
        }
        let auth = client.login(&path, &body).await?;
        Ok(Granted::Token {
            client: self.serving.with_token(Some(auth.client_token)),
            accessor: auth.accessor,
            life: Life::new(auth.lease_duration, auth.renewable),
        })
    }

    /// Takes a token that somebody else made.
    async fn adopt(&self, token: SecretString) -> Result<Granted, LoginError> {
        let asking = self.asking.with_token(Some(token.clone()));
        let data = asking.token_lookup_self().await?;
        let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let renewable = data.get("renewable").and_then(Value::as_bool).unwrap_or(false);
        let ttl = data.get("ttl").and_then(Value::as_u64).unwrap_or(0);
        Ok(Granted::Token {
            client: self.serving.with_token(Some(token)),
            accessor: text("accessor"),
            life: Life::new(ttl, renewable),
        })
    }
}

#[async_trait]
impl Authority for Authenticator {
    async fn log_in(&mut self) -> Result<Granted, LoginError> {
        let outcome = self.enter().await;
        if let Login::AppRole(approle) = &mut self.method
            && let Err(LoginError::Server(error)) = &outcome
        {
            approle.refused(error);
        }
        outcome
    }

    async fn renew(&mut self, client: &VaultClient) -> Result<Life, VaultError> {
        let asking = self.asking.with_token(client.token().cloned());
        let auth = asking.token_renew_self(None).await?;
        Ok(Life::new(auth.lease_duration, auth.renewable))
    }

    async fn is_alive(&mut self, client: &VaultClient) -> Option<bool> {
        match self.asking.with_token(client.token().cloned()).token_lookup_self().await {
            Ok(_) => Some(true),
            Err(error) => is_alive(&error),
        }
    }

    async fn changed(&mut self) {
        match &mut self.method {
            Login::Jwt(jwt) => loop {
                if jwt.another().await && self.reauth {
                    return;
                }
            },
            _ => std::future::pending().await,
        }
    }

    fn reload(&mut self, server: &ServerConfig) -> Result<VaultClient, ConfigError> {
        let (asking, serving) = clients(server)?;
        (self.asking, self.serving) = (asking, serving.clone());
        if let Login::Cert(cert) = &mut self.method {
            cert.reload(server.clone());
        }
        Ok(serving)
    }
}

/// Whether a token is good that got this answer to a look; none where the answer says nothing. A policy
/// that forbids the token to look at itself has words of its own: taken for death, they would bring
/// one login after the other.
fn is_alive(error: &VaultError) -> Option<bool> {
    const FORBIDDEN: &str = "1 error occurred:\n\t* permission denied";
    let says = error.failure()?.errors.first().map(|text| text.trim());
    is_refusal(error).then(|| says == Some(FORBIDDEN))
}

/// One client that asks once, and one that repeats what fails.
fn clients(server: &ServerConfig) -> Result<(VaultClient, VaultClient), ConfigError> {
    let once = ServerConfig { max_retries: 0, ..server.clone() };
    Ok((once.client()?, server.client()?))
}

fn nothing(path: &str, what: &str) -> VaultError {
    let request = format!("PUT {path}");
    VaultError::Malformed { request, problem: format!("it holds no {what}") }
}

/// As the stock agent writes it.
pub(crate) fn wrap_info_json(info: &WrapInfo) -> SecretString {
    #[derive(serde::Serialize)]
    struct Wire<'a> {
        token: &'a str,
        accessor: &'a str,
        ttl: u64,
        creation_time: &'a str,
        creation_path: &'a str,
        wrapped_accessor: &'a str,
    }
    let wire = Wire {
        token: info.token.expose(),
        accessor: &info.accessor,
        ttl: info.ttl,
        creation_time: &info.creation_time,
        creation_path: &info.creation_path,
        wrapped_accessor: &info.wrapped_accessor,
    };
    let json = serde_json::to_string(&wire).unwrap_or_default();
    SecretString::new(json + "\n")
}

/// Removes a credential that was read. A failure leaves it lying about, which a person should know,
/// once.
fn remove(path: &Path, is_new: bool) {
    if let Err(error) = std::fs::remove_file(path)
        && is_new
    {
        warn!(%error, path = %path.display(), "remove a credential that was read");
    }
}

//! `jwt`: logins with tokens that somebody else signed: an identity provider, a SPIFFE server, a
//! key whose public half is configured.
//!
//! Layout under the mount's corner of the store: `config`, and `role/<name>` for each role. Names
//! are in lower case.
//!
//! The same backend is mounted as `oidc`. OpenBao's knows the peculiarities of some providers, too:
//! what belongs to those (`provider_config`), and `override_allowed_server_names`, is refused by
//! name, not ignored.

mod claims;
mod config;
mod discovery;
mod go_text;
mod key_source;
mod login;
mod oidc;
mod policy_template;
mod role;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_logical::{
    Auth, Backend, Connection, Context, Error, Operation, Reply, Request, Response, Route,
    SpecialPaths,
};
use holdfast_types::{Clock, Random};
use tokio::sync::{Mutex, RwLock};

use self::config::Config;
use self::key_source::{KeySource, KeySourceError};
use self::oidc::{PendingLogins, Provider};
use self::role::Role;
use crate::listing;
use crate::role_name::{self, is_role_name};

/// Logins.
const OPEN: [&str; 4] = ["login", "oidc/auth_url", "oidc/callback", "oidc/poll"];
const CONFIG_ENTRY: &str = "config";

/// The backend of a `jwt` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    Arc::new(Jwt {
        storage: context.storage,
        clock: context.clock,
        random: context.random,
        active: RwLock::new(None),
        changes: Mutex::new(()),
        pending: PendingLogins::default(),
    })
}

struct Jwt {
    storage: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The configuration in use, with its keys. Read from the store at first use.
    active: RwLock<Option<Arc<Active>>>,
    /// Held while configuration or roles change.
    changes: Mutex<()>,
    /// Logins that wait for the issuer.
    pending: PendingLogins,
}

struct Active {
    config: Config,
    keys: KeySource,
    /// The issuer of logins with redirects, where there are such.
    provider: Option<Provider>,
}

impl Active {
    fn new(config: Config) -> Result<Self, KeySourceError> {
        let keys = KeySource::new(&config)?;
        let provider = keys.fetcher().and_then(|fetcher| Provider::new(&config, fetcher.clone()));
        Ok(Self { config, keys, provider })
    }
}

#[async_trait]
impl Backend for Jwt {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Read, Update};
        let segments = request.segments();
        match (&segments[..], request.operation) {
            (["login"], Create | Update) => self.login(request).await,
            (["oidc", "auth_url"], Create | Update) => self.auth_url(request).await,
            (["oidc", "callback"], Read) => self.callback(request).await,
            (["oidc", "poll"], Create | Update) => Self::poll(),
            (["config"], Read) => self.read_config().await,
            (["config"], Create | Update) => self.write_config(request).await,
            (["role", ""], List) => listing::list(&self.storage, "role/", request).await,
            (["role", name], operation) if is_role_name(name) => {
                let name = name.to_lowercase();
                match operation {
                    Read => self.read_role(&name).await,
                    Create | Update => self.write_role(request, &name).await,
                    Delete => self.delete_role(&name).await,
                    _ => Err(Error::UnsupportedOperation),
                }
            }
            (
                ["login" | "config"]
                | ["oidc", "auth_url" | "callback" | "poll"]
                | ["role"]
                | ["role", ""],
                _,
            ) => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        }
    }

    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    fn special_paths(&self) -> SpecialPaths {
        SpecialPaths { unauthenticated: OPEN.map(str::to_owned).to_vec(), sudo: Vec::new() }
    }

    fn canonical(&self, path: &str) -> Option<String> {
        role_name::canonical(path)
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        match request.segments()[..] {
            ["role", name] if is_role_name(name) => {
                Ok(Some(self.role(&name.to_lowercase()).await?.is_some()))
            }
            _ => Ok(None),
        }
    }

    async fn renew_login(&self, auth: Auth, _connection: &Connection) -> Result<Auth, Error> {
        self.renew(auth).await
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty().then(|| "Logins with tokens that somebody else signed.".to_owned())
    }
}

impl Jwt {
    /// The configuration in use; none where there is none yet.
    async fn active(&self) -> Result<Option<Arc<Active>>, Error> {
        if let Some(active) = &*self.active.read().await {
            return Ok(Some(active.clone()));
        }
        let mut slot = self.active.write().await;
        if slot.is_none() {
            let Some(config) = self.storage.get_json::<Config>(CONFIG_ENTRY).await? else {
                return Ok(None);
            };
            let active = Active::new(config)
                .map_err(|error| Error::internal("read the stored configuration", error))?;
            *slot = Some(Arc::new(active));
        }
        Ok(slot.clone())
    }

    /// `GET config`
    async fn read_config(&self) -> Reply {
        let Some(active) = self.active().await? else { return Ok(None) };
        let mut data = active.config.print();
        let problem = active.keys.problem().await;
        data["status"] = if problem.is_some() { "invalid" } else { "valid" }.into();
        let warnings = problem.map(|why| format!("failed to construct JWK validator: {why}"));
        Ok(Some(Response { warnings: Vec::from_iter(warnings), ..Response::data(data) }))
    }

    /// `PUT config`: replaces all of it. The keys, or the discovery document, are fetched to see
    /// that they can be; with `skip_jwks_validation` a failure is only a warning.
    async fn write_config(&self, request: &Request) -> Reply {
        let _guard = self.changes.lock().await;
        let fields = request.fields();
        let old = self.active().await?;
        let config = Config::parse(fields, old.as_deref().map(|active| &active.config))?;
        fields.known(&["skip_jwks_validation"]);
        let active = Active::new(config).map_err(|error| Error::invalid(error.to_string()))?;
        let skip = fields.bool("skip_jwks_validation").map_err(Error::field_validation)?;
        let mut warnings = Vec::new();
        if let Err(error) = active.keys.check().await {
            if !skip.unwrap_or_default() {
                return Err(Error::invalid(error.told_to_clients()));
            }
            warnings.push(error.to_string());
        }
        self.storage.put_json(CONFIG_ENTRY, &active.config).await?;
        *self.active.write().await = Some(Arc::new(active));
        Ok((!warnings.is_empty()).then(|| Response { warnings, ..Response::default() }))
    }

    /// `GET role/<name>`
    async fn read_role(&self, name: &str) -> Reply {
        Ok(self.role(name).await?.map(|role| Response::data(role.print())))
    }

    /// `PUT role/<name>`
    async fn write_role(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        let mut role = self.role(name).await?.unwrap_or_default();
        let warnings = role.update(request)?;
        self.storage.put_json(&role_entry(name), &role).await?;
        Ok((!warnings.is_empty()).then(|| Response { warnings, ..Response::default() }))
    }

    /// `DELETE role/<name>`
    async fn delete_role(&self, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        self.storage.delete(&role_entry(name)).await?;
        Ok(None)
    }

    async fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.storage.get_json(&role_entry(name)).await?)
    }
}

fn role_entry(name: &str) -> String {
    format!("role/{name}")
}

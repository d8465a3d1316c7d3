//! `kubernetes`: pods log in with the token of their service account, which the cluster is asked
//! about.
//!
//! Layout under the mount's corner of the store: `config`, and `role/<name>` for each role. Names
//! are in lower case.

mod api;
mod config;
mod login;
mod role;
mod routes;
mod selector;
mod service_account;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_client::kubernetes::{Clients, POD_FILES};
use holdfast_logical::{
    Auth, Backend, Connection, Context, Error, Operation, Reply, Request, Response, Route,
    SpecialPaths,
};
use holdfast_types::Clock;
use tokio::sync::Mutex;

use self::config::Config;
use self::role::Role;
use crate::listing;
use crate::role_name::{self, is_role_name};

const CONFIG_ENTRY: &str = "config";

/// The backend of a `kubernetes` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    backend_in(context, POD_FILES.into())
}

/// The same with another place for the pod's own token and authority.
fn backend_in(context: Context, local: PathBuf) -> Arc<dyn Backend> {
    Arc::new(Kubernetes {
        storage: context.storage,
        clock: context.clock,
        local,
        clients: Clients::default(),
        changes: Mutex::new(()),
    })
}

struct Kubernetes {
    storage: View,
    clock: Arc<dyn Clock>,
    local: PathBuf,
    clients: Clients,
    /// Held while configuration or roles change.
    changes: Mutex<()>,
}

#[async_trait]
impl Backend for Kubernetes {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Read, Update};
        let segments = request.segments();
        match (&segments[..], request.operation) {
            (["login"], Create | Update) => self.login(request).await,
            (["config"], Read) => {
                Ok(self.config().await?.map(|config| Response::data(config.print())))
            }
            (["config"], Create | Update) => self.write_config(request).await,
            (["role", ""], List) => listing::list(&self.storage, "role/", request).await,
            (["role", name], operation) if is_role_name(name) => {
                let name = name.to_lowercase();
                match operation {
                    Read => Ok(self.role(&name).await?.map(|role| Response::data(role.print()))),
                    Create | Update => self.write_role(request, &name).await,
                    Delete => {
                        let _guard = self.changes.lock().await;
                        self.storage.delete(&role_entry(&name)).await?;
                        Ok(None)
                    }
                    _ => Err(Error::UnsupportedOperation),
                }
            }
            (["login" | "config"] | ["role"] | ["role", ""], _) => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        }
    }

    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    fn special_paths(&self) -> SpecialPaths {
        SpecialPaths { unauthenticated: vec!["login".to_owned()], sudo: Vec::new() }
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
        path.is_empty().then(|| "Logins with tokens of Kubernetes service accounts.".to_owned())
    }
}

impl Kubernetes {
    async fn config(&self) -> Result<Option<Config>, Error> {
        Ok(self.storage.get_json(CONFIG_ENTRY).await?)
    }

    /// `PUT config`: replaces all of it.
    async fn write_config(&self, request: &Request) -> Reply {
        let _guard = self.changes.lock().await;
        let config =
            Config::parse(request.fields(), &self.local).await.map_err(Error::field_validation)?;
        self.storage.put_json(CONFIG_ENTRY, &config).await?;
        Ok(None)
    }

    /// `PUT role/<name>`: fields that are missing stay, but the selector.
    async fn write_role(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        let mut role = self.role(name).await?.unwrap_or_default();
        let warnings = role.update(request)?;
        self.storage.put_json(&role_entry(name), &role).await?;
        Ok((!warnings.is_empty()).then(|| Response { warnings, ..Response::default() }))
    }

    async fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.storage.get_json(&role_entry(name)).await?)
    }
}

fn role_entry(name: &str) -> String {
    format!("role/{name}")
}

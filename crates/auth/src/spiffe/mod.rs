//! `spiffe`: workloads log in with what a SPIFFE server says of them, an X.509-SVID or a JWT-SVID.
//!
//! The paths are those of Vault's method of that name. A mount has one trust domain, whose bundle is
//! configured, or fetched and followed while the mount lives: an authority counts from when it is in
//! the bundle until it is not, and never past its own end.
//!
//! Layout under the mount's corner of the store: `config`, `bundle` with the last good document of
//! the endpoint, and `role/<name>` for each role. Names are in lower case.

mod bundle;
mod config;
mod endpoint;
mod login;
mod role;
mod routes;
mod source;
mod svid;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_logical::{
    Auth, Backend, Connection, Context, Error, Operation, Reply, Request, Response, Route,
    SpecialPaths,
};
use holdfast_types::{Chain, Clock};
use tokio::sync::{Mutex, RwLock};

use self::config::Config;
use self::role::Role;
use self::source::Source;
use crate::listing;
use crate::role_name::{self, is_role_name};

const CONFIG_ENTRY: &str = "config";

/// The backend of a `spiffe` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    Arc::new(Spiffe {
        storage: context.storage,
        clock: context.clock,
        active: RwLock::new(None),
        changes: Mutex::new(()),
    })
}

struct Spiffe {
    storage: View,
    clock: Arc<dyn Clock>,
    /// The configuration in use, with the bundle. Read from the store at first use.
    active: RwLock<Option<Arc<Active>>>,
    /// Held while configuration or roles change.
    changes: Mutex<()>,
}

struct Active {
    config: Config,
    source: Source,
}

#[async_trait]
impl Backend for Spiffe {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Read, Update};
        let segments = request.segments();
        match (&segments[..], request.operation) {
            (["login"], Create | Update) => self.login(request).await,
            (["config"], Read) => self.read_config().await,
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

    async fn tick(&self) -> Result<(), Error> {
        if let Some(active) = self.active().await? {
            active.source.refresh_due().await;
        }
        Ok(())
    }

    async fn renew_login(&self, auth: Auth, _connection: &Connection) -> Result<Auth, Error> {
        self.renew(auth).await
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty().then(|| "Workloads log in with X.509-SVIDs or JWT-SVIDs.".to_owned())
    }
}

impl Spiffe {
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
            let active = self.activate(config);
            active.source.recall().await?;
            *slot = Some(Arc::new(active));
        }
        Ok(slot.clone())
    }

    fn activate(&self, config: Config) -> Active {
        let source = Source::new(&config, self.storage.clone(), self.clock.clone());
        Active { config, source }
    }

    /// `GET config`: with what is known of the bundle.
    async fn read_config(&self) -> Reply {
        let Some(active) = self.active().await? else { return Ok(None) };
        let mut data = active.config.print();
        active.source.describe(&mut data);
        Ok(Some(Response::data(data)))
    }

    /// `PUT config`: replaces all of it, and fetches the bundle to see that it can be had, unless
    /// `defer_bundle_fetch` is set. Without any field the bundle is fetched anew.
    async fn write_config(&self, request: &Request) -> Reply {
        let _guard = self.changes.lock().await;
        if request.data.is_empty() {
            let active =
                self.active().await?.ok_or_else(|| Error::invalid("missing trust_domain"))?;
            return match active.source.fetch_now().await {
                Ok(()) => Ok(None),
                Err(error) => Err(Error::invalid(format!("fetch the bundle: {}", Chain(&error)))),
            };
        }
        let fields = request.fields();
        let config = Config::parse(fields).map_err(Error::field_validation)?;
        let deferred = fields.bool("defer_bundle_fetch").map_err(Error::field_validation)?;
        let active = self.activate(config);
        let mut warnings = Vec::new();
        if let Err(error) = active.source.fetch_now().await {
            let told = format!("fetch the bundle: {}", Chain(&error));
            if !deferred.unwrap_or_default() {
                return Err(Error::invalid(told));
            }
            // What another configuration has fetched says nothing of this one.
            self.storage.delete(source::BUNDLE_ENTRY).await?;
            warnings.push(told);
        }
        self.storage.put_json(CONFIG_ENTRY, &active.config).await?;
        *self.active.write().await = Some(Arc::new(active));
        Ok((!warnings.is_empty()).then(|| Response { warnings, ..Response::default() }))
    }

    /// `PUT role/<name>`
    async fn write_role(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        let mut role = self.role(name).await?.unwrap_or_default();
        role.update(request.fields())?;
        self.storage.put_json(&role_entry(name), &role).await?;
        Ok(None)
    }

    async fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.storage.get_json(&role_entry(name)).await?)
    }
}

fn role_entry(name: &str) -> String {
    format!("role/{name}")
}

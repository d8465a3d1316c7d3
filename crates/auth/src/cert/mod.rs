//! `cert`: logins with TLS client certificates, pinned one by one or by their authority.
//!
//! Layout under the mount's corner of the store: `config`, `cert/<name>` for each trusted
//! certificate with what its logins get, and `crls/<name>` for each revocation list. Names are in
//! lower case.
//!
//! TLS has proved that the client holds the certificate's key; whether the certificate means
//! anything is decided here. What OpenBao asks OCSP responders for is refused by name, not ignored.

mod config;
mod constraints;
mod crls;
mod login;
mod routes;
#[cfg(test)]
mod tests;
mod trusted;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_keys::x509::Certificate;
use holdfast_logical::{
    Auth, Backend, Connection, Context, Error, Operation, Reply, Request, Response, Route,
    SpecialPaths,
};
use holdfast_types::Clock;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, RwLock};

use self::config::Config;
use self::crls::RevocationLists;
use self::trusted::Trusted;
use crate::listing;
use crate::role_name::{canonical_below, is_role_name};

const CONFIG_ENTRY: &str = "config";

/// The backend of a `cert` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    Arc::new(Cert {
        crls: RevocationLists::new(context.storage.clone(), context.clock.clone()),
        storage: context.storage,
        clock: context.clock,
        known: RwLock::new(None),
        changes: Mutex::new(()),
    })
}

struct Cert {
    storage: View,
    clock: Arc<dyn Clock>,
    crls: RevocationLists,
    /// All trusted certificates, read from the store at first use: a login may match any.
    known: RwLock<Option<Known>>,
    /// Held while trusted certificates or the configuration change.
    changes: Mutex<()>,
}

type Known = Arc<BTreeMap<String, Arc<Entry>>>;

/// A trusted certificate as logins use it.
struct Entry {
    trusted: Trusted,
    /// Its certificates. The first says what it is: an authority, or one client.
    certificates: Vec<Certificate>,
}

impl Entry {
    /// Whether it trusts whomever authorities certify, and not one client.
    fn is_of_authority(&self) -> bool {
        self.certificates.first().is_some_and(|certificate| certificate.is_ca)
    }
}

#[async_trait]
impl Backend for Cert {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Read, Update};
        let segments = request.segments();
        match (&segments[..], request.operation) {
            (["login"], Create | Update) => self.login(request).await,
            (["config"], Read) => Ok(Some(Response::data(self.config().await?.print()))),
            (["config"], Create | Update) => self.write_config(request).await,
            (["certs", ""], List) => listing::list(&self.storage, "cert/", request).await,
            (["crls", ""], List) => listing::list(&self.storage, "crls/", request).await,
            (["certs", name], operation) if is_role_name(name) => {
                let name = name.to_lowercase();
                match operation {
                    Read => self.read_trusted(&name).await,
                    Create | Update => self.write_trusted(request, &name).await,
                    Delete => self.delete_trusted(&name).await,
                    _ => Err(Error::UnsupportedOperation),
                }
            }
            (["crls", name], operation) if is_role_name(name) => {
                let name = name.to_lowercase();
                match operation {
                    Read => self.crls.read(&name).await,
                    Create | Update => self.crls.write(request, &name).await,
                    Delete => self.crls.delete(&name).await,
                    _ => Err(Error::UnsupportedOperation),
                }
            }
            (["login" | "config"] | ["certs" | "crls"] | ["certs" | "crls", ""], _) => {
                Err(Error::UnsupportedOperation)
            }
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
        canonical_below("certs/", path).or_else(|| canonical_below("crls/", path))
    }

    async fn tick(&self) -> Result<(), Error> {
        self.crls.refresh_due().await
    }

    async fn renew_login(&self, auth: Auth, connection: &Connection) -> Result<Auth, Error> {
        self.renew(auth, connection).await
    }

    async fn login_role(&self, data: &Map<String, Value>) -> Result<Option<String>, Error> {
        Ok(data.get("name").and_then(Value::as_str).map(str::to_lowercase))
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty().then(|| "Logins with TLS client certificates.".to_owned())
    }
}

impl Cert {
    async fn config(&self) -> Result<Config, Error> {
        Ok(self.storage.get_json(CONFIG_ENTRY).await?.unwrap_or_default())
    }

    /// `PUT config`
    async fn write_config(&self, request: &Request) -> Reply {
        let _guard = self.changes.lock().await;
        let mut config = self.config().await?;
        config.update(request.fields()).map_err(Error::field_validation)?;
        self.storage.put_json(CONFIG_ENTRY, &config).await?;
        Ok(None)
    }

    /// `GET certs/<name>`
    async fn read_trusted(&self, name: &str) -> Reply {
        Ok(self.trusted(name).await?.map(|trusted| Response::data(trusted.print())))
    }

    /// `PUT certs/<name>`: fields that are missing stay, or have their defaults in a new entry.
    async fn write_trusted(&self, request: &Request, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        let mut trusted = self.trusted(name).await?.unwrap_or_default();
        let warnings = trusted.update(request, name).map_err(Error::field_validation)?;
        self.storage.put_json(&entry(name), &trusted).await?;
        *self.known.write().await = None;
        Ok((!warnings.is_empty()).then(|| Response { warnings, ..Response::default() }))
    }

    /// `DELETE certs/<name>`
    async fn delete_trusted(&self, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        self.storage.delete(&entry(name)).await?;
        *self.known.write().await = None;
        Ok(None)
    }

    async fn trusted(&self, name: &str) -> Result<Option<Trusted>, Error> {
        Ok(self.storage.get_json(&entry(name)).await?)
    }

    /// Every trusted certificate, by name.
    async fn known(&self) -> Result<Known, Error> {
        if let Some(known) = &*self.known.read().await {
            return Ok(known.clone());
        }
        let mut slot = self.known.write().await;
        if let Some(known) = &*slot {
            return Ok(known.clone());
        }
        let mut known = BTreeMap::new();
        for name in self.storage.list("cert/").await? {
            if let Some(trusted) = self.trusted(&name).await? {
                let certificates = Certificate::all_from_pem(&trusted.certificate)
                    .map_err(|error| Error::internal("read a stored certificate", error))?;
                known.insert(name, Arc::new(Entry { trusted, certificates }));
            }
        }
        let known = Arc::new(known);
        *slot = Some(known.clone());
        Ok(known)
    }
}

fn entry(name: &str) -> String {
    format!("cert/{name}")
}

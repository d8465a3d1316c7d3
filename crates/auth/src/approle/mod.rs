//! `approle`: programs log in with a role's id and a secret id, which is handed out once, counted
//! and bounded in time.
//!
//! Layout under the mount's corner of the store:
//!
//! | entry | holds |
//! |---|---|
//! | `salt` | the key of the mount's own HMACs |
//! | `role/<name>` | a role, with the key of its secret ids' HMACs |
//! | `role-id/<HMAC of the role id>` | the role's name |
//! | `secret-id/<name>/<HMAC of the secret id>` | what is known of a secret id, not the id itself |
//! | `accessor/<HMAC of the accessor>` | the role's name and the HMAC of the secret id |
//!
//! HMACs are SHA-256 in hex. A secret id is thus found by what only the server can compute: no
//! comparison takes longer the nearer a guess is. A role that is deleted and made anew has another
//! key, so that none of the old secret ids fits.

mod login;
mod metadata;
mod role;
mod roles;
mod routes;
mod secret_id;
mod secret_ids;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod tidy;

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use holdfast_barrier::{KeyLocks, View};
use holdfast_logical::{
    Auth, Backend, Connection, Context, Error, Operation, Reply, Request, Route, SpecialPaths,
};
use holdfast_types::{Clock, Random, SecretString, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use self::settings::Setting;
use crate::listing;
use crate::role_name::{self, is_role_name};

/// The backend of an `approle` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    Arc::new_cyclic(|me| AppRole {
        me: me.clone(),
        storage: context.storage,
        clock: context.clock,
        random: context.random,
        salt: OnceLock::new(),
        role_changes: Mutex::new(()),
        secret_id_uses: KeyLocks::new(),
        tidied_at: Mutex::new(None),
        tidying: Mutex::new(()),
    })
}

struct AppRole {
    /// For what goes on after an answer.
    me: Weak<Self>,
    storage: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Known from the start on.
    salt: OnceLock<SecretString>,
    /// Changes of roles are rare, and must see each other's role ids.
    role_changes: Mutex<()>,
    /// By HMAC of the secret id.
    secret_id_uses: KeyLocks,
    tidied_at: Mutex<Option<Timestamp>>,
    /// Held while secret ids are tidied.
    tidying: Mutex<()>,
}

#[async_trait]
impl Backend for AppRole {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Read, Update};
        let operation = request.operation;
        let segments = request.segments();
        if let ["role", name, ..] = segments[..]
            && !name.is_empty()
            && !is_role_name(name)
        {
            return Err(Error::UnsupportedPath);
        }
        let name = segments.get(1).map(|name| name.to_lowercase()).unwrap_or_default();
        match (&segments[..], operation) {
            (["login"], Create | Update) => self.login(request).await,
            (["role", ""], List) => listing::list(&self.storage, "role/", request).await,
            (["role", name_as_given], _) if !name_as_given.is_empty() => match operation {
                Create | Update => self.write_role(request, &name).await,
                Read => self.read_role(&name).await,
                Delete => self.delete_role(&name).await,
                _ => Err(Error::UnsupportedOperation),
            },
            (["role", _, "role-id"], Read) => self.read_role_id(&name).await,
            (["role", _, "role-id"], Create | Update) => self.write_role_id(request, &name).await,
            (["role", _, "secret-id", ""], List) => self.list_secret_ids(request, &name).await,
            (["role", _, "secret-id"], Create | Update) => {
                self.generate_secret_id(request, &name).await
            }
            (["role", _, "custom-secret-id"], Create | Update) => {
                self.custom_secret_id(request, &name).await
            }
            (["role", _, "secret-id", "lookup"], Create | Update) => {
                self.look_up_secret_id(request, &name).await
            }
            (["role", _, "secret-id", "destroy"], Create | Update | Delete) => {
                self.destroy_secret_id(request, &name).await
            }
            (["role", _, "secret-id-accessor", "lookup"], Create | Update) => {
                self.look_up_accessor(request, &name).await
            }
            (["role", _, "secret-id-accessor", "destroy"], Create | Update | Delete) => {
                self.destroy_accessor(request, &name).await
            }
            (["role", _, setting], _) if let Some(setting) = Setting::named(setting) => {
                self.setting(request, &name, setting).await
            }
            (["tidy", "secret-id"], Create | Update) => self.tidy_now().await,
            (
                ["login"]
                | ["role", ""]
                | ["role", _, "role-id" | "secret-id" | "custom-secret-id"]
                | ["role", _, "secret-id", ""]
                | ["role", _, "secret-id" | "secret-id-accessor", "lookup" | "destroy"]
                | ["tidy", "secret-id"],
                _,
            ) => Err(Error::UnsupportedOperation),
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

    async fn start(&self) -> Result<(), Error> {
        self.load_salt().await
    }

    async fn tick(&self) -> Result<(), Error> {
        self.tidy_now_and_then().await
    }

    fn login_name(&self, request: &Request) -> Option<String> {
        match request.path.as_str() {
            "login" => request.fields().string("role_id").ok().flatten(),
            _ => None,
        }
    }

    async fn renew_login(&self, auth: Auth, _connection: &Connection) -> Result<Auth, Error> {
        self.renew(auth).await
    }

    async fn login_role(&self, data: &Map<String, Value>) -> Result<Option<String>, Error> {
        match data.get("role_id").and_then(Value::as_str) {
            Some(role_id) if role_id.len() <= 4096 => self.role_named_by(role_id).await,
            _ => Ok(None),
        }
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty().then(|| "Programs log in with a role id and a secret id.".to_owned())
    }
}

/// The client asks for a role that is not there.
fn no_such_role(name: &str) -> Error {
    Error::invalid(format!("role {name:?} does not exist"))
}

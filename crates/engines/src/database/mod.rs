//! The database engine: short-lived users of PostgreSQL.
//!
//! An operator says how a database is reached (`config/`) and what users may do (`roles/`); who
//! reads `creds/<role>` gets a user of their own, with a lease. When the lease ends, so does the
//! user, with its open sessions and all it was granted.
//!
//! Three things are deliberate. No password of a user reaches the server or its logs: statements
//! carry SCRAM verifiers. No user exists without a lease or a write-ahead record of it, whenever
//! the process dies. And nothing is ever dropped but a user that this engine has made.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::Object;
use holdfast_barrier::{Batch, KeyLocks};
use holdfast_logical::{
    Backend, Context, Error, Lease, Operation, Reply, Request, Response, Route, SpecialPaths,
};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;

use self::config::{Config, Written, refused, refused_by};
use self::creds::Names;
use self::error::{DatabaseError, chain};
use self::journal::Journal;
use self::pool::{Connector, Server, Servers};
use self::role::Role;
use self::rotation::rotation_key;
use self::static_rotation::{Watcher, static_role_key};

mod config;
mod creds;
mod dsn;
mod error;
mod journal;
mod passwords;
mod pool;
mod role;
mod rotation;
mod routes;
mod schedule;
mod statements;
mod static_role;
mod static_rotation;
mod template;
mod tls;
mod user;
mod username;

/// Opening the mount waits no longer than this for databases; the rest is left to the ticks.
const START_LIMIT: Duration = Duration::from_secs(5);

/// The engine, mounted as `database/` by custom.
pub struct Database {
    context: Context,
    servers: Servers,
    journal: Journal,
    names: Names,
    /// Held while a config is changed: a write and a rotation must not interleave.
    configs: Mutex<()>,
    /// By name: held while a role, static or not, is written, removed or rotated.
    role_locks: KeyLocks,
    /// By name: held while the database and the store may disagree about a static role's password.
    /// Taken after `role_locks`.
    change_locks: KeyLocks,
    /// Nothing is to be rotated before this, in milliseconds since 1970.
    next_rotation: AtomicI64,
    watcher: std::sync::Mutex<Option<Watcher>>,
    myself: Weak<Self>,
}

impl Database {
    /// The engine over its corner of the store. It connects to nothing until it is asked to.
    pub fn new(context: Context) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            journal: Journal::new(context.storage.clone()),
            context,
            servers: Servers::default(),
            names: Names::default(),
            configs: Mutex::default(),
            role_locks: KeyLocks::new(),
            change_locks: KeyLocks::new(),
            next_rotation: AtomicI64::new(i64::MAX),
            watcher: std::sync::Mutex::default(),
            myself: myself.clone(),
        })
    }
}

/// The engine's paths.
enum Path<'a> {
    Configs,
    Config(&'a str),
    Roles,
    Role(&'a str),
    Creds(&'a str),
    Reset(&'a str),
    RotateRoot(&'a str),
    StaticRoles,
    StaticRole(&'a str),
    StaticCreds(&'a str),
    RotateRole(&'a str),
}

impl<'a> Path<'a> {
    fn parse(path: &'a str) -> Result<Self, Error> {
        let (kind, name) = path.split_once('/').unwrap_or((path, ""));
        match kind {
            "config" if name.is_empty() => return Ok(Self::Configs),
            "roles" if name.is_empty() => return Ok(Self::Roles),
            "static-roles" if name.is_empty() => return Ok(Self::StaticRoles),
            _ if !is_name(name) => return Err(Error::UnsupportedPath),
            _ => {}
        }
        match kind {
            "config" => Ok(Self::Config(name)),
            "roles" => Ok(Self::Role(name)),
            "creds" => Ok(Self::Creds(name)),
            "reset" => Ok(Self::Reset(name)),
            "rotate-root" => Ok(Self::RotateRoot(name)),
            "static-roles" => Ok(Self::StaticRole(name)),
            "static-creds" => Ok(Self::StaticCreds(name)),
            "rotate-role" => Ok(Self::RotateRole(name)),
            _ => Err(Error::UnsupportedPath),
        }
    }
}

/// Letters, digits, `_`, and between those `-` and `.`, as OpenBao takes names.
fn is_name(name: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.iter().all(|byte| is_word(byte) || matches!(byte, b'-' | b'.'))
}

fn config_key(name: &str) -> String {
    format!("config/{name}")
}

fn role_key(name: &str) -> String {
    format!("role/{name}")
}

/// A 500 that says why, as OpenBao writes one.
fn plain(problem: impl std::fmt::Display) -> Error {
    Error::Status { status: 500, message: format!("1 error occurred:\n\t* {problem}\n\n") }
}

fn no_config(name: &str) -> Error {
    Error::upstream("failed to find entry for connection with name", format!("{name:?}"))
}

/// A failure at the database while `doing` something, for the client to read.
fn failed(doing: &'static str) -> impl Fn(DatabaseError) -> Error {
    move |error| Error::upstream(doing, error)
}

#[async_trait]
impl Backend for Database {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Read, Update};
        match (Path::parse(&request.path)?, request.operation) {
            (Path::Configs, List) => self.list("config/").await,
            (Path::Config(name), Read) => {
                Ok(self.config(name).await?.map(|config| config.response()))
            }
            (Path::Config(name), Create | Update) => self.write_config(name, request).await,
            (Path::Config(name), Delete) => self.delete_config(name).await,
            (Path::Roles, List) => self.list_roles("role/", request).await,
            (Path::Role(name), Read) => {
                let role = self.context.storage.get_json::<Role>(&role_key(name)).await?;
                Ok(role.map(|role| role.response()))
            }
            (Path::Role(name), Create | Update) => {
                let _roles = self.role_locks.lock(name).await;
                if self.context.storage.get(&static_role_key(name)).await?.is_some() {
                    return Err(Error::invalid("Role and Static Role names must be unique"));
                }
                let old = self.context.storage.get_json(&role_key(name)).await?;
                let role = Role::written(old, request)?;
                self.context.storage.put_json(&role_key(name), &role).await?;
                Ok(None)
            }
            (Path::Role(name), Delete) => {
                let _roles = self.role_locks.lock(name).await;
                self.context.storage.delete(&role_key(name)).await?;
                Ok(None)
            }
            (Path::Creds(name), Read) => self.issue(name, request).await,
            (Path::Reset(name), Create | Update) => {
                self.config(name).await?.ok_or_else(|| no_config(name))?;
                self.servers.forget(name);
                Ok(None)
            }
            (Path::RotateRoot(name), Create | Update) => self.rotate_root(name).await,
            (Path::StaticRoles, List) => self.list_roles("static-role/", request).await,
            (Path::StaticRole(name), Read) => {
                Ok(self.static_role(name).await?.map(|role| role.response()))
            }
            (Path::StaticRole(name), Create | Update) => {
                self.write_static_role(name, request).await
            }
            (Path::StaticRole(name), Delete) => self.delete_static_role(name).await,
            (Path::StaticCreds(name), Read) => self.static_credentials(name).await,
            (Path::RotateRole(name), Create | Update) => self.rotate_role(name).await,
            _ => Err(Error::UnsupportedOperation),
        }
    }

    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    fn special_paths(&self) -> SpecialPaths {
        SpecialPaths::default()
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        let key = match Path::parse(&request.path)? {
            Path::Config(name) => config_key(name),
            Path::Role(name) => role_key(name),
            Path::StaticRole(name) => static_role_key(name),
            _ => return Ok(None),
        };
        Ok(Some(self.context.storage.get(&key).await?.is_some()))
    }

    /// Settles what a crash left open, as far as the databases answer in time: one that is away
    /// does not keep the mount shut, and its records wait for a tick.
    async fn start(&self) -> Result<(), Error> {
        let settle = async {
            if self.has_rotations().await? {
                self.watch_for(self.context.clock.now());
                self.rotate_due().await?;
            }
            self.tick().await
        };
        match timeout(START_LIMIT, settle).await {
            Ok(Err(error @ Error::Entry(_))) => Err(error),
            Ok(Err(error)) => {
                warn!(error = %chain(&error), "left for later: settle what a crash left open");
                Ok(())
            }
            Err(_) => {
                warn!("left for later: settle what a crash left open: no answer in time");
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
        }
    }

    async fn tick(&self) -> Result<(), Error> {
        self.servers.tidy();
        let rotations = self.finish_rotations().await;
        self.clean_up().await.and(rotations)
    }

    async fn renew(&self, lease: &Lease) -> Result<Option<Value>, Error> {
        self.prolong(lease).await
    }

    async fn revoke(&self, lease: &Lease) -> Result<(), Error> {
        self.end(lease).await
    }

    async fn stop(&self) {
        self.stop_watching().await;
        self.servers.close();
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty().then(|| "Short-lived users of databases.".to_owned())
    }
}

impl Database {
    /// The names of roles, by page.
    async fn list_roles(&self, prefix: &str, request: &Request) -> Reply {
        let fields = request.fields();
        let after = fields.string("after").map_err(Error::field_validation)?;
        let after = after.filter(|after| !after.is_empty());
        let limit = fields.integer("limit").map_err(Error::field_validation)?.unwrap_or_default();
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let names = self.context.storage.list_page(prefix, after.as_deref(), limit).await?;
        Ok(Response::list(names))
    }

    async fn list(&self, prefix: &str) -> Reply {
        Ok(Response::list(self.context.storage.list(prefix).await?))
    }

    async fn config(&self, name: &str) -> Result<Option<Config>, Error> {
        Ok(self.context.storage.get_json(&config_key(name)).await?)
    }

    async fn write_config(&self, name: &str, request: &Request) -> Reply {
        let _configs = self.configs.lock().await;
        let has_password = request.fields().has("password");
        if !has_password {
            // The write keeps the stored password: it must be known which of the two that is.
            self.finish_rotation(name).await?;
        }
        let old = self.config(name).await?;
        let Written { config, verify, warnings } = Config::written(&self.context, old, request)?;
        let connector = Connector::new(&config).map_err(refused_by)?;
        let template = config.username_template().map_err(refused_by)?;
        template.generate(&self.context, "token", "role").map_err(refused_by)?;
        if verify {
            let opened = connector.open().await;
            opened.map_err(|error| refused(&format!("error verifying connection: {error}")))?;
        }
        let mut batch = Batch::new();
        self.context.storage.batch_json(&mut batch, &config_key(name), &config)?;
        if has_password {
            // Who brings the password knows better than a rotation that never came to its end.
            batch.delete(rotation_key(name));
        }
        self.context.storage.commit(batch).await?;
        self.servers.forget(name);
        Ok(Some(warnings.into_iter().fold(Response::default(), Response::warn)))
    }

    async fn delete_config(&self, name: &str) -> Reply {
        let _configs = self.configs.lock().await;
        let mut batch = Batch::new();
        batch.delete(config_key(name));
        batch.delete(rotation_key(name));
        self.context.storage.commit(batch).await?;
        self.servers.forget(name);
        Ok(None)
    }

    /// A connection as a config says now. A config that changes meanwhile is read again.
    async fn session(&self, name: &str) -> Result<(Arc<Server>, Object), Error> {
        const ATTEMPTS: usize = 3;
        let mut attempt = 1;
        loop {
            let config = self.config(name).await?.ok_or_else(|| no_config(name))?;
            let server =
                self.servers.get(name, &config).map_err(failed("unable to start transaction"))?;
            match server.session().await {
                Ok(session) => return Ok((server, session)),
                Err(DatabaseError::Closed) if attempt < ATTEMPTS => {}
                // Our own password, refused: a rotation was interrupted, or is under way.
                Err(error)
                    if attempt < ATTEMPTS
                        && error.denied()
                        && self.context.storage.get(&rotation_key(name)).await?.is_some() =>
                {
                    let _configs = self.configs.lock().await;
                    self.finish_rotation(name).await?;
                }
                Err(error) => return Err(failed("unable to start transaction")(error)),
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests;

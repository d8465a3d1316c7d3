//! The trait of everything that can be mounted.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_types::{Clock, Random, SecretString};
use serde_json::{Map, Value};

use crate::{Auth, Connection, Error, Event, Lease, MountInfo, Reply, Request, Response, Route};

/// What a backend is built from.
#[derive(Clone)]
pub struct Context {
    /// Its own corner of the store.
    pub storage: View,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Passwords as operators want them.
    pub passwords: Arc<dyn Passwords>,
    /// The mount as it is when the backend is built. Later tuning reaches it by each request.
    pub mount: Arc<MountInfo>,
}

/// Makes passwords by the policies that operators keep under `sys/policies/password`.
#[async_trait]
pub trait Passwords: Send + Sync + 'static {
    /// A password by the policy of that name. None: there is no such policy.
    ///
    /// # Errors
    /// The store's.
    async fn generate(&self, policy: &str) -> Result<Option<SecretString>, Error>;
}

/// Paths with rules of their own, relative to the mount. A trailing `*` matches any rest; a `+`
/// segment any one segment.
#[derive(Debug, Clone, Default)]
pub struct SpecialPaths {
    /// Served without a token: logins.
    pub unauthenticated: Vec<String>,
    /// Need the `sudo` capability as well.
    pub sudo: Vec<String>,
}

/// Everything that can be mounted: engines, login methods, and `sys/` itself.
///
/// Methods take `&self` and may run at the same time: what must not interleave, a backend locks.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Answers one request, already authorised.
    async fn handle(&self, request: &Request) -> Reply;

    /// Every path that is served, with its operations, fields and a line of help. The `OpenAPI`
    /// document, `?help=1` and `routes.txt`, the list of all routes that the tests hold every
    /// answer against, are made from it: a new path stands here too.
    fn routes(&self) -> &'static [Route] {
        &[]
    }

    /// Paths with rules of their own.
    fn special_paths(&self) -> SpecialPaths {
        SpecialPaths::default()
    }

    /// `path` as policies and the audit log know it, where the backend takes several spellings for
    /// the same thing: a rule about the role `prod` holds for `PROD`, too. None: as it is written.
    fn canonical(&self, _path: &str) -> Option<String> {
        None
    }

    /// Whether the target of a write exists, which makes it an update and not a create. None where
    /// the path knows no such difference: every write is an update.
    async fn exists(&self, _request: &Request) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    /// What a request that was answered with `response` has changed, for those who subscribed to
    /// changes. Asked after the commit, and only where somebody listens.
    fn event(&self, _request: &Request, _response: Option<&Response>) -> Option<Event> {
        None
    }

    /// Called once after the mount or the unseal, before any request: replays write-ahead records.
    async fn start(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Called about once a minute: rolls back what was left half done, tidies. Safe to repeat.
    async fn tick(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Prolongs what a lease stands for until `lease.expires_at`. Returns the lease's new
    /// `internal`, when it changed. 400 where this backend's leases cannot be renewed.
    async fn renew(&self, _lease: &Lease) -> Result<Option<Value>, Error> {
        Err(Error::UnsupportedOperation)
    }

    /// Undoes what a lease stands for. It may be repeated after a crash or a failure, so undoing
    /// what is undone already is a success.
    async fn revoke(&self, _lease: &Lease) -> Result<(), Error> {
        Ok(())
    }

    /// Who wants to log in, where the request is a login with a secret that could be guessed: after
    /// too many [`Error::Credentials`] the name may not try for a while.
    fn login_name(&self, _request: &Request) -> Option<String> {
        None
    }

    /// Whether a login made here may be renewed: the role still exists and still allows it. Returns
    /// the auth with the params that hold now. `connection` is whoever asks for the renewal.
    async fn renew_login(&self, auth: Auth, _connection: &Connection) -> Result<Auth, Error> {
        Ok(auth)
    }

    /// The role that a login with these fields asks for, where rate limits tell roles apart. Asked
    /// before the login is made, of anybody: it must be cheap, and says nothing to the client.
    async fn login_role(&self, data: &Map<String, Value>) -> Result<Option<String>, Error> {
        Ok(data.get("role").and_then(Value::as_str).map(str::to_lowercase))
    }

    /// Called before unmounting or sealing: closes connections. Stored state stays.
    async fn stop(&self) {}

    /// What `?help=1` says for `path`: of the whole backend where it is empty. The list of paths and
    /// the fields of each come from [`Backend::routes`].
    fn help(&self, _path: &str) -> Option<String> {
        None
    }
}

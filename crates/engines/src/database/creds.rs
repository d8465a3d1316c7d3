//! `creds/<role>`: users with a lease, their renewal and their end.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_logical::{Error, Lease, LeaseSpec, Reply, Request, Response, TokenKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::error::DatabaseError;
use super::journal::{Record, RecordId};
use super::passwords::verifier;
use super::role::Role;
use super::statements::{Values, expiration};
use super::{Database, failed, no_config, plain, user};

/// A user outlives its lease by this much, and less than the five seconds that an operator may
/// find surprising: the lease begins a moment after the user does.
const GRACE: Duration = Duration::from_secs(3);

/// What the lease of a user keeps. Enough to end the user when its role is gone.
#[derive(Debug, Serialize, Deserialize)]
struct Issued {
    username: String,
    role: String,
    db_name: String,
    #[serde(default)]
    revocation_statements: Vec<String>,
}

impl Database {
    /// Makes a user. The lease that comes of the answer settles the user's write-ahead record.
    pub(super) async fn issue(&self, role_name: &str, request: &Request) -> Reply {
        let Some(role) = self.role(role_name).await? else {
            return Err(Error::invalid(format!("unknown role: {role_name}")));
        };
        let config = self.config(&role.db_name).await?;
        let config = config.ok_or_else(|| no_config(&role.db_name))?;
        if !config.allows(role_name) {
            return Err(plain(format!("{role_name:?} is not an allowed role")));
        }
        if role.creation_statements.is_empty() {
            return Err(plain("empty creation statements"));
        }
        let display_name = request.caller.as_ref().map_or("", |caller| &caller.display_name);
        let template = config.username_template().map_err(failed("create user"))?;
        let username = template
            .generate(&self.context, display_name, role_name)
            .map_err(|error| failed("create user")(error.into()))?;
        let policies = [role.password_policy.as_str(), config.password_policy.as_str()];
        let password = self.new_password(&policies).await?;
        let verifier = verifier(&password).await?;
        let (ttl, max_ttl) = role.lives(&request.mount);
        let mut ends = self.context.clock.now() + ttl.min(max_ttl);
        if let Some(caller) =
            request.caller.as_ref().filter(|caller| caller.kind == TokenKind::Batch)
        {
            // Nothing is told when a batch token ends, so its leases end with it by time.
            ends = caller.expires_at.map_or(ends, |token_ends| token_ends.min(ends));
        }
        let ends = expiration(ends + GRACE);

        // From the check that the name is free until the end, no other request may take it.
        let Some(_name) = self.names.take(&role.db_name, &username) else {
            return Err(failed("create user")(DatabaseError::Exists(username)));
        };
        let (_, mut session) = self.session(&role.db_name).await?;
        // An existing role must not be recorded as ours: what is recorded may be dropped.
        if user::exists(&session, &username).await.map_err(failed("create user"))? {
            return Err(failed("create user")(DatabaseError::Exists(username)));
        }
        let record = Record {
            username: username.clone(),
            config: role.db_name.clone(),
            role: role_name.to_owned(),
            created_at: self.context.clock.now(),
        };
        let id = self.journal.begin(&self.context, &record).await?;
        let values = Values { name: &username, verifier: Some(&verifier), expiration: Some(&ends) };
        let created =
            user::run_locked(&mut session, Some(id.lock()), &role.creation_statements, &values);
        if let Err(error) = created.await {
            if error.changed_nothing() {
                self.journal.settle(&id).await?;
            }
            return Err(failed("failed to execute query")(error));
        }

        let issued = Issued {
            username: username.clone(),
            role: role_name.to_owned(),
            db_name: role.db_name,
            revocation_statements: role.revocation_statements,
        };
        let internal = serde_json::to_value(issued)
            .map_err(|error| Error::internal("write down what a lease is for", error))?;
        let mut response =
            Response::data(json!({ "username": username, "password": password.expose() }));
        response.lease = Some(LeaseSpec {
            ttl: Some(ttl),
            max_ttl: Some(max_ttl),
            renewable: true,
            internal,
            settles: self.journal.settlement(&id),
        });
        Ok(Some(response))
    }

    /// Lets the user log in until the lease's new end.
    pub(super) async fn prolong(&self, lease: &Lease) -> Result<Option<Value>, Error> {
        let issued = Issued::of(lease)?;
        let Some(role) = self.role(&issued.role).await? else {
            let problem = format!("could not find role with name {:?}", issued.role);
            return Err(Error::upstream("error during renew", problem));
        };
        let (_, mut session) = self.session(&issued.db_name).await?;
        let ends = expiration(lease.expires_at + GRACE);
        let values = Values { name: &issued.username, expiration: Some(&ends), verifier: None };
        let usual = ["ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'".to_owned()];
        let statements = match role.renew_statements.as_slice() {
            [] => &usual,
            statements => statements,
        };
        user::run(&mut session, statements, &values).await.map_err(failed("renew user"))?;
        Ok(None)
    }

    /// Ends the user of a lease.
    pub(super) async fn end(&self, lease: &Lease) -> Result<(), Error> {
        let issued = Issued::of(lease)?;
        let statements = match self.role(&issued.role).await? {
            Some(role) => role.revocation_statements,
            None => issued.revocation_statements,
        };
        let (server, mut session) = self.session(&issued.db_name).await?;
        let dropped = user::drop_user(&server, &mut session, &issued.username, &statements).await;
        dropped.map_err(failed("drop user"))
    }

    /// Drops the users that have a write-ahead record and will have no lease. One that cannot be
    /// dropped now is tried again at the next call, and does not keep the others.
    pub(super) async fn clean_up(&self) -> Result<(), Error> {
        let mut unreachable = HashSet::new();
        let mut result = Ok(());
        for (id, record) in self.journal.abandoned().await? {
            if unreachable.contains(&record.config) {
                continue;
            }
            if let Err(error) = self.clean_up_one(&id, &record).await {
                warn!(
                    username = %record.username,
                    config = %record.config,
                    created_at = %record.created_at,
                    "a user without a lease could not be dropped; it is tried again"
                );
                unreachable.insert(record.config);
                result = Err(error);
            }
        }
        result
    }

    async fn clean_up_one(&self, id: &RecordId, record: &Record) -> Result<(), Error> {
        let statements = self.role(&record.role).await?.map(|role| role.revocation_statements);
        let (server, mut session) = self.session(&record.config).await?;
        let work = async {
            user::await_end(&mut session, id.lock()).await?;
            let statements = statements.unwrap_or_default();
            user::drop_user(&server, &mut session, &record.username, &statements).await
        };
        work.await.map_err(failed("drop user"))?;
        self.journal.settle(id).await?;
        Ok(())
    }

    async fn role(&self, name: &str) -> Result<Option<Role>, Error> {
        Ok(self.context.storage.get_json(&super::role_key(name)).await?)
    }
}

impl Issued {
    fn of(lease: &Lease) -> Result<Self, Error> {
        serde_json::from_value(lease.internal.clone())
            .map_err(|error| Error::internal(format!("read what lease {} is for", lease.id), error))
    }
}

/// The names that are being given right now, by config.
#[derive(Default)]
pub(super) struct Names(Mutex<HashSet<(String, String)>>);

/// Keeps a name from being given twice at the same time.
pub(super) struct TakenName<'a> {
    names: &'a Names,
    name: (String, String),
}

impl Names {
    fn take(&self, config: &str, username: &str) -> Option<TakenName<'_>> {
        let name = (config.to_owned(), username.to_owned());
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.clone()).then_some(TakenName { names: self, name })
    }
}

impl Drop for TakenName<'_> {
    fn drop(&mut self) {
        self.names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

//! `static-creds/`, `rotate-role/`, and the changes that become due by themselves.
//!
//! | entry | holds |
//! |---|---|
//! | `static-role/<name>` | [`StaticRole`], with the password that the database knows |
//! | `static-rotation/<name>` | [`Begun`]: a change that may have happened |
//! | `static-due/<ms since 1970, 16 hex digits>-<name>` | nothing: what is due first sorts first |
//!
//! A new password is on disk before the server hears of it. If this process dies, or the
//! connection breaks before the answer, that record is due at once: the same password is set
//! again, and then stored. So a password that the database may know is never lost.

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, Weak};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Request};
use holdfast_types::{SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{info, warn};

use super::error::{DatabaseError, chain};
use super::passwords::verifier;
use super::statements::{Values, quote_identifier};
use super::static_role::StaticRole;
use super::{Database, no_config, plain, role_key, user};

/// How often the clock is looked at.
const BEAT: Duration = Duration::from_secs(1);
/// Changes read at once.
const PAGE: usize = 64;
/// Changes made side by side: a server that does not answer keeps few others waiting.
const WIDTH: usize = 8;
/// How long a reader waits for a change that is being made.
const PATIENCE: Duration = Duration::from_secs(5);

/// A change that was begun. What the database knows is this password, or the one before.
#[derive(Serialize, Deserialize)]
struct Begun {
    /// The role as it was then, with the new password.
    role: StaticRole,
    /// Whether the role is stored only with this change.
    is_new: bool,
    /// When it is looked at if nobody has ended it by then.
    due_at: Timestamp,
    failures: u32,
}

pub(super) fn static_role_key(name: &str) -> String {
    format!("static-role/{name}")
}

fn begun_key(name: &str) -> String {
    format!("static-rotation/{name}")
}

fn due_key(at: Timestamp, name: &str) -> String {
    format!("static-due/{:016x}-{name}", at.as_millisecond().max(0))
}

/// Why a password was not changed.
enum Failure {
    /// The database knows the old one still.
    Unchanged(Error),
    /// It may know either.
    Unknown(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Self::Unchanged(error) | Self::Unknown(error) => error,
        }
    }
}

impl Database {
    /// `static-roles/<name>`: a new role gets a new password at once.
    pub(super) async fn write_static_role(&self, name: &str, request: &Request) -> Reply {
        let _roles = self.role_locks.lock(name).await;
        if self.context.storage.get(&role_key(name)).await?.is_some() {
            return Err(Error::invalid("Role and Static Role names must be unique"));
        }
        let now = self.context.clock.now();
        let old = self.static_role(name).await?;
        let role = StaticRole::written(old.clone(), request, now)?;
        let Some(old) = old else {
            return match self.change(name, role, true).await {
                Ok(()) => Ok(None),
                Err(failure) => Err(failure.into_error()),
            };
        };
        let mut batch = Batch::new();
        batch.delete(due_key(old.due_at, name));
        self.put_static_role(&mut batch, name, &role)?;
        self.context.storage.commit(batch).await?;
        self.watch_for(role.due_at);
        Ok(None)
    }

    /// Forgets a static role. Its user keeps the password that it has.
    pub(super) async fn delete_static_role(&self, name: &str) -> Reply {
        let _roles = self.role_locks.lock(name).await;
        let mut batch = Batch::new();
        if let Some(role) = self.static_role(name).await? {
            batch.delete(due_key(role.due_at, name));
        }
        if let Some(begun) = self.begun(name).await? {
            batch.delete(due_key(begun.due_at, name));
        }
        batch.delete(static_role_key(name));
        batch.delete(begun_key(name));
        self.context.storage.commit(batch).await?;
        Ok(None)
    }

    /// `static-creds/<name>`. While a password is being changed, whoever reads it waits for the
    /// new one: what is handed out is what the database knew last.
    pub(super) async fn static_credentials(&self, name: &str) -> Reply {
        let _changing = timeout(PATIENCE, self.change_locks.lock(name)).await.ok();
        let Some(role) = self.static_role(name).await? else {
            return Err(Error::invalid(format!("unknown role: {name}")));
        };
        let config = self.config(&role.db_name).await?;
        let config = config.ok_or_else(|| no_config(&role.db_name))?;
        if !config.allows(name) {
            return Err(plain(format!("{name:?} is not an allowed role")));
        }
        Ok(Some(role.credentials(self.context.clock.now())))
    }

    /// `rotate-role/<name>`: changes the password now.
    pub(super) async fn rotate_role(&self, name: &str) -> Reply {
        let _roles = self.role_locks.lock(name).await;
        let Some(role) = self.static_role(name).await? else {
            return Err(Error::invalid("no static role found for role name"));
        };
        match self.change(name, role, false).await {
            Ok(()) => Ok(None),
            Err(failure) => {
                let error = failure.into_error();
                self.note_failure(name, &error).await?;
                Err(plain(format!(
                    "unable to finish rotating credentials; retries will continue in the \
                     background but it is also safe to retry manually: {}",
                    problem(&error)
                )))
            }
        }
    }

    /// The static role of that name, if there is one.
    pub(super) async fn static_role(&self, name: &str) -> Result<Option<StaticRole>, Error> {
        Ok(self.context.storage.get_json(&static_role_key(name)).await?)
    }

    async fn begun(&self, name: &str) -> Result<Option<Begun>, Error> {
        Ok(self.context.storage.get_json(&begun_key(name)).await?)
    }

    fn put_static_role(
        &self,
        batch: &mut Batch,
        name: &str,
        role: &StaticRole,
    ) -> Result<(), Error> {
        self.context.storage.batch_json(batch, &static_role_key(name), role)?;
        batch.put(due_key(role.due_at, name), Vec::new());
        Ok(())
    }

    /// Gives the user of `role` a new password, and stores the role with it. The caller holds the
    /// role's lock.
    async fn change(&self, name: &str, role: StaticRole, is_new: bool) -> Result<(), Failure> {
        let unchanged = |error: Error| Failure::Unchanged(error);
        let earlier = self.begun(name).await.map_err(unchanged)?.filter(|begun| {
            begun.role.username == role.username && begun.role.db_name == role.db_name
        });
        let config = self.config(&role.db_name).await.map_err(unchanged)?;
        let config = config.ok_or_else(|| unchanged(no_config(&role.db_name)))?;
        if !config.allows(name) {
            return Err(unchanged(plain(format!("{name:?} is not an allowed role"))));
        }
        let password = match &earlier {
            // The database may know it already.
            Some(begun) => begun.role.password.clone(),
            None => {
                let policies = [role.password_policy.as_str(), config.password_policy.as_str()];
                self.new_password(&policies).await.map_err(unchanged)?
            }
        };
        let verifier = verifier(&password).await.map_err(unchanged)?;
        // Before anything is recorded: a server that is away needs no record.
        let (server, mut session) = self.session(&role.db_name).await.map_err(unchanged)?;
        if role.username == server.user() {
            return Err(unchanged(Error::invalid(format!(
                "{:?} is the user that this config logs in as: its password is rotated by \
                 rotate-root",
                role.username
            ))));
        }
        let _changing = self.change_locks.lock(name).await;
        let begun_at = match &earlier {
            Some(begun) => begun.due_at,
            None => self.begin(name, &role, is_new, &password).await.map_err(unchanged)?,
        };
        let usual = [format!(
            "ALTER ROLE {} WITH PASSWORD '{{{{password}}}}'",
            quote_identifier(&role.username)
        )];
        let statements = match role.rotation_statements.as_slice() {
            [] => &usual,
            statements => statements,
        };
        let values = Values { name: &role.username, verifier: Some(&verifier), expiration: None };
        if let Err(error) = user::run(&mut session, statements, &values).await {
            let is_unchanged = error.changed_nothing() && earlier.is_none();
            if is_unchanged {
                let mut batch = Batch::new();
                batch.delete(begun_key(name));
                batch.delete(due_key(begun_at, name));
                let removed = self.context.storage.commit(batch).await;
                removed.map_err(|error| Failure::Unknown(error.into()))?;
            }
            let error = refused(&error);
            return Err(if is_unchanged { unchanged(error) } else { Failure::Unknown(error) });
        }
        let old_due = role.due_at;
        let role = role.rotated(password, self.context.clock.now());
        let mut batch = Batch::new();
        batch.delete(begun_key(name));
        batch.delete(due_key(begun_at, name));
        batch.delete(due_key(old_due, name));
        let store = async {
            self.put_static_role(&mut batch, name, &role)?;
            Ok(self.context.storage.commit(batch).await?)
        };
        store.await.map_err(Failure::Unknown)?;
        self.watch_for(role.due_at);
        info!(role = name, username = %role.username, next = %role.due_at, "password rotated");
        Ok(())
    }

    /// Writes down what is about to be done. Returns when that is looked at.
    async fn begin(
        &self,
        name: &str,
        role: &StaticRole,
        is_new: bool,
        password: &SecretString,
    ) -> Result<Timestamp, Error> {
        let due_at = self.context.clock.now();
        let role = StaticRole { password: password.clone(), ..role.clone() };
        let begun = Begun { role, is_new, due_at, failures: 0 };
        let mut batch = Batch::new();
        self.context.storage.batch_json(&mut batch, &begun_key(name), &begun)?;
        batch.put(due_key(due_at, name), Vec::new());
        self.context.storage.commit(batch).await?;
        self.watch_for(due_at);
        Ok(due_at)
    }

    /// Puts off what failed. The caller holds the role's lock.
    async fn note_failure(&self, name: &str, error: &Error) -> Result<(), Error> {
        let now = self.context.clock.now();
        let mut batch = Batch::new();
        let mut due_at = None;
        if let Some(role) = self.static_role(name).await? {
            batch.delete(due_key(role.due_at, name));
            let role = role.failed(problem(error), now);
            warn!(
                role = name,
                username = %role.username,
                config = %role.db_name,
                failures = role.failures,
                next = %role.due_at,
                error = %chain(error),
                "a static role's password could not be rotated; it is tried again"
            );
            self.put_static_role(&mut batch, name, &role)?;
            due_at = Some(role.due_at);
        }
        if let Some(mut begun) = self.begun(name).await? {
            batch.delete(due_key(begun.due_at, name));
            // A role that is there is what is tried; one that is still to come has its own count.
            begun.role.failures = begun.failures;
            begun.role = begun.role.failed(problem(error), now);
            begun.failures = begun.role.failures;
            begun.due_at = due_at.unwrap_or(begun.role.due_at);
            self.context.storage.batch_json(&mut batch, &begun_key(name), &begun)?;
            batch.put(due_key(begun.due_at, name), Vec::new());
            due_at = Some(begun.due_at);
        }
        self.context.storage.commit(batch).await?;
        if let Some(due_at) = due_at {
            self.watch_for(due_at);
        }
        Ok(())
    }

    /// Makes the changes that are due. One that fails is put off, and does not keep the others.
    pub(super) async fn rotate_due(&self) -> Result<(), Error> {
        // Set before the store is read: what becomes due from here on lowers it again.
        self.next_rotation.store(i64::MAX, Ordering::SeqCst);
        let mut result;
        loop {
            let now = self.context.clock.now();
            let due = self.due(now).await?;
            let count = due.len();
            let rotate = |(key, name): (String, String)| async move {
                self.rotate_if_due(&key, &name).await
            };
            let done: Vec<_> =
                stream::iter(due).map(rotate).buffer_unordered(WIDTH).collect().await;
            // What could not even be put off.
            result = done.into_iter().find(Result::is_err).unwrap_or(Ok(()));
            if count < PAGE || result.is_err() {
                break;
            }
        }
        let first = self.context.storage.list_page("static-due/", None, Some(1)).await?;
        if let Some((first, _)) = first.first().and_then(|key| key.split_once('-')) {
            let at = i64::from_str_radix(first, 16).unwrap_or(i64::MIN);
            self.next_rotation.fetch_min(at, Ordering::SeqCst);
        }
        result
    }

    /// The keys that are due at `now`, and the roles that they name.
    async fn due(&self, now: Timestamp) -> Result<Vec<(String, String)>, Error> {
        let bound = format!("{:016x}", now.as_millisecond().max(0));
        let keys = self.context.storage.list_page("static-due/", None, Some(PAGE)).await?;
        let due = keys.into_iter().filter_map(|key| {
            let (at, name) = key.split_once('-')?;
            (*at <= *bound).then(|| (format!("static-due/{key}"), name.to_owned()))
        });
        Ok(due.collect())
    }

    async fn rotate_if_due(&self, key: &str, name: &str) -> Result<(), Error> {
        let _roles = self.role_locks.lock(name).await;
        let now = self.context.clock.now();
        let (role, begun) = (self.static_role(name).await?, self.begun(name).await?);
        let is_live = role.as_ref().is_some_and(|role| due_key(role.due_at, name) == key)
            || begun.as_ref().is_some_and(|begun| due_key(begun.due_at, name) == key);
        if !is_live {
            // Of a time that was changed since.
            return Ok(self.context.storage.delete(key).await?);
        }
        let is_begun = begun.as_ref().is_some_and(|begun| begun.due_at <= now);
        let (role, is_new) = match (role, begun) {
            (Some(role), _) if is_begun => (role, false),
            (Some(role), _) if role.due_at > now => return Ok(()),
            (Some(role), _) if role.is_missed(now) => {
                let (from, role) = (role.due_at, role.skipped(now));
                warn!(role = name, next = %role.due_at, "the window to rotate a password is over");
                let mut batch = Batch::new();
                batch.delete(due_key(from, name));
                self.put_static_role(&mut batch, name, &role)?;
                return Ok(self.context.storage.commit(batch).await?);
            }
            (Some(role), _) => (role, false),
            (None, Some(begun)) if is_begun && begun.is_new => (begun.role, true),
            _ => return Ok(()),
        };
        match self.change(name, role, is_new).await {
            Ok(()) => Ok(()),
            Err(failure) => self.note_failure(name, &failure.into_error()).await,
        }
    }

    /// Notes that something is due at `at`, and sees that somebody watches for it.
    pub(super) fn watch_for(&self, at: Timestamp) {
        self.next_rotation.fetch_min(at.as_millisecond(), Ordering::SeqCst);
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if watcher.is_none() {
            let (stop, stopped) = watch::channel(());
            *watcher =
                Some(Watcher { stop, task: tokio::spawn(beat(self.myself.clone(), stopped)) });
        }
    }

    /// Ends the watch. A change that is being made comes to its end, if it does so soon.
    pub(super) async fn stop_watching(&self) {
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Watcher { stop, mut task }) = watcher else { return };
        drop(stop);
        if timeout(PATIENCE, &mut task).await.is_err() {
            task.abort();
        }
    }

    /// Whether any change waits for its time.
    pub(super) async fn has_rotations(&self) -> Result<bool, Error> {
        Ok(!self.context.storage.list_page("static-due/", None, Some(1)).await?.is_empty())
    }
}

/// The task that makes changes when they are due.
pub(super) struct Watcher {
    /// Ends the task when it is dropped.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

/// Compares the clock with what is due first, until the mount stops or is gone.
async fn beat(database: Weak<Database>, mut stopped: watch::Receiver<()>) {
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            _ = tick.tick() => {}
        }
        let Some(database) = database.upgrade() else { return };
        let now = database.context.clock.now().as_millisecond();
        if database.next_rotation.load(Ordering::SeqCst) > now {
            continue;
        }
        if let Err(error) = database.rotate_due().await {
            database.next_rotation.store(i64::MIN, Ordering::SeqCst);
            warn!(error = %chain(&error), "rotate static roles");
        }
    }
}

/// What is wrong, in a line: without the layout that OpenBao gives to errors.
fn problem(error: &Error) -> String {
    let text = chain(error).replace("1 error occurred:\n\t* ", "");
    text.trim_end().to_owned()
}

/// A refusal of the database's, as OpenBao words one.
fn refused(error: &DatabaseError) -> Error {
    plain(format!(
        "error setting credentials: 1 error occurred:\n\t* failed to execute query: {error}\n\n"
    ))
}

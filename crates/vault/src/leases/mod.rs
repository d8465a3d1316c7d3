//! Leases: what must be undone, and when.
//!
//! Under `sys/lease/`:
//!
//! | key | value |
//! |---|---|
//! | `id/<lease id>` | [`Stored`] |
//! | `due/<ms since 1970, 16 hex digits>-<hash of the id>` | the lease id |
//! | `owner/<token's hash>/<hash of the id>` | the lease id |
//! | `given-up/<hash of the id>` | the lease id |
//!
//! The store itself is the queue: what is due first sorts first under `due/`. So nothing is loaded
//! at start, a crash loses nothing, and a hundred thousand leases cost no memory. In memory is only
//! the time of the first one, a hint that saves reading the store every second.
//!
//! Times are wall-clock times, compared with the clock at least once a second: a clock that jumps,
//! or a machine that slept, makes leases due at once.

mod paths;
mod reaper;
mod record;
mod renew;
mod revoke;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use holdfast_barrier::{Batch, EntryError, View};
use holdfast_logical::{Error, LeaseSpec, MountInfo};
use holdfast_types::{Clock, Random, Timestamp};
use tokio::sync::{Mutex, MutexGuard, Notify};

pub(crate) use self::paths::handle;
#[cfg(test)]
pub(crate) use self::reaper::revoke_all_due;
pub(crate) use self::reaper::run;
pub(crate) use self::record::{LeaseRecord, Stored};
use self::record::{due_key, due_prefix, given_up_key, id_key, owner_key};
pub(crate) use self::revoke::{OnFailure, revoke_lease, revoke_prefix};
use crate::core::vault::Vault;
use crate::tokens::params::{LifeRequest, after, grant_life};
use crate::tokens::{TokenHash, revoke_tree};

/// Many, because one is held for as long as a backend takes to revoke.
const STRIPES: usize = 1024;
/// Leases changed side by side, so that the store can join their commits.
const WIDTH: usize = 32;

/// All leases.
pub(crate) struct Leases {
    root: View,
    store: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    locks: Vec<Mutex<()>>,
    /// Nothing is due before this, in milliseconds since 1970.
    next_due: AtomicI64,
    wake: Notify,
}

/// Tries once more to revoke what was given up, and removes keys that lead nowhere.
async fn tidy(vault: &Arc<Vault>) -> Result<(), EntryError> {
    for (id, _) in vault.leases.given_up().await? {
        // Its failures are written down and logged there.
        let _ = revoke_lease(vault, &id, OnFailure::Retry).await;
    }
    let now = vault.clock.now();
    for owner in vault.leases.store.list("owner/").await? {
        for name in vault.leases.store.list(&format!("owner/{owner}")).await? {
            let key = format!("owner/{owner}{name}");
            let Some(id) = vault.leases.text(&key).await? else { continue };
            if vault.leases.read(&id).await?.is_none() {
                vault.leases.store.delete(&key).await?;
            }
        }
    }
    vault.leases.hint(now);
    Ok(())
}

/// A lease that was just made.
#[derive(Debug, Clone)]
pub(crate) struct NewLease {
    pub id: String,
    pub record: LeaseRecord,
    pub warning: Option<String>,
}

impl Leases {
    pub(crate) fn new(root: &View, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            root: root.clone(),
            store: root.sub("sys/lease/"),
            clock,
            random,
            locks: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            next_due: AtomicI64::new(i64::MIN),
            wake: Notify::new(),
        }
    }

    /// Writes a batch with full keys.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        self.root.commit(batch).await
    }

    /// What a lease asked for by `spec` at `path` would be. `owner` is the token that it dies
    /// with; `ends_by` bounds it further, and its renewals.
    ///
    /// # Errors
    /// The mount's limit is zero.
    pub(crate) fn plan(
        &self,
        path: &str,
        mount: &MountInfo,
        spec: &LeaseSpec,
        owner: Option<TokenHash>,
        ends_by: Option<Timestamp>,
    ) -> Result<NewLease, Error> {
        let now = self.clock.now();
        let granted = grant_life(&LifeRequest {
            ttl: spec.ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(mount.default_ttl),
            mount_max: mount.max_ttl,
            role_max: spec.max_ttl.unwrap_or_default(),
            ..LifeRequest::default()
        })?;
        let end = after(now, granted.ttl);
        let expires_at = ends_by.map_or(end, |bound| bound.min(end));
        let ttl = Duration::try_from(expires_at.duration_since(now)).unwrap_or_default();
        let record = LeaseRecord {
            owner,
            issued_at: now,
            expires_at,
            due_at: expires_at,
            ttl,
            max_ttl: spec.max_ttl.unwrap_or_default(),
            ends_by,
            renewable: spec.renewable,
            last_renewal: None,
            internal: spec.internal.clone(),
            failures: 0,
            given_up: None,
        };
        let id = format!("{path}/{}", self.random.base62(24));
        Ok(NewLease { id, record, warning: granted.warning })
    }

    /// Writes a planned lease, with `settles` (full keys) in the same commit.
    pub(crate) async fn create(&self, lease: &NewLease, settles: Batch) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        let stored = Stored::Secret(lease.record.clone());
        self.store.batch_json(&mut batch, &id_key(&lease.id), &stored)?;
        batch.put(due_key(&lease.id, lease.record.due_at), lease.id.clone().into_bytes());
        if let Some(owner) = lease.record.owner {
            batch.put(owner_key(owner, &lease.id), lease.id.clone().into_bytes());
        }
        let mut batch = self.store.absolute(batch);
        batch.append(settles);
        self.commit(batch).await?;
        self.hint(lease.record.due_at);
        Ok(())
    }

    /// Adds to `batch` (full keys) what makes a token's life end.
    pub(crate) fn add_token(
        &self,
        batch: &mut Batch,
        id: &str,
        hash: TokenHash,
        expires_at: Timestamp,
    ) -> Result<(), EntryError> {
        let mut own = Batch::new();
        self.store.batch_json(&mut own, &id_key(id), &Stored::Token(hash))?;
        own.put(due_key(id, expires_at), id.to_owned().into_bytes());
        batch.append(self.store.absolute(own));
        self.hint(expires_at);
        Ok(())
    }

    /// Adds to `batch` (full keys) what forgets a token's life.
    pub(crate) fn remove_token(&self, batch: &mut Batch, id: &str, expires_at: Timestamp) {
        let mut own = Batch::new();
        own.delete(id_key(id));
        own.delete(due_key(id, expires_at));
        batch.append(self.store.absolute(own));
    }

    /// Adds to `batch` (full keys) a change of when the lease `id` is looked at.
    pub(crate) fn move_due(&self, batch: &mut Batch, id: &str, from: Timestamp, to: Timestamp) {
        let mut own = Batch::new();
        own.delete(due_key(id, from));
        own.put(due_key(id, to), id.to_owned().into_bytes());
        batch.append(self.store.absolute(own));
        self.hint(to);
    }

    /// Makes all leases of a token due now.
    pub(crate) async fn expire_owned(&self, owner: TokenHash) -> Result<(), EntryError> {
        let folder = format!("owner/{owner}/");
        let names = self.store.list(&folder).await?;
        let expire = |name: String| {
            let key = format!("{folder}{name}");
            async move {
                match self.text(&key).await? {
                    Some(id) => self.expire(&id).await,
                    None => Ok(()),
                }
            }
        };
        let done: Vec<_> = stream::iter(names).map(expire).buffer_unordered(WIDTH).collect().await;
        done.into_iter().collect()
    }

    /// Makes a lease due now. One that is not there is no error.
    pub(crate) async fn expire(&self, id: &str) -> Result<(), EntryError> {
        let _lock = self.lock(id).await;
        let Some(Stored::Secret(mut record)) = self.read(id).await? else { return Ok(()) };
        let now = self.clock.now();
        if record.due_at <= now {
            self.hint(now);
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.delete(due_key(id, record.due_at));
        record.expires_at = record.expires_at.min(now);
        record.due_at = now;
        if record.given_up.is_none() {
            batch.put(due_key(id, now), id.to_owned().into_bytes());
        }
        self.store.batch_json(&mut batch, &id_key(id), &Stored::Secret(record))?;
        self.store.commit(batch).await?;
        self.hint(now);
        Ok(())
    }

    /// Keys and ids of leases that are due at `now`, the first ones first, at most `limit`.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<(String, String)>, EntryError> {
        let bound = due_prefix(now);
        let names = self.store.list_page("due/", None, Some(limit)).await?;
        let mut ids = Vec::new();
        for name in &names {
            let key = format!("due/{name}");
            // `-` sorts below hex digits: a key of this very millisecond has the bound as prefix.
            if key[..bound.len().min(key.len())] > *bound {
                break;
            }
            match self.text(&key).await? {
                Some(id) => ids.push((key, id)),
                None => self.store.delete(&key).await?,
            }
        }
        Ok(ids)
    }

    /// Forgets a key under `due/` that nothing points back to: an older state of the lease left it.
    async fn forget_due(&self, key: &str) -> Result<(), EntryError> {
        self.store.delete(key).await
    }

    /// Forgets what is left of a token that is no more.
    async fn forget_token(&self, id: &str, key: &str) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        batch.delete(id_key(id));
        batch.delete(key);
        self.store.commit(batch).await
    }

    /// When the first lease is due. None: there is none.
    async fn first_due(&self) -> Result<Option<i64>, EntryError> {
        let names = self.store.list_page("due/", None, Some(1)).await?;
        let first = names.first().and_then(|name| name.split('-').next());
        Ok(first.and_then(|hex| i64::from_str_radix(hex, 16).ok()))
    }

    /// The names one level below `prefix`, which is empty or ends in `/`.
    pub(crate) async fn names(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.store.list(&id_key(prefix)).await
    }

    /// Makes a lease due now, or revokes the token that it stands for.
    pub(crate) async fn expire_any(&self, vault: &Vault, id: &str) -> Result<(), Error> {
        match self.read(id).await? {
            Some(Stored::Token(hash)) => revoke_tree(vault, hash).await,
            Some(Stored::Secret(_)) => Ok(self.expire(id).await?),
            None => Ok(()),
        }
    }

    /// What is stored of the lease `id`.
    pub(crate) async fn read(&self, id: &str) -> Result<Option<Stored>, EntryError> {
        self.store.get_json(&id_key(id)).await
    }

    /// All lease ids below `prefix`, which is empty or ends in `/`.
    pub(crate) async fn ids_below(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        let below = self.store.scan(&id_key(prefix)).await?;
        Ok(below.into_iter().map(|rest| format!("{prefix}{rest}")).collect())
    }

    /// How many leases will end by themselves, tokens' lives among them. It reads all their keys,
    /// a page at a time: for a monitor once a minute, not for a request.
    pub(crate) async fn count(&self) -> Result<usize, EntryError> {
        const PAGE: usize = 1_000;
        let (mut count, mut last) = (0, None);
        loop {
            let page = self.store.list_page("due/", last.as_deref(), Some(PAGE)).await?;
            count += page.len();
            if page.len() < PAGE {
                return Ok(count);
            }
            last = page.last().cloned();
        }
    }

    /// Ids of the leases whose revocation was given up, with why.
    pub(crate) async fn given_up(&self) -> Result<Vec<(String, String)>, EntryError> {
        let mut found = Vec::new();
        for name in self.store.list("given-up/").await? {
            let Some(id) = self.text(&format!("given-up/{name}")).await? else { continue };
            if let Some(Stored::Secret(record)) = self.read(&id).await? {
                found.push((id, record.given_up.unwrap_or_default()));
            }
        }
        Ok(found)
    }

    /// Writes the changed record of a lease, whose record was `old`.
    async fn write(
        &self,
        id: &str,
        old: &LeaseRecord,
        new: &LeaseRecord,
        mut settles: Batch,
    ) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        batch.delete(due_key(id, old.due_at));
        match &new.given_up {
            None => {
                batch.put(due_key(id, new.due_at), id.to_owned().into_bytes());
                if old.given_up.is_some() {
                    batch.delete(given_up_key(id));
                }
            }
            Some(_) => batch.put(given_up_key(id), id.to_owned().into_bytes()),
        }
        self.store.batch_json(&mut batch, &id_key(id), &Stored::Secret(new.clone()))?;
        let mut batch = self.store.absolute(batch);
        batch.append(std::mem::take(&mut settles));
        self.commit(batch).await?;
        self.hint(new.due_at);
        Ok(())
    }

    /// Forgets a lease that was revoked.
    async fn remove(&self, id: &str, record: &LeaseRecord) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        batch.delete(id_key(id));
        batch.delete(due_key(id, record.due_at));
        if let Some(owner) = record.owner {
            batch.delete(owner_key(owner, id));
        }
        if record.given_up.is_some() {
            batch.delete(given_up_key(id));
        }
        self.store.commit(batch).await
    }

    async fn text(&self, key: &str) -> Result<Option<String>, EntryError> {
        let bytes = self.store.get(key).await?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()))
    }

    async fn lock(&self, id: &str) -> MutexGuard<'_, ()> {
        let sum = id.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
        self.locks[sum % STRIPES].lock().await
    }

    /// Notes that something is due at `at`.
    fn hint(&self, at: Timestamp) {
        let at = at.as_millisecond();
        if self.next_due.fetch_min(at, Ordering::SeqCst) > at {
            self.wake.notify_one();
        }
    }
}

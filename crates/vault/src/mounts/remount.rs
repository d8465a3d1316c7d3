//! Moving a mount to another path.
//!
//! A mount's storage is named by its id and stays where it is. What has the path in its name is the
//! leases and the tokens that logins made: as in OpenBao they are revoked, so that nothing is left
//! that no mount would undo. Policies stay as they are: they are about paths, not mounts.
//!
//! It begins with a mark in the table, after which the mount serves nothing and nobody can take the
//! new path. Then requests under way end, leases are revoked, and the row is written anew. What a
//! crash broke off goes on at the next start; where a lease cannot be revoked, the mark is taken
//! away and the mount serves at its old place.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use holdfast_logical::Error;
use tracing::{info, warn};

use super::{Mount, MountClass, Mounts};
use crate::core::answer::{Chain, failure_text};
use crate::core::vault::Vault;
use crate::leases::{OnFailure, revoke_prefix};

/// Places that no engine is moved from or to.
const PROTECTED: [&str; 4] = ["auth/", "sys/", "cubbyhole/", "identity/"];
/// Moves whose outcome is remembered.
const REMEMBERED: usize = 256;
/// How long requests under way may take to end.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a request waits for the move that it began, so that a quick one is over.
const GRACE: Duration = Duration::from_millis(500);

/// A move and how far it has come.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub id: String,
    pub from: String,
    pub to: String,
    /// `in-progress`, `success` or `failure`.
    pub status: &'static str,
}

/// What is remembered of moves, the newest last.
#[derive(Default)]
pub(super) struct Moves {
    log: std::sync::Mutex<VecDeque<Move>>,
    /// Held while one is carried out.
    running: tokio::sync::Mutex<()>,
}

impl Mounts {
    /// What is known of the move `id`.
    pub(crate) fn moved(&self, id: &str) -> Option<Move> {
        self.moves.lock().iter().find(|known| known.id == id).cloned()
    }
}

impl Moves {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Move>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: &str, status: &'static str) {
        if let Some(known) = self.lock().iter_mut().find(|known| known.id == id) {
            known.status = status;
        }
    }
}

/// Begins to move the mount at `from` to `to`: full paths, with or without slashes at their ends.
/// Returns the id of the move, which goes on by itself.
///
/// # Errors
/// 400 in OpenBao's words; nothing has changed then.
pub(crate) async fn remount(vault: &Arc<Vault>, from: &str, to: &str) -> Result<String, Error> {
    if from.is_empty() || to.is_empty() {
        return Err(Error::invalid("both 'from' and 'to' path must be specified as a string"));
    }
    for (name, path) in [("from", from), ("to", to)] {
        if path.ends_with(char::is_whitespace) {
            return Err(Error::invalid(format!(
                "'{name}' path cannot contain trailing whitespace"
            )));
        }
    }
    let (from, to) = (folder(from), folder(to));
    check(&from, &to)?;
    let mounts = &vault.mounts;
    let before = {
        let _change = mounts.change.lock().await;
        let mut router = mounts.router.load().as_ref().clone();
        let found = router.at(&from).filter(|mount| mount.entry.serves()).cloned();
        let no_mount = || Error::invalid(format!("no matching mount at \"{from}\""));
        let before = found.ok_or_else(no_mount)?;
        if let Some(other) = router.conflict(&to) {
            let at = other.entry.prefix();
            return Err(Error::invalid(format!("path already in use at \"{at}\"")));
        }
        let mut entry = before.entry.clone();
        entry.moving_to = Some(to.clone());
        router.insert(Arc::new(before.with_entry(entry, mounts.limits)));
        mounts.publish(router).await?;
        before
    };
    let id = vault.random.uuid();
    {
        let mut log = mounts.moves.lock();
        if log.len() >= REMEMBERED {
            log.pop_front();
        }
        let status = "in-progress";
        log.push_back(Move { id: id.clone(), from: from.clone(), to, status });
    }
    let (vault, own) = (vault.clone(), id.clone());
    let work = tokio::spawn(async move {
        let done = carry_out(&vault, &from, Some(before)).await;
        let status = if done.is_ok() { "success" } else { "failure" };
        vault.mounts.moves.note(&own, status);
        if let Err(error) = done {
            warn!(migration_id = own, mount = from, error = %Chain(&error), "move a mount");
        }
    });
    let _ = tokio::time::timeout(GRACE, work).await;
    Ok(id)
}

/// Goes on with moves that a crash broke off.
pub(crate) async fn finish_moves(vault: &Vault) {
    let router = vault.mounts.router.load_full();
    for mount in router.all().filter(|mount| mount.entry.moving_to.is_some()) {
        let from = mount.entry.prefix();
        if let Err(error) = carry_out(vault, &from, None).await {
            warn!(mount = from, error = %Chain(&error), "go on moving a mount");
        }
    }
}

fn check(from: &str, to: &str) -> Result<(), Error> {
    let is_protected = |path: &str| PROTECTED.iter().any(|place| path.starts_with(place));
    if from.starts_with("auth/") {
        if !to.starts_with("auth/") {
            let words = format!("cannot remount auth mount to non-auth mount \"{to}\"");
            return Err(Error::invalid(words));
        }
        if from == "auth/token/" {
            return Err(Error::invalid(format!("cannot remount \"{from}\"")));
        }
        if to == "auth/" || to.starts_with("auth/token/") {
            return Err(Error::invalid(format!("cannot remount to destination {to}")));
        }
        return Ok(());
    }
    if is_protected(from) {
        return Err(Error::invalid(format!("cannot remount \"{from}\"")));
    }
    if is_protected(to) {
        return Err(Error::invalid(format!("cannot remount to destination {to}")));
    }
    Ok(())
}

/// `path` without slashes before it and with one behind.
fn folder(path: &str) -> String {
    format!("{}/", path.trim_matches('/'))
}

async fn carry_out(vault: &Vault, from: &str, before: Option<Arc<Mount>>) -> Result<(), Error> {
    let mounts = &vault.mounts;
    let _running = mounts.moves.running.lock().await;
    let marked = mounts.router.load().at(from).cloned();
    let Some((marked, to)) =
        marked.and_then(|mount| mount.entry.moving_to.clone().map(|to| (mount, to)))
    else {
        return Ok(());
    };
    let ready = match before {
        Some(before) => requests_end(before).await,
        None => Ok(()),
    };
    let revoked = match ready {
        Ok(()) => revoke_prefix(vault, from, OnFailure::Retry).await,
        late => late,
    };
    let mut entry = marked.entry.clone();
    entry.moving_to = None;
    if revoked.is_ok() {
        vault.quotas.follow(from, &to).await?;
        entry.path = match entry.class {
            MountClass::Secret => to.clone(),
            MountClass::Auth => to.trim_start_matches("auth/").to_owned(),
        };
    }
    let _change = mounts.change.lock().await;
    let mut router = mounts.router.load().as_ref().clone();
    if router.at(from).is_none_or(|found| found.entry.uuid != entry.uuid) {
        return Ok(());
    }
    router.remove(from);
    router.insert(Arc::new(marked.with_entry(entry, mounts.limits)));
    mounts.publish(router).await?;
    match revoked {
        Ok(()) => {
            info!(mount = from, to, "mount moved");
            Ok(())
        }
        Err(error) => Err(Error::invalid(format!(
            "failed to revoke leases of \"{from}\": {}",
            failure_text(&error)
        ))),
    }
}

/// Waits until no request holds the mount as it was: one could make a lease that nobody would find.
async fn requests_end(before: Arc<Mount>) -> Result<(), Error> {
    let wait = async {
        while Arc::strong_count(&before) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, wait).await;
    ended.map_err(|late| Error::internal("wait for the requests of a mount", late))
}

#[cfg(test)]
mod tests;

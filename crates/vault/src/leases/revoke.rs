//! Undoing what a lease stands for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use holdfast_barrier::Batch;
use holdfast_logical::{Error, Lease};
use holdfast_types::Random;
use tracing::{error, info, warn};

use super::reaper::WIDTH;
use super::record::{LeaseRecord, Stored, due_key};
use crate::core::answer::{Chain, failure_text};
use crate::core::vault::Vault;
use crate::tokens::params::after;
use crate::tokens::revoke_tree;

/// After so many failures a lease is given up: irrevocable, and shown as such.
pub(super) const MAX_FAILURES: u32 = 6;
/// The wait after the first failure; doubled with each.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest that a backend may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// What happens to a lease that its backend does not revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// It is tried again later.
    Retry,
    /// It is forgotten: an operator said so.
    Forget,
}

/// Revokes the lease `id` now. One that is not there is no error.
///
/// # Errors
/// The backend's; the lease is then due again later.
pub(crate) async fn revoke_lease(
    vault: &Vault,
    id: &str,
    on_failure: OnFailure,
) -> Result<(), Error> {
    let lock = vault.leases.lock(id).await;
    match vault.leases.read(id).await? {
        None => Ok(()),
        Some(Stored::Token(hash)) => {
            drop(lock);
            revoke_tree(vault, hash).await
        }
        Some(Stored::Secret(record)) => revoke_secret(vault, id, &record, on_failure).await,
    }
}

/// Revokes all leases below `prefix`, which ends in `/`.
///
/// # Errors
/// The first backend's error, after all were tried.
pub(crate) async fn revoke_prefix(
    vault: &Vault,
    prefix: &str,
    on_failure: OnFailure,
) -> Result<(), Error> {
    let ids = vault.leases.ids_below(prefix).await?;
    let revoke = |id: String| async move { revoke_lease(vault, &id, on_failure).await };
    let done: Vec<_> = stream::iter(ids).map(revoke).buffer_unordered(WIDTH).collect().await;
    done.into_iter().collect()
}

/// Revokes the lease `id`, found due at `key`, if it still is.
pub(super) async fn revoke_due(vault: &Arc<Vault>, key: String, id: String) {
    if let Err(error) = try_revoke_due(vault, &key, &id).await {
        warn!(lease = id, error = %Chain(&error), "revoke a lease that is due");
    }
}

async fn try_revoke_due(vault: &Vault, key: &str, id: &str) -> Result<(), Error> {
    let leases = &vault.leases;
    let now = vault.clock.now();
    let lock = leases.lock(id).await;
    match leases.read(id).await? {
        Some(Stored::Token(hash)) => {
            drop(lock);
            match vault.tokens.ends_at(hash).await? {
                Some(end) if end > now && due_key(id, end) != key => leases.forget_due(key).await?,
                Some(end) if end > now => {}
                // It has ended, or what is left of it is a note that it did.
                Some(_) => return revoke_tree(vault, hash).await,
                None => leases.forget_token(id, key).await?,
            }
        }
        Some(Stored::Secret(record)) => {
            let is_this = record.given_up.is_none() && due_key(id, record.due_at) == key;
            if !is_this {
                leases.forget_due(key).await?;
            } else if record.due_at <= now {
                // Its failures are written down and logged there.
                let _ = revoke_secret(vault, id, &record, OnFailure::Retry).await;
            }
        }
        None => leases.forget_due(key).await?,
    }
    Ok(())
}

async fn revoke_secret(
    vault: &Vault,
    id: &str,
    record: &LeaseRecord,
    on_failure: OnFailure,
) -> Result<(), Error> {
    let revoked = match vault.mounts.of_lease(id) {
        // Its mount is gone, and with it what would undo it.
        None => Ok(()),
        Some((mount, path)) => match mount.backend() {
            None => Ok(()),
            Some(backend) => {
                let lease = to_backend(id, &path, record);
                let patience = tokio::time::timeout(PATIENCE, backend.revoke(&lease)).await;
                patience.unwrap_or_else(|elapsed| Err(Error::internal("revoke a lease", elapsed)))
            }
        },
    };
    match revoked {
        Ok(()) => {
            vault.leases.remove(id, record).await?;
            info!(lease = id, "lease revoked");
            if let Some((mount, path)) = vault.mounts.of_lease(id) {
                vault.events.lease("lease/revoke", &mount.info, &path, id);
            }
            Ok(())
        }
        Err(failed) if on_failure == OnFailure::Forget => {
            warn!(lease = id, error = %Chain(&failed), "lease forgotten, though not revoked");
            vault.leases.remove(id, record).await?;
            Ok(())
        }
        Err(failed) => {
            note_failure(vault, id, record, &failed).await?;
            Err(failed)
        }
    }
}

/// Writes down that revoking has failed, and when it is tried again.
async fn note_failure(
    vault: &Vault,
    id: &str,
    record: &LeaseRecord,
    failed: &Error,
) -> Result<(), Error> {
    let mut next = record.clone();
    next.failures += 1;
    let now = vault.clock.now();
    next.expires_at = next.expires_at.min(now);
    if next.failures >= MAX_FAILURES {
        next.given_up = Some(failure_text(failed));
        error!(lease = id, error = %Chain(failed), "lease is irrevocable");
    } else {
        next.due_at = after(now, wait(next.failures, &*vault.random));
        warn!(lease = id, failures = next.failures, error = %Chain(failed), "lease not revoked");
    }
    Ok(vault.leases.write(id, record, &next, Batch::new()).await?)
}

/// 10 s after the first failure, doubled with each, and up to half as much again by chance.
fn wait(failures: u32, random: &dyn Random) -> Duration {
    let mut byte = [0];
    random.fill(&mut byte);
    let base = FIRST_WAIT * 2_u32.saturating_pow(failures.saturating_sub(1).min(10));
    base + base.mul_f64(f64::from(byte[0]) / 512.0)
}

/// The lease as its backend sees it.
pub(super) fn to_backend(id: &str, path: &str, record: &LeaseRecord) -> Lease {
    Lease {
        id: id.to_owned(),
        path: path.to_owned(),
        internal: record.internal.clone(),
        issued_at: record.issued_at,
        expires_at: record.expires_at,
    }
}

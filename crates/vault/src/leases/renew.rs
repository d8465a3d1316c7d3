//! Prolonging a lease.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::Error;
use tracing::warn;

use super::record::Stored;
use super::revoke::to_backend;
use crate::core::answer::{Chain, LeaseAnswer};
use crate::core::vault::Vault;
use crate::tokens::params::{LifeRequest, after, grant_life, seconds_until};

/// A lease after its renewal.
pub(super) struct Renewed {
    pub lease: LeaseAnswer,
    pub warnings: Vec<String>,
}

/// Renews the lease `id` by `increment`, counted from now, or by what it was first given where
/// that is zero.
///
/// # Errors
/// 400 where there is no such lease, it cannot be renewed, or nothing is left of its longest life;
/// what its backend says.
pub(super) async fn renew_lease(
    vault: &Vault,
    id: &str,
    increment: Duration,
) -> Result<Renewed, Error> {
    let _lock = vault.leases.lock(id).await;
    let Some(Stored::Secret(record)) = vault.leases.read(id).await? else {
        return Err(Error::invalid("lease not found"));
    };
    let now = vault.clock.now();
    if record.expires_at <= now || record.given_up.is_some() {
        return Err(Error::invalid("lease expired"));
    }
    if !record.renewable {
        return Err(Error::invalid("lease is not renewable"));
    }
    let Some((mount, path)) = vault.mounts.of_lease(id) else {
        return Err(Error::invalid("lease not found"));
    };
    let age = Duration::try_from(now.duration_since(record.issued_at)).unwrap_or_default();
    let granted = grant_life(&LifeRequest {
        ttl: if increment.is_zero() { record.ttl } else { increment },
        mount_max: mount.info.max_ttl,
        role_max: record.max_ttl,
        age,
        ..LifeRequest::default()
    })?;
    let mut next = record.clone();
    let end = after(now, granted.ttl);
    next.expires_at = record.ends_by.map_or(end, |bound| bound.min(end));
    next.due_at = next.expires_at;
    next.last_renewal = Some(now);
    let backend = mount.backend().ok_or_else(|| Error::invalid("lease is not renewable"))?;
    let renewed = backend.renew(&to_backend(id, &path, &next)).await;
    if let Some(internal) = renewed.map_err(|error| refused(id, error))? {
        next.internal = internal;
    }
    vault.leases.write(id, &record, &next, Batch::new()).await?;
    vault.events.lease("lease/renew", &mount.info, &path, id);
    let seconds = seconds_until(next.expires_at, now);
    Ok(Renewed {
        lease: LeaseAnswer { id: id.to_owned(), renewable: true, seconds },
        warnings: granted.warning.into_iter().collect(),
    })
}

/// What the client reads of a backend's failure. As in OpenBao it is a 400, whatever failed.
fn refused(id: &str, failed: Error) -> Error {
    warn!(lease = id, error = %Chain(&failed), "lease not renewed");
    match failed {
        error @ Error::Entry(_) => error,
        Error::Internal { .. } => Error::invalid("failed to renew entry: internal error"),
        told => Error::invalid(format!("failed to renew entry: {}", Chain(&told))),
    }
}

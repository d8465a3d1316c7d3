//! Prolonging a lease.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::Error;

use super::record::Stored;
use super::revoke::to_backend;
use crate::core::answer::LeaseAnswer;
use crate::core::vault::Vault;
use crate::tokens::params::{LifeRequest, after, grant_life};

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
    next.expires_at = after(now, granted.ttl);
    next.due_at = next.expires_at;
    next.last_renewal = Some(now);
    let backend = mount.backend().ok_or_else(|| Error::invalid("lease is not renewable"))?;
    if let Some(internal) = backend.renew(&to_backend(id, &path, &next)).await? {
        next.internal = internal;
    }
    vault.leases.write(id, &record, &next, Batch::new()).await?;
    Ok(Renewed {
        lease: LeaseAnswer { id: id.to_owned(), renewable: true, seconds: granted.ttl.as_secs() },
        warnings: granted.warning.into_iter().collect(),
    })
}

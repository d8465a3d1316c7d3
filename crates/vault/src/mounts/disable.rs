//! Taking a mount away, with its leases and all that it stored.

use std::sync::Arc;

use holdfast_barrier::{Batch, View};
use holdfast_logical::Error;
use tracing::{info, warn};

use super::{Mount, MountClass};
use crate::core::answer::Chain;
use crate::core::vault::Vault;
use crate::leases::{OnFailure, revoke_prefix};

/// Entries removed in one commit.
const CHUNK: usize = 500;

/// Disables the mount of `class` at `path`, which ends in `/`. One that is not there is no error.
///
/// # Errors
/// 400 for the server's own mounts. A lease that its backend would not revoke: the mount serves
/// nothing then, but is still there, so that revoking can be tried again or forced.
pub(crate) async fn disable(vault: &Vault, class: MountClass, path: &str) -> Result<(), Error> {
    let refusal = match (class, path) {
        (MountClass::Auth, "token/") => Some("token credential backend cannot be disabled".into()),
        (MountClass::Secret, path)
            if ["sys/", "identity/", "cubbyhole/", "auth/"].iter().any(|p| path.starts_with(p)) =>
        {
            Some(format!("cannot unmount \"{path}\""))
        }
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Err(Error::invalid(refusal));
    }
    let mounts = &vault.mounts;
    let prefix = if class == MountClass::Auth { format!("auth/{path}") } else { path.to_owned() };
    let doomed = {
        let _change = mounts.change.lock().await;
        let router = mounts.router.load_full();
        let Some(mount) = router
            .at(&prefix)
            .filter(|mount| mount.entry.class == class && mount.entry.moving_to.is_none())
        else {
            return Ok(());
        };
        let mut entry = mount.entry.clone();
        entry.doomed = true;
        let doomed = Arc::new(mount.with_entry(entry, mounts.limits));
        let mut router = router.as_ref().clone();
        router.insert(doomed.clone());
        mounts.publish(router).await?;
        doomed
    };
    clear_away(vault, &doomed).await
}

/// Goes on with what a crash, or a lease that could not be revoked, broke off.
pub(crate) async fn finish_disabling(vault: &Vault) {
    let router = vault.mounts.router.load_full();
    for mount in router.all().filter(|mount| mount.entry.doomed) {
        if let Err(error) = clear_away(vault, mount).await {
            let path = mount.entry.prefix();
            warn!(mount = path, error = %Chain(&error), "finish disabling a mount");
        }
    }
}

async fn clear_away(vault: &Vault, mount: &Mount) -> Result<(), Error> {
    let prefix = mount.entry.prefix();
    revoke_prefix(vault, &prefix, OnFailure::Retry).await.map_err(|error| {
        warn!(mount = prefix, error = %Chain(&error), "revoke the leases of a mount");
        Error::invalid(format!(
            "failed to revoke leases of \"{prefix}\": {}",
            crate::core::answer::failure_text(&error)
        ))
    })?;
    if let Some(backend) = mount.backend() {
        backend.stop().await;
    }
    remove_all(&mount.view).await?;
    let _change = vault.mounts.change.lock().await;
    let mut router = vault.mounts.router.load().as_ref().clone();
    // Somebody else may have finished this, and something else be mounted here since.
    if router.at(&prefix).is_none_or(|found| found.entry.uuid != mount.entry.uuid) {
        return Ok(());
    }
    router.remove(&prefix);
    vault.mounts.publish(router).await?;
    info!(mount = prefix, "mount disabled");
    Ok(())
}

/// Removes everything that `view` sees.
async fn remove_all(view: &View) -> Result<(), Error> {
    let keys = view.scan("").await?;
    for chunk in keys.chunks(CHUNK) {
        let mut batch = Batch::new();
        for key in chunk {
            batch.delete(key.clone());
        }
        view.commit(batch).await?;
    }
    Ok(())
}

//! Renewing a token: a new end, counted from now, within what its mount and its maker allow.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::{Auth, Connection, Error, TokenKind};

use super::params::{LifeRequest, after, grant_life};
use super::{Token, TokenEntry};
use crate::core::answer::one_error;
use crate::core::vault::Vault;

/// A token after its renewal.
pub(crate) struct Renewed {
    pub entry: TokenEntry,
    pub warnings: Vec<String>,
}

/// Renews `token` by `increment`, or by what it was last given where that is zero. `connection` is
/// whoever asks for it.
///
/// # Errors
/// 400 where it cannot be renewed; what the login method that made it says.
pub(crate) async fn renew_token(
    vault: &Vault,
    token: &Token,
    increment: Duration,
    connection: &Connection,
) -> Result<Renewed, Error> {
    if token.entry.kind == TokenKind::Batch {
        return Err(Error::invalid("batch tokens cannot be renewed"));
    }
    if !token.entry.renewable || token.entry.expires_at.is_none() {
        return Err(Error::invalid("lease is not renewable"));
    }
    let limits = limits_now(vault, &token.entry, increment, connection).await?;

    let tokens = &vault.tokens;
    let _lock = tokens.lock(token.hash).await;
    let now = vault.clock.now();
    let entry = tokens.read(token.hash).await?.filter(|entry| entry.is_live(now));
    let mut entry = entry.ok_or_else(|| Error::invalid("token not found"))?;
    let Some(old_end) = entry.expires_at else {
        return Err(Error::invalid("lease is not renewable"));
    };
    let age = now.duration_since(entry.issued_at);
    let age = Duration::try_from(age).unwrap_or_default();
    let granted = grant_life(&LifeRequest { age, ..limits })?;
    let new_end = after(now, granted.ttl);
    entry.ttl = granted.ttl;
    entry.expires_at = Some(new_end);
    entry.last_renewal = Some(now);

    let mut batch = Batch::new();
    tokens.store.batch_json(&mut batch, &format!("id/{}", token.hash), &entry)?;
    let mut batch = tokens.store.absolute(batch);
    vault.leases.move_due(&mut batch, &entry.lease_id(token.hash), old_end, new_end);
    vault.leases.commit(batch).await?;
    tokens.cache.forget(token.hash);
    Ok(Renewed { entry, warnings: granted.warning.into_iter().collect() })
}

/// What bounds a renewal, as the mount, the role or the login method sees it today.
async fn limits_now(
    vault: &Vault,
    entry: &TokenEntry,
    increment: Duration,
    connection: &Connection,
) -> Result<LifeRequest, Error> {
    let mount = vault.mounts.route(&entry.path).ok_or(Error::NotFound)?;
    let given = |ttl: Duration| if increment.is_zero() { ttl } else { increment };
    let mut limits = LifeRequest {
        ttl: given(entry.ttl),
        period: entry.period,
        mount_max: mount.info.max_ttl,
        explicit_max: entry.explicit_max_ttl,
        ..LifeRequest::default()
    };
    if !entry.role.is_empty() {
        let role = vault.tokens.role(&entry.role).await?.ok_or_else(|| {
            one_error(
                400,
                &format!(
                    "failed to renew entry: original token role {:?} could not be found, not \
                     renewing",
                    entry.role
                ),
            )
        })?;
        if !role.token_period.is_zero() {
            limits.period = role.token_period;
        }
        let max = role.token_explicit_max_ttl;
        if !max.is_zero() && (limits.explicit_max.is_zero() || max < limits.explicit_max) {
            limits.explicit_max = max;
        }
    }
    if let Some(login) = &entry.login {
        let auth = Auth {
            params: login.params.clone(),
            metadata: entry.meta.clone(),
            display_name: login.display_name.clone(),
            alias: login.alias.clone(),
            group_aliases: login.groups.clone(),
            internal: login.internal.clone(),
            renewable: entry.renewable,
            settles: Default::default(),
        };
        let backend = mount.backend().ok_or(Error::NotFound)?;
        let renewed = backend.renew_login(auth, connection).await?;
        // As OpenBao does: a method that knows of no groups leaves them as they are.
        if !renewed.group_aliases.is_empty() {
            let groups = &renewed.group_aliases;
            vault.identity.renew_groups(&entry.entity_id, &mount.info, groups).await?;
        }
        let params = renewed.params;
        let default =
            if params.token_ttl.is_zero() { mount.info.default_ttl } else { params.token_ttl };
        limits.ttl = given(default);
        limits.period = params.token_period;
        limits.role_max = params.token_max_ttl;
        limits.explicit_max = params.token_explicit_max_ttl;
    }
    Ok(limits)
}

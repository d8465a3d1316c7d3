//! The task that revokes what is due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_barrier::EntryError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::revoke::revoke_due;
use crate::core::answer::Chain;
use crate::core::vault::Vault;

/// How often the clock is looked at, however late a wake-up is.
const TICK: Duration = Duration::from_secs(1);
/// Leases read at once.
const PAGE: usize = 128;
/// Leases revoked side by side.
pub(super) const WIDTH: usize = 16;

/// Revokes due leases until `shutdown`.
pub(crate) async fn run(vault: Arc<Vault>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
            () = vault.leases.wake.notified() => {}
        }
        match revoke_all_due(&vault, &shutdown).await {
            Ok(0) => {}
            Ok(revoked) => debug!(revoked, "leases reaped"),
            Err(error) => warn!(error = %Chain(&error), "reap leases"),
        }
    }
}

/// Revokes what is due now. Returns how many leases were looked at.
pub(crate) async fn revoke_all_due(
    vault: &Arc<Vault>,
    shutdown: &CancellationToken,
) -> Result<usize, EntryError> {
    let leases = &vault.leases;
    let mut looked_at = 0;
    let mut stuck_at = None;
    loop {
        let now = vault.clock.now();
        if leases.next_due.load(Ordering::SeqCst) > now.as_millisecond() || shutdown.is_cancelled()
        {
            return Ok(looked_at);
        }
        // Set before the store is read: a lease written from here on lowers it again.
        leases.next_due.store(i64::MAX, Ordering::SeqCst);
        let due = match leases.due(now, PAGE).await {
            Ok(due) => due,
            Err(error) => {
                leases.next_due.store(i64::MIN, Ordering::SeqCst);
                return Err(error);
            }
        };
        // What could not even be written down is due still: not again before the next tick.
        let first = due.first().map(|(key, _)| key.clone());
        let stuck = first.is_some() && first == stuck_at;
        stuck_at = first;
        if !stuck {
            looked_at += due.len();
            let revoke = |(key, id): &(String, String)| revoke_due(vault, key.clone(), id.clone());
            stream::iter(&due).map(revoke).buffer_unordered(WIDTH).collect::<Vec<_>>().await;
        }
        match leases.first_due().await {
            Ok(Some(first)) => {
                leases.next_due.fetch_min(first, Ordering::SeqCst);
                if stuck {
                    return Ok(looked_at);
                }
            }
            Ok(None) => {}
            Err(error) => {
                leases.next_due.store(i64::MIN, Ordering::SeqCst);
                return Err(error);
            }
        }
    }
}

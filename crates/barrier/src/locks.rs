//! Locks by key.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

const SHARDS: usize = 256;

/// Keeps two changes of the same entry apart: what a change is based on must hold until its commit.
///
/// Keys share a fixed number of locks, so that their number does not grow with the store. Whoever
/// holds one must therefore not wait for a second.
pub struct KeyLocks {
    shards: [Arc<Mutex<()>>; SHARDS],
    hasher: RandomState,
}

impl KeyLocks {
    /// Locks that nobody holds.
    pub fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Arc::default()), hasher: RandomState::new() }
    }

    /// Waits for whoever changes `key`. The guard can be handed on with the change.
    pub async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        let shard = self.hasher.hash_one(key) % SHARDS as u64;
        self.shards[shard as usize].clone().lock_owned().await
    }
}

impl Default for KeyLocks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_locked_until_its_guard_is_dropped() {
        let locks = KeyLocks::new();
        let guard = locks.lock("a").await;
        let mut second = Box::pin(locks.lock("a"));
        let waiting = std::future::poll_fn(|context| {
            std::task::Poll::Ready(second.as_mut().poll(context).is_pending())
        });
        assert!(waiting.await);
        drop(guard);
        second.await;
    }
}

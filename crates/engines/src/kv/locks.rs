//! Locks by key.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

const SHARDS: usize = 64;

/// Keeps two writes of the same key apart: what check-and-set compares must hold until the commit.
/// Keys share a fixed number of locks, so that their number does not grow with the store.
pub(super) struct KeyLocks {
    shards: [Mutex<()>; SHARDS],
    hasher: RandomState,
}

impl KeyLocks {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(())), hasher: RandomState::new() }
    }

    /// Waits for whoever writes `key`. At most one lock may be held at a time.
    pub(super) async fn lock(&self, key: &str) -> MutexGuard<'_, ()> {
        let shard = self.hasher.hash_one(key) % SHARDS as u64;
        self.shards[shard as usize].lock().await
    }
}

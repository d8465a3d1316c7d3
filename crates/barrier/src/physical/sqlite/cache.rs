//! Ciphertext that was read or written lately.
//!
//! A lookup in SQLite takes several system calls; here it takes none. This process alone writes to
//! the store, so what is cached goes stale only by its own commits, and those say so.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks that share the entries, so that readers seldom meet.
const SHARDS: usize = 16;
/// What all entries together take, at most, in bytes.
const CAPACITY: usize = 8 << 20;
/// An entry that takes more than this is not kept.
const LARGEST: usize = 32 << 10;
/// What an entry takes beside its key and value, roughly.
const OVERHEAD: usize = 64;

/// A bounded cache of entries, and of keys that are known not to be there.
pub(super) struct Cache {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// Entries in two generations: when the young one is full it becomes the old one, and what nobody
/// asked for since the last time is dropped.
#[derive(Default)]
struct Shard {
    young: HashMap<String, Option<Vec<u8>>>,
    young_bytes: usize,
    old: HashMap<String, Option<Vec<u8>>>,
    /// Counts the commits that touched this shard.
    epoch: u64,
}

/// What [`Cache::get`] found.
pub(super) enum Lookup {
    /// The value, or that there is none.
    Known(Option<Vec<u8>>),
    /// Nothing. What is read now may be kept if no commit has touched the shard since.
    Unknown(Epoch),
}

/// When a lookup was made.
#[derive(Clone, Copy)]
pub(super) struct Epoch(u64);

impl Cache {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    pub(super) fn get(&self, key: &str) -> Lookup {
        let mut shard = self.shard(key);
        if let Some(value) = shard.young.get(key) {
            return Lookup::Known(value.clone());
        }
        let Some((key, value)) = shard.old.remove_entry(key) else {
            return Lookup::Unknown(Epoch(shard.epoch));
        };
        let found = value.clone();
        shard.keep(key, value);
        Lookup::Known(found)
    }

    /// Keeps what was read after a lookup.
    pub(super) fn fill(&self, key: &str, value: Option<&[u8]>, read_at: Epoch) {
        if key.len() + value.map_or(0, <[u8]>::len) > LARGEST {
            return;
        }
        let mut shard = self.shard(key);
        // What was read before a commit must not be kept after it.
        if shard.epoch == read_at.0 {
            shard.keep(key.to_owned(), value.map(<[u8]>::to_vec));
        }
    }

    /// Whether an entry is here, and was there when it was last looked for.
    pub(super) fn holds(&self, key: &str) -> bool {
        let shard = self.shard(key);
        let known = shard.young.get(key).or_else(|| shard.old.get(key));
        known.is_some_and(Option::is_some)
    }

    /// Takes note of a commit's change of an entry, before the commit is acknowledged. An entry that
    /// is here stays here, with its new value: what was asked for lately mostly is again. Others are
    /// not taken in.
    pub(super) fn change(&self, key: String, value: Option<Vec<u8>>) {
        let mut shard = self.shard(&key);
        shard.epoch += 1;
        let before = shard.young.remove_entry(&key);
        if let Some((key, value)) = &before {
            shard.young_bytes -= size(key, value.as_deref());
        }
        let is_known = before.is_some() | shard.old.remove(&key).is_some();
        if is_known && key.len() + value.as_ref().map_or(0, Vec::len) <= LARGEST {
            shard.keep(key, value);
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn keep(&mut self, key: String, value: Option<Vec<u8>>) {
        self.young_bytes += size(&key, value.as_deref());
        if let Some(before) = self.young.get(&key) {
            self.young_bytes -= size(&key, before.as_deref());
        }
        self.young.insert(key, value);
        // Each generation gets half of the room.
        if self.young_bytes > CAPACITY / SHARDS / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

fn size(key: &str, value: Option<&[u8]>) -> usize {
    OVERHEAD + key.len() + value.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(cache: &Cache, key: &str) -> Option<Option<Vec<u8>>> {
        match cache.get(key) {
            Lookup::Known(value) => Some(value),
            Lookup::Unknown(_) => None,
        }
    }

    fn read(cache: &Cache, key: &str, value: Option<&[u8]>) {
        let Lookup::Unknown(epoch) = cache.get(key) else { panic!("{key} is known") };
        cache.fill(key, value, epoch);
    }

    #[test]
    fn what_was_read_is_known_as_the_last_commit_left_it() {
        let cache = Cache::new();
        read(&cache, "a", Some(b"1"));
        read(&cache, "none", None);
        assert_eq!(known(&cache, "a"), Some(Some(b"1".to_vec())));
        assert_eq!(known(&cache, "none"), Some(None));
        cache.change("a".to_owned(), None);
        cache.change("none".to_owned(), Some(b"2".to_vec()));
        cache.change("unasked".to_owned(), Some(b"3".to_vec()));
        assert_eq!(known(&cache, "a"), Some(None));
        assert_eq!(known(&cache, "none"), Some(Some(b"2".to_vec())));
        assert_eq!(known(&cache, "unasked"), None);
        cache.change("none".to_owned(), Some(vec![0; LARGEST]));
        assert_eq!(known(&cache, "none"), None, "too large to stay");
    }

    #[test]
    fn what_was_read_before_a_commit_is_not_kept_after_it() {
        let cache = Cache::new();
        let Lookup::Unknown(epoch) = cache.get("a") else { panic!("known") };
        cache.change("a".to_owned(), Some(b"new".to_vec()));
        cache.fill("a", Some(b"old"), epoch);
        assert_eq!(known(&cache, "a"), None);
    }

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_used() {
        let cache = Cache::new();
        read(&cache, "used", Some(b"x"));
        read(&cache, "large", Some(&[0; LARGEST]));
        assert_eq!(known(&cache, "large"), None);
        for index in 0..100_000 {
            let key = format!("{index}");
            read(&cache, &key, Some(&[0; 200]));
            assert!(known(&cache, "used").is_some(), "after {index}");
            cache.change("used".to_owned(), Some(vec![0; index % 100]));
        }
        let bytes = |entries: &HashMap<String, Option<Vec<u8>>>| {
            entries.iter().map(|(key, value)| size(key, value.as_deref())).sum::<usize>()
        };
        let mut total = 0;
        for shard in &cache.shards {
            let shard = shard.lock().unwrap();
            assert_eq!(bytes(&shard.young), shard.young_bytes);
            total += bytes(&shard.young) + bytes(&shard.old);
        }
        assert!(total > CAPACITY / 3 && total <= CAPACITY + SHARDS * LARGEST, "{total}");
    }
}

//! Where keys are kept: in the store, and those in use in memory.
//!
//! | entry | holds |
//! |---|---|
//! | `policy/<name>` | a key's settings |
//! | `version/<number>/<name>` | one version: the key itself |
//!
//! A change of a key is one batch. Who uses a key holds it as it was; who changes one locks its name
//! and puts another in its place, so that neither waits for the other.

use std::sync::Arc;

use arc_swap::ArcSwap;
use holdfast_barrier::{Batch, KeyLocks, View};
use holdfast_logical::Error;
use moka::sync::Cache;
use tokio::sync::OwnedMutexGuard;

use super::key::{Key, Settings};
use super::stored::StoredVersion;

/// How many keys are kept in memory where nothing is said.
const DEFAULT_CACHE: u64 = 10_000;

/// The keys of one mount.
pub(super) struct Keys {
    storage: View,
    locks: KeyLocks,
    cache: ArcSwap<Cache<String, Arc<Key>>>,
}

impl Keys {
    pub(super) fn new(storage: View) -> Self {
        Self { storage, locks: KeyLocks::new(), cache: ArcSwap::from_pointee(cache_of(0)) }
    }

    /// Keeps at most `size` keys in memory from now on; 0: as many as is sensible.
    pub(super) fn set_cache_size(&self, size: u64) {
        self.cache.store(Arc::new(cache_of(size)));
    }

    /// The key of that name. Read from the store on its first use alone.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Arc<Key>>, Error> {
        if let Some(key) = self.cache.load().get(name) {
            return Ok(Some(key));
        }
        // Under the lock, so that what is read here never replaces what is being written.
        self.lock(name).await.get().await
    }

    /// Keeps others from changing the key of that name.
    pub(super) async fn lock(&self, name: &str) -> Locked<'_> {
        let guard = self.locks.lock(name).await;
        Locked { keys: self, name: name.to_owned(), _guard: guard }
    }

    /// The names after `after`, sorted, at most `limit`.
    pub(super) async fn list(
        &self,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, Error> {
        Ok(self.storage.list_page("policy/", after, limit).await?)
    }

    /// A key's settings alone, as they are stored.
    pub(super) async fn settings(&self, name: &str) -> Result<Option<Settings>, Error> {
        Ok(self.storage.get_json(&settings_entry(name)).await?)
    }

    async fn load(&self, name: &str) -> Result<Option<Key>, Error> {
        let Some(settings) = self.settings(name).await? else { return Ok(None) };
        let mut key = Key { name: name.to_owned(), settings, versions: Default::default() };
        self.load_versions(&mut key).await?;
        Ok(Some(key))
    }

    /// Brings into memory the versions that may be used, and no others.
    async fn load_versions(&self, key: &mut Key) -> Result<(), Error> {
        let settings = &key.settings;
        let first = settings.min_decryption_version.max(*settings.available().start());
        key.versions.retain(|number, _| *number >= first);
        for number in first..=settings.latest_version {
            if key.versions.contains_key(&number) {
                continue;
            }
            let entry = version_entry(&key.name, number);
            let damaged = |why: String| Error::internal(format!("load {entry}"), why);
            let stored: Option<StoredVersion> = self.storage.get_json(&entry).await?;
            let stored = stored.ok_or_else(|| damaged("it is not in the store".to_owned()))?;
            let version = stored.load(settings.kind).map_err(|why| damaged(why.to_string()))?;
            key.versions.insert(number, version.into());
        }
        Ok(())
    }
}

/// The right to change a key.
pub(super) struct Locked<'a> {
    keys: &'a Keys,
    name: String,
    _guard: OwnedMutexGuard<()>,
}

impl Locked<'_> {
    /// The key as it is.
    pub(super) async fn get(&self) -> Result<Option<Arc<Key>>, Error> {
        if let Some(key) = self.keys.cache.load().get(&self.name) {
            return Ok(Some(key));
        }
        let Some(key) = self.keys.load(&self.name).await? else { return Ok(None) };
        let key = Arc::new(key);
        self.keys.cache.load().insert(self.name.clone(), key.clone());
        Ok(Some(key))
    }

    /// Stores the key in the place of what was there, with the versions that are new or changed.
    pub(super) async fn put(&self, mut key: Key, changed: &[u32]) -> Result<Arc<Key>, Error> {
        let storage = &self.keys.storage;
        let mut batch = Batch::new();
        storage.batch_json(&mut batch, &settings_entry(&self.name), &key.settings)?;
        for number in changed {
            if let Some(version) = key.versions.get(number) {
                let entry = version_entry(&self.name, *number);
                storage.batch_json(&mut batch, &entry, &StoredVersion::new(version))?;
            }
        }
        if let Some(before) = self.keys.settings(&self.name).await? {
            let kept = key.settings.available();
            let gone = before.available().filter(|number| !kept.contains(number));
            gone.for_each(|number| batch.delete(version_entry(&self.name, number)));
        }
        // Before the commit: should it fail half-way, the store knows what holds.
        self.keys.cache.load().invalidate(&self.name);
        storage.commit(batch).await?;
        self.keys.load_versions(&mut key).await?;
        let key = Arc::new(key);
        self.keys.cache.load().insert(self.name.clone(), key.clone());
        Ok(key)
    }

    /// Removes the key and all its versions.
    pub(super) async fn delete(&self, settings: &Settings) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.delete(settings_entry(&self.name));
        settings.available().for_each(|number| batch.delete(version_entry(&self.name, number)));
        self.keys.cache.load().invalidate(&self.name);
        Ok(self.keys.storage.commit(batch).await?)
    }

    /// Every version that exists, those too that may not be used any more.
    pub(super) async fn all_versions(&self, key: &Key) -> Result<Key, Error> {
        let mut all = key.clone();
        all.settings.min_decryption_version = *all.settings.available().start();
        self.keys.load_versions(&mut all).await?;
        all.settings = key.settings.clone();
        Ok(all)
    }
}

fn cache_of(size: u64) -> Cache<String, Arc<Key>> {
    Cache::new(if size == 0 { DEFAULT_CACHE } else { size })
}

fn settings_entry(name: &str) -> String {
    format!("policy/{name}")
}

fn version_entry(name: &str, number: u32) -> String {
    format!("version/{number}/{name}")
}

//! `config/keys` and `cache-config`: the settings of a mount.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use holdfast_logical::{Error, Reply, Request};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use super::{Transit, answer};

const KEYS: &str = "config/keys";
const CACHE: &str = "config/cache";

/// A cache is as large as is sensible (0), or at least so large.
const SMALLEST_CACHE: i64 = 10;

/// However large it is to be, no more keys than these are kept in memory.
const LARGEST_CACHE: i64 = 1_000_000;

/// What is kept in memory of them.
#[derive(Default)]
pub(super) struct MountConfig {
    /// What is in memory must be what was written last.
    writing: Mutex<()>,
    disable_upsert: AtomicBool,
    cache_size: AtomicI64,
}

#[derive(Default, Serialize, Deserialize)]
struct KeysConfig {
    disable_upsert: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct CacheConfig {
    size: i64,
}

impl MountConfig {
    /// Whether encrypting with a key that is not there makes it.
    pub(super) fn upserts(&self) -> bool {
        !self.disable_upsert.load(Ordering::Relaxed)
    }
}

impl Transit {
    pub(super) async fn load_config(&self) -> Result<(), Error> {
        let keys: KeysConfig = self.storage.get_json(KEYS).await?.unwrap_or_default();
        let cache: CacheConfig = self.storage.get_json(CACHE).await?.unwrap_or_default();
        self.config.disable_upsert.store(keys.disable_upsert, Ordering::Relaxed);
        self.apply_cache_size(cache.size);
        Ok(())
    }

    pub(super) fn read_keys_config(&self) -> Reply {
        answer(json!({ "disable_upsert": !self.config.upserts() }))
    }

    pub(super) async fn write_keys_config(&self, request: &Request) -> Reply {
        let disable_upsert = request.fields().bool("disable_upsert")?.unwrap_or_default();
        let _writing = self.config.writing.lock().await;
        self.storage.put_json(KEYS, &KeysConfig { disable_upsert }).await?;
        self.config.disable_upsert.store(disable_upsert, Ordering::Relaxed);
        self.read_keys_config()
    }

    pub(super) fn read_cache_config(&self) -> Reply {
        answer(json!({ "size": self.config.cache_size.load(Ordering::Relaxed) }))
    }

    pub(super) async fn write_cache_config(&self, request: &Request) -> Reply {
        let size = request.fields().integer("size")?.unwrap_or_default();
        if size != 0 && size < SMALLEST_CACHE {
            return Err(Error::invalid(format!(
                "size must be 0 or a value greater or equal to {SMALLEST_CACHE}"
            )));
        }
        let _writing = self.config.writing.lock().await;
        self.storage.put_json(CACHE, &CacheConfig { size }).await?;
        self.apply_cache_size(size);
        self.read_cache_config()
    }

    fn apply_cache_size(&self, size: i64) {
        self.config.cache_size.store(size, Ordering::Relaxed);
        self.keys.set_cache_size(u64::try_from(size.min(LARGEST_CACHE)).unwrap_or_default());
    }
}

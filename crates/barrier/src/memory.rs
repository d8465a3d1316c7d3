//! Entries in memory, for tests and for preparing a batch.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::entries::names;
use crate::{Batch, Change, Entries, EntryError};

/// Entries that live as long as the process and are not encrypted.
#[derive(Default)]
pub struct MemoryEntries(Mutex<BTreeMap<String, Zeroizing<Vec<u8>>>>);

impl MemoryEntries {
    /// A batch that writes all entries as they are now: what was set up here in many steps can be
    /// stored in one.
    pub fn to_batch(&self) -> Batch {
        let entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let puts = entries.iter().map(|(key, value)| Change::Put(key.clone(), value.clone()));
        Batch(puts.collect())
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, _)| key[prefix.len()..].to_owned())
            .collect()
    }
}

#[async_trait]
impl Entries for MemoryEntries {
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        let entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(entries.get(key).cloned())
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        Ok(names(self.keys(prefix).iter().map(String::as_str), after, limit))
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        Ok(self.keys(prefix))
    }

    async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        let mut entries = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for change in batch.0 {
            match change {
                Change::Put(key, value) => {
                    entries.insert(key, value);
                }
                Change::Delete(key) => {
                    entries.remove(&key);
                }
            }
        }
        Ok(())
    }
}

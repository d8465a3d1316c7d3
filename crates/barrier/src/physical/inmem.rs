//! Ciphertext in memory: Vault's `inmem` storage, for development and tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{KeySet, Keys, Physical, PhysicalError, Write};
use crate::KeySetSum;
use crate::entries::names;
use crate::growth::growing_folder;
use crate::key_set::KeySums;

/// Storage that is gone when the process ends.
#[derive(Default)]
pub struct InMemory(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    values: BTreeMap<String, Vec<u8>>,
    sums: KeySums,
    closed: bool,
}

impl InMemory {
    /// Empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> Result<MutexGuard<'_, Rows>, PhysicalError> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.closed {
            return Err(PhysicalError::failed("the store is closed"));
        }
        Ok(rows)
    }
}

impl Rows {
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.values
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map_while(move |(key, _)| key.strip_prefix(prefix))
    }
}

#[async_trait]
impl Physical for InMemory {
    fn kind(&self) -> &'static str {
        "inmem"
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, PhysicalError> {
        Ok(self.rows()?.values.get(key).cloned())
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, PhysicalError> {
        let rows = self.rows()?;
        Ok(names(rows.under(prefix), after, limit))
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, PhysicalError> {
        Ok(self.rows()?.under(prefix).map(str::to_owned).collect())
    }

    async fn key_set(
        &self,
        which: KeySet,
        keys: SyncSender<Keys>,
    ) -> Result<Option<KeySetSum>, PhysicalError> {
        let rows = self.rows()?;
        let mut found = Keys::default();
        let belongs = |key: &&String| which == KeySet::All || growing_folder(key).is_none();
        rows.values.keys().filter(belongs).for_each(|key| found.push(key));
        keys.send(found).map_err(PhysicalError::failed)?;
        Ok(rows.sums.of(which))
    }

    async fn keep_core_sum(&self, sum: KeySetSum) -> Result<(), PhysicalError> {
        match self.rows()?.sums.core.get_or_insert(sum) {
            kept if *kept == sum => Ok(()),
            _ => Err(PhysicalError::failed("the sum of the core's keys is another one")),
        }
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), PhysicalError> {
        let mut rows = self.rows()?;
        for Write { key, value, mark } in writes {
            match value {
                Some(value) => {
                    if rows.values.insert(key.clone(), value).is_none() {
                        rows.sums.add(&key, mark);
                    }
                }
                None => {
                    if rows.values.remove(&key).is_some() {
                        rows.sums.remove(&key, mark);
                    }
                }
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), PhysicalError> {
        let mut rows = self.rows()?;
        rows.closed = true;
        rows.values.clear();
        Ok(())
    }
}

//! Ciphertext in memory: Vault's `inmem` storage, for development and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Keys, Physical, PhysicalError, Write};
use crate::KeySetSum;

/// Storage that is gone when the process ends.
#[derive(Default)]
pub struct InMemory(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    values: BTreeMap<String, Vec<u8>>,
    sum: KeySetSum,
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
        let names: BTreeSet<_> = rows
            .under(prefix)
            .map(|key| key.find('/').map_or(key, |slash| &key[..=slash]))
            .filter(|name| after.is_none_or(|after| *name > after))
            .collect();
        Ok(names.into_iter().take(limit.unwrap_or(usize::MAX)).map(str::to_owned).collect())
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, PhysicalError> {
        Ok(self.rows()?.under(prefix).map(str::to_owned).collect())
    }

    async fn key_set(&self, keys: SyncSender<Keys>) -> Result<KeySetSum, PhysicalError> {
        let rows = self.rows()?;
        let mut all = Keys::default();
        rows.values.keys().for_each(|key| all.push(key));
        keys.send(all).map_err(PhysicalError::failed)?;
        Ok(rows.sum)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), PhysicalError> {
        let mut rows = self.rows()?;
        for Write { key, value, mark } in writes {
            match value {
                Some(value) => {
                    if rows.values.insert(key, value).is_none() {
                        rows.sum += mark;
                    }
                }
                None => {
                    if rows.values.remove(&key).is_some() {
                        rows.sum -= mark;
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

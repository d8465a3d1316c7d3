//! A mount's own corner of the store.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::{Batch, Change, Entries, EntryError};

/// The entries under one prefix, seen as if they were all there is.
#[derive(Clone)]
pub struct View {
    entries: Arc<dyn Entries>,
    prefix: Arc<str>,
}

impl View {
    /// The entries under `prefix`, which ends in `/`, or is empty for all of them.
    pub fn new(entries: Arc<dyn Entries>, prefix: &str) -> Self {
        Self { entries, prefix: prefix.into() }
    }

    /// A view of what lies under `prefix` in this one.
    pub fn sub(&self, prefix: &str) -> Self {
        Self { entries: self.entries.clone(), prefix: self.key(prefix).into() }
    }

    /// The full storage key of `key`.
    pub fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The bytes at `key`.
    pub async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        self.entries.get(&self.key(key)).await
    }

    /// The JSON value at `key`.
    pub async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, EntryError> {
        let Some(bytes) = self.get(key).await? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes)
            .map_err(|source| EntryError::Decode { key: self.key(key), source })?;
        Ok(Some(value))
    }

    /// The names one level under `prefix`, sorted, folders with a trailing `/`.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.entries.list_page(&self.key(prefix), None, None).await
    }

    /// As [`View::list`], only names after `after`, at most `limit` of them.
    pub async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        self.entries.list_page(&self.key(prefix), after, limit).await
    }

    /// Every key under `prefix`, at any depth.
    pub async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.entries.scan(&self.key(prefix)).await
    }

    /// Writes raw bytes.
    pub async fn put(
        &self,
        key: &str,
        value: impl Into<Zeroizing<Vec<u8>>>,
    ) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        batch.put(key, value);
        self.commit(batch).await
    }

    /// Writes `value` as JSON.
    pub async fn put_json<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        self.batch_json(&mut batch, key, value)?;
        self.commit(batch).await
    }

    /// Adds a write of `value` as JSON to `batch`, whose keys are relative to this view.
    pub fn batch_json<T: Serialize + ?Sized>(
        &self,
        batch: &mut Batch,
        key: &str,
        value: &T,
    ) -> Result<(), EntryError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|source| EntryError::Decode { key: self.key(key), source })?;
        batch.put(key, bytes);
        Ok(())
    }

    /// Removes the entry.
    pub async fn delete(&self, key: &str) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        batch.delete(key);
        self.commit(batch).await
    }

    /// Writes a batch whose keys are relative to this view.
    pub async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        self.entries.commit(self.absolute(batch)).await
    }

    /// `batch` with full keys, for joining it with other views' into one commit.
    pub fn absolute(&self, batch: Batch) -> Batch {
        let changes = batch.0.into_iter().map(|change| match change {
            Change::Put(key, value) => Change::Put(self.key(&key), value),
            Change::Delete(key) => Change::Delete(self.key(&key)),
        });
        Batch(changes.collect())
    }
}

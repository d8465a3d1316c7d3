//! The store, with every access timed.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use holdfast_barrier::{Batch, Entries, EntryError};
use zeroize::Zeroizing;

use super::Metrics;

/// Entries whose every access is counted.
pub(crate) struct Measured {
    entries: Arc<dyn Entries>,
    metrics: Arc<Metrics>,
}

impl Measured {
    pub(crate) fn new(entries: Arc<dyn Entries>, metrics: Arc<Metrics>) -> Self {
        Self { entries, metrics }
    }
}

#[async_trait]
impl Entries for Measured {
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        let began = Instant::now();
        let found = self.entries.get(key).await;
        self.metrics.barrier_get.record(began, Instant::now());
        found
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        let began = Instant::now();
        let found = self.entries.list_page(prefix, after, limit).await;
        self.metrics.barrier_list.record(began, Instant::now());
        found
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        let began = Instant::now();
        let found = self.entries.scan(prefix).await;
        self.metrics.barrier_list.record(began, Instant::now());
        found
    }

    async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        let began = Instant::now();
        let done = self.entries.commit(batch).await;
        self.metrics.barrier_put.record(began, Instant::now());
        done
    }
}

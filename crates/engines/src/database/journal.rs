//! Write-ahead records of users that are being made.
//!
//! A record is on disk before the user exists. The commit that stores the user's lease removes
//! it: so whatever happens in between, there is a record, a lease, or neither a user nor need of
//! one. What has a record and no hope of a lease any more is dropped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_barrier::{Batch, EntryError, View};
use holdfast_logical::Context;
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// No request takes this long. A record that this process wrote within that time can still get
/// its lease, and is left alone.
const LONGEST_REQUEST: Duration = Duration::from_secs(300);

const PREFIX: &str = "wal/";

/// A user that may exist although no lease tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) username: String,
    pub(crate) config: String,
    pub(crate) role: String,
    /// For people: records are judged by who wrote them, as clocks jump.
    pub(crate) created_at: Timestamp,
}

/// The records of one mount.
pub(crate) struct Journal {
    storage: View,
    /// The records of this process, by id, with the time they were written.
    written: Mutex<HashMap<String, Instant>>,
}

/// A record's id. It names a lock in the database as well, which the transaction that makes the
/// user holds: whoever holds it later knows that this transaction is over.
#[derive(Debug, Clone)]
pub(crate) struct RecordId(String);

impl RecordId {
    /// The number of the lock: the id's first 64 bits.
    pub(crate) fn lock(&self) -> i64 {
        let digits: String = self.0.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&digits, 16).unwrap_or_default().cast_signed()
    }

    fn key(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl Journal {
    pub(crate) fn new(storage: View) -> Self {
        Self { storage, written: Mutex::default() }
    }

    /// Writes a record. The user may be made once this returns.
    pub(crate) async fn begin(
        &self,
        context: &Context,
        record: &Record,
    ) -> Result<RecordId, EntryError> {
        let id = RecordId(context.random.uuid());
        // Known before it is on disk: so no tick finds it there and takes it for an old one.
        self.written().insert(id.0.clone(), Instant::now());
        self.storage.put_json(&id.key(), record).await?;
        Ok(id)
    }

    /// The change that goes into the commit of the lease, with full keys.
    pub(crate) fn settlement(&self, id: &RecordId) -> Batch {
        let mut batch = Batch::new();
        batch.delete(id.key());
        self.storage.absolute(batch)
    }

    /// Removes a record: there is no such user.
    pub(crate) async fn settle(&self, id: &RecordId) -> Result<(), EntryError> {
        self.storage.delete(&id.key()).await?;
        self.written().remove(&id.0);
        Ok(())
    }

    /// The records that get no lease any more: an earlier process's, and our own old ones.
    pub(crate) async fn abandoned(&self) -> Result<Vec<(RecordId, Record)>, EntryError> {
        let ids = self.storage.list(PREFIX).await?;
        // What is not on disk any more, or never came to be there, needs no memory.
        self.written().retain(|id, at| at.elapsed() < LONGEST_REQUEST || ids.contains(id));
        let mut abandoned = Vec::new();
        for id in ids {
            let fresh = self.written().get(&id).is_some_and(|at| at.elapsed() < LONGEST_REQUEST);
            if fresh {
                continue;
            }
            let id = RecordId(id);
            if let Some(record) = self.storage.get_json(&id.key()).await? {
                abandoned.push((id, record));
            }
        }
        Ok(abandoned)
    }

    fn written(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

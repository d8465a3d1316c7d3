//! The one thread that writes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_types::Chain;
use nix::fcntl::Flock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::cache::Cache;
use super::check::Check;
use super::checkpointer::{Checkpointer, copy, is_unflushed};
use super::files::Identity;
use super::inspect::{checksum, rows_digest};
use super::stop::StopRecord;
use super::{OpenError, failure, files};
use crate::KeySetSum;
use crate::key_set::KeySums;
use crate::physical::{PhysicalError, Write};

/// Commits that may wait; more callers wait for a place.
const QUEUE: usize = 1024;
/// Commits that share one transaction, at most.
const GROUP: usize = 256;
/// Bytes that share one transaction, roughly: a flush stays short.
const GROUP_BYTES: usize = 4 << 20;
/// After this many bytes the log is copied into the store, beside the commits. Pages that change
/// often are copied once for all of them.
const COPY_BYTES: usize = 8 << 20;
/// A log of this many bytes is begun anew, once nearly all of it is copied.
pub(super) const LOG_BYTES: usize = 16 << 20;
/// What the writing thread copies itself before it does: commits wait for this much, not for more.
const REST_BYTES: usize = 256 << 10;
/// When so much was written during one pass, or is in the log, the disk does not keep up, and commits
/// wait for it.
const BEHIND_BYTES: usize = 4 * LOG_BYTES;
const PAGE: usize = 4096;

/// The way to the writing thread.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    is_distrusted: Arc<AtomicBool>,
}

enum Message {
    Commit(Commit),
    KeepCoreSum(KeySetSum, oneshot::Sender<Result<(), PhysicalError>>),
    Close(oneshot::Sender<Result<(), PhysicalError>>),
}

struct Commit {
    writes: Vec<Write>,
    reply: oneshot::Sender<Result<(), PhysicalError>>,
}

/// What the thread owns.
struct Thread {
    path: PathBuf,
    connection: Connection,
    cache: Arc<Cache>,
    /// As stored.
    sums: KeySums,
    checkpointer: Checkpointer,
    /// Until it has ended the log is not copied: the file stays as it was found.
    check: Check,
    /// Whether entries were found missing: then no stop is a clean one.
    is_distrusted: Arc<AtomicBool>,
    /// Bytes written since the last pass began, roughly.
    since_pass: usize,
    /// A flush has failed: what the disk has of the store, nobody knows. The log has all of it, and
    /// is begun anew only after the next start has copied it again.
    is_unflushed: bool,
    place: Place,
    /// Held until the connection is closed.
    lock: Flock<File>,
}

/// The files that commits go to, and the one that keeps other servers away. Whoever puts others in
/// their place while they are open makes the next start read those, or lets a second server in.
#[derive(Debug)]
struct Place {
    store: Option<Identity>,
    lock: Option<Identity>,
    /// None until there is a log.
    log: Option<Identity>,
    is_lost: bool,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let (store, log) = (Identity::of(path)?, Identity::of(&files::wal_of(path))?);
        Ok(Self { store, lock: Identity::of(&files::lock_of(path))?, log, is_lost: false })
    }

    /// Whether the names of store, log and lock still lead to what is open. Once they did not, they never
    /// do again: what was read meanwhile, nobody knows.
    fn check(&mut self, path: &Path) -> Result<(), PhysicalError> {
        let now = Self::of(path).map_err(PhysicalError::failed)?;
        self.log = self.log.or(now.log);
        self.is_lost |= (now.store, now.log, now.lock) != (self.store, self.log, self.lock);
        if self.is_lost {
            return Err(PhysicalError::failed(format!(
                "{}, its log or its lock was moved, removed or replaced while it is open: nothing more \
                 is acknowledged; stop the server, and see which file is to be its store",
                path.display()
            )));
        }
        Ok(())
    }
}

impl Writer {
    /// Starts the thread. `connection` is the one that writes.
    pub(super) fn start(
        path: &Path,
        connection: Connection,
        cache: Arc<Cache>,
        check: Check,
        lock: Flock<File>,
    ) -> Result<Self, OpenError> {
        let sums = super::reader::key_sums(&connection)?;
        let path = path.to_owned();
        let looked = Place::of(&path);
        let place =
            looked.map_err(|source| OpenError::Io { what: "look at the store's file", source })?;
        let checkpointer = Checkpointer::start(&path)?;
        let is_distrusted = Arc::<AtomicBool>::default();
        let thread = Thread {
            path,
            connection,
            cache,
            sums,
            checkpointer,
            check,
            is_distrusted: is_distrusted.clone(),
            since_pass: 0,
            is_unflushed: false,
            place,
            lock,
        };
        let (queue, receiver) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(receiver))
            .map_err(|source| OpenError::Io { what: "start the writing thread", source })?;
        Ok(Self { queue, is_distrusted })
    }

    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<(), PhysicalError> {
        let (reply, result) = oneshot::channel();
        self.send(Message::Commit(Commit { writes, reply })).await?;
        // Without an answer it may or may not be on disk: that is a failure.
        result.await.map_err(|_| closed())?
    }

    /// Keeps the sum of the core's keys, which is `sum` now.
    pub(super) async fn keep_core_sum(&self, sum: KeySetSum) -> Result<(), PhysicalError> {
        let (reply, result) = oneshot::channel();
        self.send(Message::KeepCoreSum(sum, reply)).await?;
        result.await.map_err(|_| closed())?
    }

    /// From now on no stop is a clean one.
    pub(super) fn distrust(&self) {
        self.is_distrusted.store(true, Ordering::Release);
    }

    /// Stops the thread after what is queued, and the store cleanly.
    pub(super) async fn close(&self) -> Result<(), PhysicalError> {
        let (reply, result) = oneshot::channel();
        self.send(Message::Close(reply)).await?;
        result.await.map_err(|_| closed())?
    }

    async fn send(&self, message: Message) -> Result<(), PhysicalError> {
        self.queue.send(message).await.map_err(|_| closed())
    }
}

/// Tells all of `group` why they are not acknowledged.
fn refuse(group: Vec<Commit>, error: &PhysicalError) {
    let error = Chain(error).to_string();
    if !group.is_empty() {
        tracing::error!(error, "not written");
    }
    for commit in group {
        let _ = commit.reply.send(Err(PhysicalError::failed(error.as_str())));
    }
}

fn unflushed() -> PhysicalError {
    PhysicalError::failed(
        "the disk failed to take what was written to the store: nothing more is written before a \
         restart, which copies it again from the log",
    )
}

fn closed() -> PhysicalError {
    PhysicalError::failed("the store is closed")
}

impl Thread {
    fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(message) = queue.blocking_recv() {
            let mut next = Some(message);
            let mut group = Vec::new();
            let mut bytes = 0;
            let mut close = None;
            while let Some(message) = next {
                match message {
                    Message::Commit(commit) => {
                        bytes += size(&commit.writes);
                        group.push(commit);
                    }
                    Message::KeepCoreSum(sum, reply) => {
                        let _ = reply.send(self.keep_core_sum(sum));
                    }
                    Message::Close(reply) => close = Some(reply),
                }
                let full = group.len() >= GROUP || bytes >= GROUP_BYTES || close.is_some();
                next = if full { None } else { queue.try_recv().ok() };
            }
            self.commit_group(group);
            if let Some(reply) = close {
                // The store is free for the next server before anybody hears of it.
                let result = self.close();
                let _ = reply.send(result);
                return;
            }
            self.checkpoint_if_due(bytes);
        }
        // Dropped without a clean stop: what is acknowledged is in the log.
        let Self { connection, checkpointer, lock: _lock, .. } = self;
        let _descriptor = checkpointer.stop();
        drop(connection);
    }

    /// Commits all of `group` as one transaction, or, when that fails, each on its own, so that
    /// none fails for another's sake. Whoever gave up waiting for the reply changes nothing.
    fn commit_group(&mut self, group: Vec<Commit>) {
        // Before, as somebody else may have written to it; and after, see `acknowledge`.
        if let Err(error) = self.place.check(&self.path) {
            return refuse(group, &error);
        }
        if let ([_, _, ..], false) = (group.as_slice(), self.is_unflushed) {
            let batches: Vec<_> = group.iter().map(|commit| commit.writes.as_slice()).collect();
            match self.transact(&batches) {
                Ok(()) => return self.acknowledge(group),
                Err(error) => self.is_unflushed |= is_unflushed(&error),
            }
        }
        for commit in group {
            if self.is_unflushed {
                let _ = commit.reply.send(Err(unflushed()));
                continue;
            }
            match self.transact(&[&commit.writes]) {
                Ok(()) => self.acknowledge(vec![commit]),
                Err(error) => {
                    self.is_unflushed |= is_unflushed(&error);
                    let _ = commit.reply.send(Err(failure(error)));
                }
            }
        }
    }

    /// Lets readers see what is on disk now, then tells whoever waits for it; provided that the disk
    /// has it where the next start looks.
    fn acknowledge(&mut self, group: Vec<Commit>) {
        if let Err(error) = self.place.check(&self.path) {
            return refuse(group, &error);
        }
        // Of several changes of an entry only the last one: a reader past the cache may have seen it
        // already, and the next reader must not see an older one.
        let mut last = HashMap::new();
        let mut replies = Vec::with_capacity(group.len());
        for Commit { writes, reply } in group {
            last.extend(writes.into_iter().map(|write| (write.key, write.value)));
            replies.push(reply);
        }
        for (key, value) in last {
            self.cache.change(key, value);
        }
        for reply in replies {
            let _ = reply.send(Ok(()));
        }
    }

    /// Commits `batches` together. When it returns, they are on disk.
    fn transact(&mut self, batches: &[&[Write]]) -> rusqlite::Result<()> {
        let mut sums = self.sums;
        // Dropped without a commit, it rolls back.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for write in batches.iter().copied().flatten() {
            apply(&transaction, write, self.cache.holds(&write.key), &mut sums)?;
        }
        if sums.all != self.sums.all {
            transaction
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'key_set_sum'")?
                .execute([sums.all.0])?;
        }
        if let Some(core) = sums.core.filter(|_| sums.core != self.sums.core) {
            transaction
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'core_key_set_sum'")?
                .execute([core.0])?;
        }
        transaction.commit()?;
        self.sums = sums;
        Ok(())
    }

    fn keep_core_sum(&mut self, sum: KeySetSum) -> Result<(), PhysicalError> {
        if let Some(kept) = self.sums.core {
            let other = || PhysicalError::failed("the sum of the core's keys is another one");
            return (kept == sum).then_some(()).ok_or_else(other);
        }
        if self.is_unflushed {
            return Err(unflushed());
        }
        let keep = "INSERT INTO meta VALUES ('core_key_set_sum', ?1)";
        if let Err(error) = self.connection.execute(keep, [sum.0]) {
            self.is_unflushed |= is_unflushed(&error);
            return Err(failure(error));
        }
        self.sums.core = Some(sum);
        Ok(())
    }

    /// Has the log copied into the store now and then, so that it stays short. Failing to copy does no
    /// harm, as all of it stays in the log until the next pass; failing to flush ends all writing.
    fn checkpoint_if_due(&mut self, bytes: usize) {
        self.since_pass += bytes;
        let is_behind = self.since_pass >= BEHIND_BYTES;
        let checked = if is_behind { Some(self.check.wait()) } else { self.check.verdict() };
        if !matches!(checked, Some(Ok(_))) {
            return;
        }
        let ended = if is_behind { self.checkpointer.wait() } else { self.checkpointer.ended() };
        let logged = match ended {
            Some(Ok(pass)) => pass.logged * PAGE,
            Some(Err(error)) => {
                self.is_unflushed |= error.is_unflushed();
                tracing::error!(error = %Chain(&error), "keep the log short");
                0
            }
            None => 0,
        };
        if self.is_unflushed {
            return;
        }
        let is_long = logged >= LOG_BYTES;
        let is_rest = self.since_pass <= REST_BYTES || is_behind || logged >= BEHIND_BYTES;
        if is_long && is_rest {
            // Nothing is committed meanwhile, so this leaves nothing, and the next commit begins the
            // log anew.
            if let Err(error) = copy(&self.connection) {
                self.is_unflushed |= is_unflushed(&error);
                tracing::warn!(%error, "copy the rest of the log into the store");
            }
        }
        // Each pass over a long log leaves less for the next: what was written while it ran.
        let is_due = self.since_pass >= if is_long { REST_BYTES } else { COPY_BYTES };
        if is_due && !self.checkpointer.is_running() {
            self.since_pass = 0;
            self.checkpointer.begin();
        }
    }

    /// Empties and removes the log, and records the digest of what is left.
    fn close(self) -> Result<(), PhysicalError> {
        let Self { path, connection, mut checkpointer, check, is_distrusted, .. } = self;
        let (mut place, _lock) = (self.place, self.lock);
        let last = checkpointer.wait();
        let is_unflushed =
            self.is_unflushed || matches!(last, Some(Err(error)) if error.is_unflushed());
        let _descriptor = checkpointer.stop();
        if is_unflushed {
            return Err(unflushed());
        }
        if let Err(what) = check.wait() {
            return Err(PhysicalError::failed(format!("the store is damaged: {what}")));
        }
        if is_distrusted.load(Ordering::Acquire) {
            return Err(PhysicalError::failed("the store is damaged: entries are missing"));
        }
        place.check(&path)?;
        let busy: bool = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(failure)?;
        if busy {
            return Err(PhysicalError::failed("somebody still reads from the store"));
        }
        let rows = rows_digest(&connection).map_err(PhysicalError::failed)?;
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
            .map_err(failure)?;
        connection.close().map_err(|(_, error)| failure(error))?;
        // The last connection to close removes the log. If it is there, another program is too.
        if files::wal_of(&path).try_exists().map_err(PhysicalError::failed)? {
            return Err(PhysicalError::failed("another program has the store open"));
        }
        StopRecord::write(&path, rows).map_err(PhysicalError::failed)
    }
}

/// Makes one change, and keeps the sum of the keys' marks. `likely_there`: whether it is an entry
/// that is there already, as far as is known.
fn apply(
    connection: &Connection,
    write: &Write,
    likely_there: bool,
    sums: &mut KeySums,
) -> rusqlite::Result<()> {
    let Write { key, value, mark } = write;
    let Some(value) = value else {
        let removed =
            connection.prepare_cached("DELETE FROM entry WHERE key = ?1")?.execute([key])?;
        if removed > 0 {
            sums.remove(key, *mark);
        }
        return Ok(());
    };
    let checksum = checksum(key, value);
    let row = params![key, checksum, value];
    let insert = "INSERT INTO entry VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let update = "UPDATE entry SET checksum = ?2, value = ?3 WHERE key = ?1";
    // Both are right in any order; the one that is likely first saves a search in the table.
    let is_update = likely_there && connection.prepare_cached(update)?.execute(row)? > 0;
    if is_update {
        return Ok(());
    }
    if connection.prepare_cached(insert)?.execute(row)? > 0 {
        sums.add(key, *mark);
    } else {
        connection.prepare_cached(update)?.execute(row)?;
    }
    Ok(())
}

/// What a batch adds to the log, roughly: a page for each change, and a few for what lies above.
fn size(writes: &[Write]) -> usize {
    let changes = writes.iter().map(|write| PAGE + write.value.as_ref().map_or(0, Vec::len));
    changes.sum::<usize>() + 3 * PAGE
}

#[cfg(test)]
mod tests;

//! Answers that have a lease or hold a token, kept while those last.
//!
//! A program that asks again is given what it was given before, in place of another lease. Only what
//! belongs to a token that the agent knows is kept: its own, or one that was made through it. An
//! entry ends with its lease, when that is revoked through the agent, and with the token that it
//! belongs to; a token's end is one cancellation that everything made with it hangs on.

mod clear;
mod key;
mod renewal;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_types::{SecretBytes, Timestamp};
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::CacheConfig;
pub(crate) use clear::{Clear, revoked_by};
pub(crate) use key::{Key, digest, request as request_key};
pub(crate) use renewal::{Renewing, Until, keep};

/// What is kept of an answer.
pub(crate) struct Kept {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Arc<SecretBytes>,
    pub(crate) at: Instant,
    pub(crate) until: Until,
}

/// What an answer holds, and whom it belongs to.
#[derive(Debug, Clone)]
pub(crate) enum Holds {
    /// A lease of the token with this digest.
    Lease { id: String, token: Key },
    /// A token, and the one that it hangs on; none for an orphan.
    Token { token: Key, accessor: String, parent: Option<Key> },
}

/// Where an answer came from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The path, such as `/v1/database/creds/app`.
    pub(crate) path: String,
    /// The namespace, empty for the root.
    pub(crate) namespace: String,
}

struct Entry {
    kept: Arc<Kept>,
    holds: Holds,
    origin: Origin,
    /// Cancelled when it ends, and with it everything that hangs on it.
    end: CancellationToken,
    size: usize,
    sequence: u64,
}

/// The cache.
pub(crate) struct Cache {
    limits: CacheConfig,
    entries: Mutex<Entries>,
    under_way: Mutex<HashMap<Key, watch::Receiver<()>>>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    /// The oldest first.
    by_age: BTreeMap<u64, Key>,
    /// The tokens whose leases are kept, by digest: the agent's own, and those in entries.
    tokens: HashMap<Key, CancellationToken>,
    bytes: usize,
    sequence: u64,
}

/// Whose turn it is to ask the server.
pub(crate) enum Turn {
    /// This one's; others with the same request wait until it is dropped.
    Ask(Asking),
    /// Somebody asks the same: wait, and look again.
    Wait(watch::Receiver<()>),
}

/// Holds back others with the same request.
pub(crate) struct Asking {
    cache: Arc<Cache>,
    key: Key,
    _done: watch::Sender<()>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        lock(&self.cache.under_way).remove(&self.key);
    }
}

impl Cache {
    pub(crate) fn new(limits: CacheConfig) -> Self {
        Self { limits, entries: Mutex::default(), under_way: Mutex::default() }
    }

    /// Keeps what belongs to this token, until the given end.
    pub(crate) fn manage(&self, token: Key, end: CancellationToken) {
        lock(&self.entries).tokens.insert(token, end);
    }

    /// No longer keeps what belongs to this token.
    pub(crate) fn release(&self, token: &Key) {
        let mut entries = lock(&self.entries);
        if let Some(end) = entries.tokens.remove(token) {
            end.cancel();
        }
        entries.sweep();
    }

    /// The answer to this request, if it is kept and what it holds has not ended.
    pub(crate) fn get(&self, key: &Key, now: Timestamp) -> Option<Arc<Kept>> {
        let entries = lock(&self.entries);
        let entry = entries.by_key.get(key).filter(|entry| !entry.end.is_cancelled())?;
        (now < entry.kept.until.get()).then(|| Arc::clone(&entry.kept))
    }

    /// Takes the turn for a request.
    pub(crate) fn turn(self: &Arc<Self>, key: Key) -> Turn {
        let mut under_way = lock(&self.under_way);
        if let Some(done) = under_way.get(&key) {
            return Turn::Wait(done.clone());
        }
        let (sender, done) = watch::channel(());
        under_way.insert(key, done);
        Turn::Ask(Asking { cache: Arc::clone(self), key, _done: sender })
    }

    /// Keeps an answer. Gives what ends it; none where it is not kept: it belongs to a token that
    /// the agent does not know, or is too large.
    pub(crate) fn insert(
        &self,
        key: Key,
        kept: Kept,
        holds: Holds,
        origin: Origin,
    ) -> Option<CancellationToken> {
        let size = kept.body.expose().len() + origin.path.len() + 512;
        if size > self.limits.max_bytes / 4 {
            return None;
        }
        let mut entries = lock(&self.entries);
        let end = match &holds {
            Holds::Lease { token, .. } => entries.live(token)?.child_token(),
            Holds::Token { parent: Some(parent), .. } => entries.live(parent)?.child_token(),
            Holds::Token { parent: None, .. } => CancellationToken::new(),
        };
        entries.sweep();
        entries.remove(&key);
        while entries.by_key.len() >= self.limits.max_entries
            || entries.bytes + size > self.limits.max_bytes
        {
            let Some((_, oldest)) = entries.by_age.pop_first() else { break };
            entries.remove(&oldest);
        }
        if let Holds::Token { token, .. } = &holds {
            entries.tokens.insert(*token, end.clone());
        }
        entries.sequence += 1;
        let sequence = entries.sequence;
        entries.bytes += size;
        entries.by_age.insert(sequence, key);
        let kept = Arc::new(kept);
        let entry = Entry { kept, holds, origin, end: end.clone(), size, sequence };
        entries.by_key.insert(key, entry);
        Some(end)
    }

    /// Ends what `clear` says.
    pub(crate) fn clear(&self, clear: &Clear) {
        let mut entries = lock(&self.entries);
        let matching = entries.by_key.values().filter(|entry| clear.matches(entry));
        matching.for_each(|entry| entry.end.cancel());
        if let Clear::Token(token) = clear
            && let Some(end) = entries.tokens.get(token)
        {
            // Also of a token that came from elsewhere, the agent's own: what hangs on it goes, and
            // the token goes on.
            end.cancel();
            entries.tokens.insert(*token, CancellationToken::new());
        }
        entries.sweep();
    }

    /// How many answers there are, and how many bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let mut entries = lock(&self.entries);
        entries.sweep();
        (entries.by_key.len(), entries.bytes)
    }

    /// Removes what has ended.
    pub(crate) fn sweep(&self) {
        lock(&self.entries).sweep();
    }
}

impl Entries {
    fn live(&self, token: &Key) -> Option<&CancellationToken> {
        self.tokens.get(token).filter(|end| !end.is_cancelled())
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.by_key.remove(key) else { return };
        entry.end.cancel();
        self.by_age.remove(&entry.sequence);
        self.bytes -= entry.size;
        if let Holds::Token { token, .. } = &entry.holds {
            self.tokens.remove(token);
        }
    }

    fn sweep(&mut self) {
        let ended = self.by_key.iter().filter(|(_, entry)| entry.end.is_cancelled());
        let ended: Vec<Key> = ended.map(|(key, _)| *key).collect();
        ended.iter().for_each(|key| self.remove(key));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

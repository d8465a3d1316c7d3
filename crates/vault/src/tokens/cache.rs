//! Tokens that were used lately, so that a request costs no read of the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::entry::Token;
use super::hash::TokenHash;

const SHARDS: usize = 32;
/// Tokens per shard: 8,192 in all, some 8 MB.
const CAPACITY: usize = 256;

/// A bounded map of live tokens.
///
/// **Invariant**: once [`Cache::forget`] has returned, no reader that began before it can bring the
/// token back. A reader that misses takes a [`Ticket`] before it reads the store, and what it read
/// is kept only if nothing was forgotten in that shard since.
pub(crate) struct Cache(Vec<Mutex<Shard>>);

#[derive(Default)]
struct Shard {
    tokens: HashMap<TokenHash, Arc<Token>>,
    forgotten: u64,
}

/// Leave to keep what is read from the store after it was given.
pub(crate) struct Ticket {
    shard: usize,
    forgotten: u64,
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// The token, or a ticket to keep it once it is read.
    pub(crate) fn get(&self, hash: TokenHash) -> Result<Arc<Token>, Ticket> {
        let index = hash.stripe(SHARDS);
        let shard = self.shard(index);
        match shard.tokens.get(&hash) {
            Some(token) => Ok(token.clone()),
            None => Err(Ticket { shard: index, forgotten: shard.forgotten }),
        }
    }

    /// Keeps a token that was read from the store after `ticket` was given.
    pub(crate) fn keep(&self, ticket: &Ticket, token: &Arc<Token>) {
        let mut shard = self.shard(ticket.shard);
        if shard.forgotten != ticket.forgotten {
            return;
        }
        if shard.tokens.len() >= CAPACITY
            && let Some(other) = shard.tokens.keys().next().copied()
        {
            shard.tokens.remove(&other);
        }
        shard.tokens.insert(token.hash, token.clone());
    }

    /// Drops the token; called after each change of its entry.
    pub(crate) fn forget(&self, hash: TokenHash) {
        let mut shard = self.shard(hash.stripe(SHARDS));
        shard.forgotten += 1;
        shard.tokens.remove(&hash);
    }

    fn shard(&self, index: usize) -> std::sync::MutexGuard<'_, Shard> {
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

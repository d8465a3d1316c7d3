//! Tokens that have ended, for a while: so that "not valid" can be told apart.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use holdfast_types::Timestamp;

use super::cut;
use crate::tokens::{TokenEntry, TokenHash};

/// How many are remembered, in memory alone: a restart forgets them.
const MOST: usize = 4096;

/// How a token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Expired,
    Revoked,
    UsedUp,
}

/// What is remembered of it.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub how: End,
    pub at: Timestamp,
    pub accessor: String,
    pub display_name: String,
}

#[derive(Default)]
struct Memory {
    tokens: HashMap<TokenHash, Ended>,
    order: VecDeque<TokenHash>,
}

/// The tokens that ended last.
#[derive(Default)]
pub(crate) struct EndedTokens(Mutex<Memory>);

impl EndedTokens {
    /// Notes that `entry`, as it was stored last, has ended.
    pub(crate) fn note(&self, hash: TokenHash, entry: &TokenEntry, now: Timestamp) {
        let ended = of(entry, now);
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.tokens.insert(hash, ended).is_none() {
            memory.order.push_back(hash);
        }
        if memory.order.len() > MOST
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.tokens.remove(&oldest);
        }
    }

    pub(super) fn get(&self, hash: TokenHash) -> Option<Ended> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.tokens.get(&hash).cloned()
    }
}

/// How the token of `entry`, which is not live, has ended.
pub(super) fn of(entry: &TokenEntry, now: Timestamp) -> Ended {
    let how = match (entry.uses, entry.expires_at) {
        (Some(0), _) => End::UsedUp,
        (_, Some(end)) if end <= now => End::Expired,
        _ => End::Revoked,
    };
    let at = entry.expires_at.filter(|_| how == End::Expired).unwrap_or(now);
    Ended { how, at, accessor: entry.accessor.clone(), display_name: cut(&entry.display_name, 128) }
}

//! What the clients of one rule have used.
//!
//! Each client has a window of the rule's interval, which begins with its first request and is
//! refilled when it is over. At most [`MOST_CLIENTS`] have one of their own: beyond that, those that
//! come new share one, so that a storm from many addresses costs no memory and is limited as well.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_types::Timestamp;

use super::rule::Rule;

/// Clients with a window of their own, of one rule.
const MOST_CLIENTS: usize = 65_536;
/// Locks, so that clients seldom wait for each other.
const SHARDS: usize = 16;

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It may go on.
    Granted(Left),
    /// It may not, for `wait` seconds. `left` is none where the client is being blocked.
    Refused { wait: u64, left: Option<Left> },
}

/// What is left of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub requests: u64,
    pub seconds: u64,
}

/// Times in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Window {
    began: i64,
    used: u64,
    blocked_until: i64,
}

#[derive(Default)]
pub(super) struct Windows {
    shards: [Mutex<HashMap<Option<IpAddr>, Window>>; SHARDS],
}

impl Windows {
    /// Counts a request of `client`; none for one without an address.
    pub(super) fn take(&self, client: Option<IpAddr>, rule: &Rule, now: Timestamp) -> Taken {
        let now = now.as_millisecond();
        let interval = millis(rule.interval).max(1);
        let client = client.map(|address| address.to_canonical());
        let mut shard =
            self.shards[shard_of(client)].lock().unwrap_or_else(PoisonError::into_inner);
        let client = match shard.len() >= MOST_CLIENTS / SHARDS && !shard.contains_key(&client) {
            true => None,
            false => client,
        };
        let fresh = Window { began: now, used: 0, blocked_until: i64::MIN };
        let window = shard.entry(client).or_insert(fresh);
        if window.blocked_until > now {
            return Taken::Refused { wait: seconds(window.blocked_until - now), left: None };
        }
        // Also where the clock was set back.
        if now.abs_diff(window.began) >= interval.unsigned_abs() {
            *window = fresh;
        }
        let rest = window.began.saturating_add(interval).saturating_sub(now);
        let allowed = allowed(rule);
        if window.used >= allowed {
            window.blocked_until = now.saturating_add(millis(rule.block_interval));
            let left = Left { requests: 0, seconds: seconds(rest) };
            let wait = seconds(rest.max(millis(rule.block_interval)));
            return Taken::Refused { wait, left: Some(left) };
        }
        window.used += 1;
        Taken::Granted(Left { requests: allowed - window.used, seconds: seconds(rest) })
    }

    /// Forgets windows that are over.
    pub(super) fn tidy(&self, rule: &Rule, now: Timestamp) {
        let now = now.as_millisecond();
        let interval = millis(rule.interval);
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, window| {
                now.saturating_sub(window.began) < interval || window.blocked_until > now
            });
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Whole requests in an interval: a fraction counts as one.
fn allowed(rule: &Rule) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "above zero, and a float is cast to the nearest that fits"
    )]
    let allowed = rule.rate.ceil() as u64;
    allowed
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whole seconds, begun ones left out.
fn seconds(millis: i64) -> u64 {
    millis.max(0).unsigned_abs() / 1000
}

fn shard_of(client: Option<IpAddr>) -> usize {
    let sum = |octets: &[u8]| {
        octets.iter().fold(0_usize, |sum, o| sum.wrapping_mul(31) + usize::from(*o))
    };
    match client {
        Some(IpAddr::V4(address)) => sum(&address.octets()) % SHARDS,
        Some(IpAddr::V6(address)) => sum(&address.octets()) % SHARDS,
        None => 0,
    }
}

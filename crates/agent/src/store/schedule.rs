//! When a secret is looked at again.

use std::time::Duration;

use super::answer::{Answer, Lease, Life};
use super::{Moment, Request};

/// What is done when the time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask again.
    Read,
    /// Prolong the lease.
    Renew,
}

/// How an answer is kept up to date.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How often what may change at any time is read again.
    pub(super) static_interval: Duration,
    /// After which part of its life a lease that cannot be renewed is replaced.
    pub(super) threshold: f64,
    /// Whether changes at this path are told by the server.
    pub(super) is_told: bool,
}

/// What comes next after `answer` came, and how long after. None: nothing, until it is told of.
pub(super) fn after_answer(
    request: &Request,
    answer: &Answer,
    rules: Rules,
    now: Moment,
) -> Option<(Next, Duration)> {
    if let Some(lease) = answer.lease.as_ref().filter(|lease| lease.seconds > 0) {
        return Some(after_lease(lease, lease.seconds, rules, now));
    }
    let spread = |seconds: u64, from: f64, to: f64| {
        Duration::from_secs(seconds).mul_f64(from + (to - from) * now.chance)
    };
    let read = |wait| Some((Next::Read, wait));
    match answer.life {
        Life::Seconds(seconds) => read(spread(seconds, rules.threshold - 0.05, rules.threshold)),
        // The consumers need time to take it up: 87 to 90 % of what is left.
        Life::Certificate(until) => {
            let left = u64::try_from(until - now.wall.as_second()).unwrap_or(0);
            read(spread(left, 0.87, 0.90).max(Duration::from_secs(1)))
        }
        // A moment later it is another; and somebody may have it rotated before its time.
        Life::Rotates(seconds) => {
            let moment = Duration::from_secs(1).mul_f64(1.0 + now.chance);
            let early = rules.static_interval.mul_f64(1.0 - 0.1 * now.chance);
            read((Duration::from_secs(seconds) + moment).min(early))
        }
        // Repeating a write makes something new, which nobody asked for.
        Life::Unknown if !request.is_repeatable() || rules.is_told => None,
        Life::Unknown => {
            let mut wait = rules.static_interval;
            if answer.lease_duration > 0 {
                wait = wait.min(Duration::from_secs(answer.lease_duration));
            }
            read(wait.mul_f64(1.0 - 0.1 * now.chance))
        }
    }
}

/// What comes next for `lease`, which was first given for `whole` seconds.
pub(super) fn after_lease(
    lease: &Lease,
    whole: u64,
    rules: Rules,
    now: Moment,
) -> (Next, Duration) {
    let life = Duration::from_secs(lease.seconds);
    // Once it is given for less than half of its first life it has met its end.
    if lease.renewable && lease.seconds >= whole.div_ceil(2) {
        return (Next::Renew, life.mul_f64(2.0 / 3.0 - 0.1 * now.chance));
    }
    let part = rules.threshold - 0.1 * now.chance;
    (Next::Read, life.mul_f64(part.clamp(0.05, 0.95)))
}

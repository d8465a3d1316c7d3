//! When to log in, to renew and to look: decided from what happened, and the time. No I/O.
//!
//! A token is renewed after two thirds of its life. Once a renewal gives less than the login gave,
//! its longest life is near: then, as for a token that cannot be renewed, the next thing is another
//! login, while the old token still works. Every time is spread by chance, so that a thousand agents
//! that were started together do not come back together.

use std::time::Duration;

use holdfast_types::Timestamp;

use super::Life;

/// How patient the operator wants it to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) min_backoff: Duration,
    pub(crate) max_backoff: Duration,
    /// Gives up at the first failed login.
    pub(crate) exit_on_err: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    LogIn,
    Renew,
    /// Ask the server whether the token is still good.
    LookUp,
    /// Nothing until then, or until something happens.
    Wait(Option<Timestamp>),
    /// The login failed, and the operator wants no other.
    GiveUp,
}

/// The agent's login, over time.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    rules: Rules,
    phase: Phase,
    /// Failures since something last went well.
    failures: u32,
    /// When the token was last looked up because of a doubt.
    looked: Option<Timestamp>,
}

#[derive(Debug)]
enum Phase {
    /// No token; the next login is due then.
    Out(Timestamp),
    In(Held),
    /// The token was passed on wrapped: there is nothing to keep.
    Passed,
    GivenUp,
}

#[derive(Debug)]
struct Held {
    /// How long it was to last when it was new.
    granted: Option<Duration>,
    expires: Option<Timestamp>,
    /// What is next, and when; none for a token without an end.
    next: Option<(Timestamp, Step)>,
    /// When a doubt is to be settled.
    look: Option<Timestamp>,
}

/// The shortest time between two requests about a token, whatever its life.
const PAUSE: Duration = Duration::from_secs(1);

impl Lifecycle {
    /// One whose first login is due at once.
    pub(crate) fn new(rules: Rules) -> Self {
        let phase = Phase::Out(Timestamp::MIN);
        Self { rules, phase, failures: 0, looked: None }
    }

    /// What to do at `now`.
    pub(crate) fn step(&self, now: Timestamp) -> Step {
        let held = match &self.phase {
            Phase::Out(at) if *at <= now => return Step::LogIn,
            Phase::Out(at) => return Step::Wait(Some(*at)),
            Phase::Passed => return Step::Wait(None),
            Phase::GivenUp => return Step::GiveUp,
            Phase::In(held) => held,
        };
        let next = match held.next {
            // A machine that slept wakes up with a token that has ended.
            Some(_) if held.expires.is_some_and(|end| end <= now) => Some((now, Step::LogIn)),
            next => next,
        };
        let look = held.look.map(|at| (at, Step::LookUp));
        match [look, next].into_iter().flatten().min_by_key(|(at, _)| *at) {
            Some((at, step)) if at <= now => step,
            Some((at, _)) => Step::Wait(Some(at)),
            None => Step::Wait(None),
        }
    }

    /// A login went well. `chance` is a number from 0 to 1, here as below.
    pub(crate) fn logged_in(&mut self, now: Timestamp, life: Life, chance: f64) {
        self.failures = 0;
        let expires = life.ttl.map(|ttl| after(now, ttl));
        let next = life.ttl.map(|ttl| match life.renewable {
            true => (part(now, ttl, 2.0 / 3.0, chance), Step::Renew),
            false => (part(now, ttl, 0.9, chance), Step::LogIn),
        });
        self.phase = Phase::In(Held { granted: life.ttl, expires, next, look: None });
    }

    /// A login went well whose token is passed on wrapped.
    pub(crate) fn passed_on(&mut self) {
        self.failures = 0;
        self.phase = Phase::Passed;
    }

    /// A login failed. Gives the wait until the next.
    pub(crate) fn login_failed(&mut self, now: Timestamp, chance: f64) -> Option<Duration> {
        if self.rules.exit_on_err {
            self.phase = Phase::GivenUp;
            return None;
        }
        let wait = self.backoff(chance);
        let at = after(now, wait);
        match &mut self.phase {
            Phase::In(held) if held.expires.is_none_or(|end| end > now) => {
                held.next = Some((at, Step::LogIn));
            }
            phase => *phase = Phase::Out(at),
        }
        Some(wait)
    }

    /// A renewal went well.
    pub(crate) fn renewed(&mut self, now: Timestamp, life: Life, chance: f64) {
        self.failures = 0;
        let Phase::In(held) = &mut self.phase else { return };
        held.expires = life.ttl.map(|ttl| after(now, ttl));
        held.next = life.ttl.map(|ttl| {
            let at = part(now, ttl, 2.0 / 3.0, chance);
            // A tenth less is how servers round; more is the longest life coming near.
            let shorter = held.granted.is_some_and(|granted| ttl < granted.mul_f64(0.9));
            (at, if life.renewable && !shorter { Step::Renew } else { Step::LogIn })
        });
    }

    /// The server refuses to renew: the token is dead, or cannot be renewed.
    pub(crate) fn renewal_refused(&mut self, now: Timestamp) {
        if let Phase::In(held) = &mut self.phase {
            held.next = Some((now, Step::LogIn));
        }
    }

    /// No answer came to a renewal. It is tried again while the token lasts. Gives the wait.
    pub(crate) fn renewal_failed(&mut self, now: Timestamp, chance: f64) -> Duration {
        let wait = self.backoff(chance);
        if let Phase::In(held) = &mut self.phase {
            let end = held.expires.unwrap_or(Timestamp::MAX);
            held.next = Some((after(now, wait).min(end), Step::Renew));
        }
        wait
    }

    /// Somebody's request was refused with this token. Looks come no closer together than logins.
    pub(crate) fn doubted(&mut self, now: Timestamp) {
        let soonest = self.looked.map_or(now, |at| after(at, self.rules.min_backoff));
        if let Phase::In(held) = &mut self.phase {
            held.look.get_or_insert(soonest.max(now));
        }
    }

    /// The token was looked up: `alive` is none where no answer came.
    pub(crate) fn looked_up(&mut self, now: Timestamp, alive: Option<bool>) {
        self.looked = Some(now);
        let Phase::In(held) = &mut self.phase else { return };
        held.look = None;
        if alive == Some(false) {
            self.phase = Phase::Out(now);
        }
    }

    /// The credential is another than at the last login.
    pub(crate) fn credential_changed(&mut self, now: Timestamp) {
        match &mut self.phase {
            Phase::In(held) => held.next = Some((now, Step::LogIn)),
            phase @ (Phase::Out(_) | Phase::Passed) => *phase = Phase::Out(now),
            Phase::GivenUp => {}
        }
    }

    /// Whether there is a token that, as far as is known, works.
    pub(crate) fn is_in(&self) -> bool {
        matches!(self.phase, Phase::In(_))
    }

    /// When the token ends.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::In(held) => held.expires,
            _ => None,
        }
    }

    /// From `min_backoff` up to a bound that doubles with each failure, up to `max_backoff`: full
    /// jitter.
    fn backoff(&mut self, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let Rules { min_backoff, max_backoff, .. } = self.rules;
        let doubled = min_backoff.saturating_mul(1 << self.failures.min(20));
        let bound = doubled.min(max_backoff).max(min_backoff);
        min_backoff + (bound - min_backoff).mul_f64(chance)
    }
}

/// A moment after `share` of `ttl`, or up to a tenth of it earlier; never at once.
fn part(now: Timestamp, ttl: Duration, share: f64, chance: f64) -> Timestamp {
    after(now, ttl.mul_f64(share - 0.1 * chance).max(PAUSE))
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;

//! When a credential is replaced, and what becomes of the old one: decided from what happened, and
//! the time. No I/O.
//!
//! A credential is a generation: a login, the user that was read with its token, a pool. It is
//! wanted, serves, drains and is revoked; at most one is on its way in, one serves, and a few are
//! on their way out. Whatever fails, the one that serves goes on, and what a failed attempt left
//! behind at the secrets server is revoked like any other.

use std::time::Duration;

/// Time since the pool began. It goes on while a machine sleeps: see [`super::elapsed`].
pub(super) type Moment = Duration;

/// A credential, in the order of their logins, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Generation(pub(super) u64);

/// How patient the service wants it to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rules {
    /// How long connections that are in use may go on after their credential was replaced.
    pub(super) drain_limit: Duration,
    /// The wait after a failure, and the longest.
    pub(super) backoff: (Duration, Duration),
    /// How long the end may take beyond the drain.
    pub(super) close_limit: Duration,
    /// How many generations may be on their way out. More of them, and no other login is begun.
    pub(super) leaving: usize,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Time passed.
    Time,
    /// A token is there, which lasts that long from the asking; for ever where none.
    LoggedIn(Generation, Option<Duration>),
    /// There is no token.
    LoginFailed(Generation),
    /// A database user is there, which lasts that long from the asking.
    Read(Generation, Duration),
    /// There is no user, or none that is known of.
    ReadFailed(Generation),
    /// A pool of connections stands.
    Probed(Generation),
    /// PostgreSQL does not take the user.
    ProbeFailed(Generation),
    /// All connections were given back.
    Drained(Generation),
    /// Nothing is left of it at the secrets server.
    Revoked(Generation),
    /// No answer, or a failure that may pass.
    RevokeFailed(Generation),
    /// The secrets server refuses: the token is dead, and all that hung on it with it, or it may not
    /// revoke.
    RevokeRefused(Generation),
    /// PostgreSQL refuses a credential that it took before, or somebody asks for another.
    Doubted(Generation),
    /// The service ends.
    Close,
}

/// What to do. Each is answered by one event, but for those that are done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    /// Log in.
    LogIn(Generation),
    /// Read a database user with its token.
    Read(Generation),
    /// Open the first connections.
    Probe(Generation),
    /// At once: getters get connections of this one, whose credential lasts that long from now.
    Serve(Generation, Duration),
    /// Let getters have no more of its connections, and tell when all are given back.
    Drain(Generation),
    /// At once: wait no longer for its connections.
    Cut(Generation),
    /// End its lease and its token.
    Revoke(Generation),
    /// At once: forget it. Its time is over, so the secrets server ends it, or has.
    Forget(Generation),
    /// At once: all is done, or has taken too long.
    Finish,
}

/// The pool's credentials, over time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lifecycle {
    Open(State),
    /// Nothing new is begun. Then it takes too long.
    Closing(State, Moment),
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    rules: Rules,
    attempt: Attempt,
    /// Failures since a credential last came to serve.
    failures: u32,
    serving: Option<Serving>,
    leaving: Vec<Leaving>,
    /// How many generations there were.
    count: u64,
}

/// The next credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Attempt {
    /// Nothing is under way; the next begins then.
    Due(Moment),
    LoggingIn(Generation, Asked),
    Reading(Generation, Asked, TokenEnd),
    Probing(Generation, Term),
}

type Asked = Moment;
type TokenEnd = Option<End>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Serving {
    generation: Generation,
    term: Term,
    since: Moment,
}

/// A credential's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Term {
    begin: Moment,
    end: End,
}

/// When something ends that lasts from some moment between the asking and the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct End {
    /// Before this it works.
    earliest: Moment,
    /// From here on the secrets server has ended it.
    latest: Moment,
}

/// A generation on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Leaving {
    generation: Generation,
    /// When the secrets server ends it by itself.
    end: Option<Moment>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Connections are in use, which is waited for until then.
    Draining(Moment),
    /// The secrets server was asked to revoke it, after so many failures.
    Revoking(u32),
    /// It is asked again then.
    Waiting(Moment, u32),
}

/// The shortest time between two rotations, whatever is said against the credential.
const PAUSE: Duration = Duration::from_secs(1);
/// Which part of a credential's life comes before its rotation begins, in sixths.
const SIXTHS: u32 = 5;
/// Up to which part of its life the rotation begins earlier, by chance: one in fifty.
const SPREAD: f64 = 0.02;

impl Lifecycle {
    /// One whose first login is due at once.
    pub(super) fn new(rules: Rules) -> Self {
        let attempt = Attempt::Due(Moment::ZERO);
        let (serving, leaving) = (None, Vec::new());
        Self::Open(State { rules, attempt, failures: 0, serving, leaving, count: 0 })
    }

    /// What follows on `event` at `now`. `chance` is a number from 0 to 1.
    pub(super) fn handle(self, now: Moment, chance: f64, event: Event) -> (Self, Vec<Do>) {
        let mut todo = Vec::new();
        let next = match (self, event) {
            (Self::Open(mut state), Event::Close) => {
                let limit = now + state.rules.drain_limit + state.rules.close_limit;
                state.retire(now, &mut todo);
                for leaving in &mut state.leaving {
                    if let Step::Waiting(at, _) = &mut leaving.step {
                        *at = now;
                    }
                }
                Self::Closing(state, limit)
            }
            (Self::Open(mut state), event) => {
                state.take(now, chance, event, false, &mut todo);
                Self::Open(state)
            }
            (Self::Closing(mut state, limit), event) => {
                state.take(now, chance, event, true, &mut todo);
                Self::Closing(state, limit)
            }
            (Self::Closed, _) => Self::Closed,
        };
        (next.pass(now, &mut todo), todo)
    }

    /// When to come back with [`Event::Time`], if nothing happens before.
    pub(super) fn wake(&self) -> Option<Moment> {
        match self {
            Self::Open(state) => {
                let due = match state.attempt {
                    Attempt::Due(at) if state.has_room() => Some(at),
                    _ => None,
                };
                state.leaving.iter().filter_map(Leaving::wake).chain(due).min()
            }
            Self::Closing(state, limit) => {
                state.leaving.iter().filter_map(Leaving::wake).chain([*limit]).min()
            }
            Self::Closed => None,
        }
    }

    /// What the time alone brings.
    fn pass(self, now: Moment, todo: &mut Vec<Do>) -> Self {
        match self {
            Self::Open(mut state) => {
                state.hurry(now, todo);
                state.begin(now, todo);
                Self::Open(state)
            }
            Self::Closing(mut state, limit) => {
                state.hurry(now, todo);
                let is_done = state.leaving.is_empty() && matches!(state.attempt, Attempt::Due(_));
                if is_done || limit <= now {
                    todo.push(Do::Finish);
                    return Self::Closed;
                }
                Self::Closing(state, limit)
            }
            Self::Closed => Self::Closed,
        }
    }
}

impl State {
    fn take(&mut self, now: Moment, chance: f64, event: Event, closing: bool, todo: &mut Vec<Do>) {
        if let Event::Doubted(generation) = event {
            return self.doubt(now, generation);
        }
        match (self.attempt, event) {
            (Attempt::LoggingIn(generation, asked), Event::LoggedIn(of, life))
                if of == generation =>
            {
                let end = life.map(|life| End::after(life, asked, now));
                self.attempt = if closing {
                    self.revoke(generation, end, todo);
                    Attempt::Due(now)
                } else {
                    todo.push(Do::Read(generation));
                    Attempt::Reading(generation, now, end)
                };
            }
            (Attempt::LoggingIn(generation, _), Event::LoginFailed(of)) if of == generation => {
                self.fail(now, chance);
            }
            (Attempt::Reading(generation, asked, token), Event::Read(of, life))
                if of == generation =>
            {
                // A lease ends with the token that it hangs on.
                let end = End::after(life, asked, now);
                let end = token.map_or(end, |token| token.or(end));
                self.attempt = if closing {
                    self.revoke(generation, Some(end), todo);
                    Attempt::Due(now)
                } else {
                    todo.push(Do::Probe(generation));
                    Attempt::Probing(generation, Term { begin: asked, end })
                };
            }
            (Attempt::Reading(generation, _, token), Event::ReadFailed(of)) if of == generation => {
                // A user may have been made all the same, and the token takes it along.
                self.revoke(generation, token, todo);
                self.fail(now, chance);
            }
            (Attempt::Probing(generation, term), Event::Probed(of)) if of == generation => {
                if closing {
                    self.revoke(generation, Some(term.end), todo);
                    self.attempt = Attempt::Due(now);
                } else {
                    todo.push(Do::Serve(generation, term.end.earliest.saturating_sub(now)));
                    self.retire(now, todo);
                    self.serving = Some(Serving { generation, term, since: now });
                    self.failures = 0;
                    let next = term.rotation(&self.rules, chance).max(now + PAUSE);
                    self.attempt = Attempt::Due(next);
                }
            }
            (Attempt::Probing(generation, term), Event::ProbeFailed(of)) if of == generation => {
                self.revoke(generation, Some(term.end), todo);
                self.fail(now, chance);
            }
            (_, event) => {
                let (shortest, longest) = self.rules.backoff;
                // Nobody waits for a close longer than needs be.
                let backoff = (shortest, if closing { shortest } else { longest });
                self.leaving.retain_mut(|leaving| leaving.take(now, chance, backoff, event, todo));
            }
        }
    }

    /// The next attempt, as soon as that may be, if it is this credential that serves.
    fn doubt(&mut self, now: Moment, generation: Generation) {
        if let (Some(serving), Attempt::Due(at)) = (self.serving, self.attempt)
            && serving.generation == generation
            // After a failure the wait is over soon enough.
            && self.failures == 0
        {
            self.attempt = Attempt::Due(at.min(now.max(serving.since + PAUSE)));
        }
    }

    /// Begins the attempt that is due.
    fn begin(&mut self, now: Moment, todo: &mut Vec<Do>) {
        if let Attempt::Due(at) = self.attempt
            && at <= now
            && self.has_room()
        {
            self.count += 1;
            let generation = Generation(self.count);
            todo.push(Do::LogIn(generation));
            self.attempt = Attempt::LoggingIn(generation, now);
        }
    }

    fn has_room(&self) -> bool {
        self.leaving.len() < self.rules.leaving
    }

    /// The attempt has failed: another follows, soon for a credential with a short life.
    fn fail(&mut self, now: Moment, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let (shortest, longest) = self.rules.backoff;
        let longest = self
            .serving
            .map_or(longest, |serving| longest.min(serving.term.life() / 12).max(shortest));
        self.attempt = Attempt::Due(now + wait(self.failures, (shortest, longest), chance));
    }

    /// Takes the credential that serves out of service.
    fn retire(&mut self, now: Moment, todo: &mut Vec<Do>) {
        let Some(Serving { generation, term, .. }) = self.serving.take() else { return };
        let step = Step::Draining(now + term.drain(&self.rules));
        self.leaving.push(Leaving { generation, end: Some(term.end.latest), step });
        todo.push(Do::Drain(generation));
    }

    /// Ends a credential that never served.
    fn revoke(&mut self, generation: Generation, end: Option<End>, todo: &mut Vec<Do>) {
        let end = end.map(|end| end.latest);
        self.leaving.push(Leaving { generation, end, step: Step::Revoking(0) });
        todo.push(Do::Revoke(generation));
    }

    /// Moves on what is on its way out.
    fn hurry(&mut self, now: Moment, todo: &mut Vec<Do>) {
        for leaving in &mut self.leaving {
            match leaving.step {
                Step::Draining(until) if until <= now => {
                    todo.extend([Do::Cut(leaving.generation), Do::Revoke(leaving.generation)]);
                    leaving.step = Step::Revoking(0);
                }
                Step::Waiting(at, failures) if at <= now => {
                    todo.push(Do::Revoke(leaving.generation));
                    leaving.step = Step::Revoking(failures);
                }
                _ => {}
            }
        }
    }
}

impl End {
    fn after(life: Duration, asked: Moment, answered: Moment) -> Self {
        Self { earliest: asked.saturating_add(life), latest: answered.saturating_add(life) }
    }

    /// Whichever is first.
    fn or(self, other: Self) -> Self {
        Self { earliest: self.earliest.min(other.earliest), latest: self.latest.min(other.latest) }
    }
}

impl Term {
    fn life(self) -> Duration {
        self.end.earliest.saturating_sub(self.begin)
    }

    /// How long its connections may go on: not longer than half its life, or it would be replaced
    /// before it is of use.
    fn drain(self, rules: &Rules) -> Duration {
        rules.drain_limit.min(self.life() / 2)
    }

    /// When its rotation begins: at five sixths of its life or somewhat earlier, and never so late
    /// that its connections could not drain.
    fn rotation(self, rules: &Rules, chance: f64) -> Moment {
        let life = self.life();
        let usual = life * SIXTHS / 6 - life.mul_f64(SPREAD * chance);
        self.begin + usual.min(life.saturating_sub(self.drain(rules)))
    }
}

impl Leaving {
    fn wake(&self) -> Option<Moment> {
        match self.step {
            Step::Draining(at) | Step::Waiting(at, _) => Some(at),
            Step::Revoking(_) => None,
        }
    }

    /// Whether it stays.
    fn take(
        &mut self,
        now: Moment,
        chance: f64,
        backoff: (Duration, Duration),
        event: Event,
        todo: &mut Vec<Do>,
    ) -> bool {
        match (self.step, event) {
            (Step::Draining(_), Event::Drained(of)) if of == self.generation => {
                todo.push(Do::Revoke(of));
                self.step = Step::Revoking(0);
                true
            }
            (Step::Revoking(_), Event::Revoked(of) | Event::RevokeRefused(of)) => {
                of != self.generation
            }
            (Step::Revoking(failures), Event::RevokeFailed(of)) if of == self.generation => {
                if self.end.is_some_and(|end| end <= now) {
                    todo.push(Do::Forget(of));
                    return false;
                }
                let failures = failures.saturating_add(1);
                let at = now + wait(failures, backoff, chance);
                // Once more at its end: then that was the last time.
                let at = self.end.map_or(at, |end| at.min(end));
                self.step = Step::Waiting(at, failures);
                true
            }
            _ => true,
        }
    }
}

/// From the shortest wait up to a bound that doubles with each failure, up to the longest: full
/// jitter.
fn wait(failures: u32, (shortest, longest): (Duration, Duration), chance: f64) -> Duration {
    let bound = shortest.saturating_mul(1 << failures.min(20)).min(longest).max(shortest);
    shortest + (bound - shortest).mul_f64(chance)
}

#[cfg(test)]
mod tests;

//! Every order of events, in a world so small that all its states can be visited.
//!
//! Each order of the lifecycle can be answered in each way, soon or late, or (a drain) never; leases
//! and tokens are long or short; the machine can sleep, the credential can be doubted, the service
//! can end, at any point. States that differ in nothing that counts are visited once.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use super::*;

const RULES: Rules = Rules {
    drain_limit: seconds(20),
    backoff: (seconds(2), seconds(8)),
    close_limit: seconds(10),
    leaving: 2,
};
/// A usual lease, and one that is shorter than twice the drain.
const LEASES: [Duration; 2] = [seconds(60), seconds(30)];
/// A token that outlives them, and one that outlives neither.
const TOKENS: [Option<Duration>; 2] = [Some(seconds(90)), Some(seconds(24))];
const SLEEP: Duration = seconds(43_200);
/// A slow answer.
const LATE: Duration = seconds(7);
/// How many credentials a history has, and how often something goes wrong in it: a failure, a
/// refusal, a slow answer, a sleep, a doubt.
const SIZES: [(u64, u8); 2] = [(3, 1), (2, 2)];

/// What the secrets server and the pool know of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Fate {
    served: bool,
    closed: bool,
    /// Its connections are given back, or are waited for no longer.
    drained: bool,
    end: Option<Moment>,
}

#[derive(Debug, Clone)]
struct World {
    lifecycle: Lifecycle,
    now: Moment,
    /// Orders without an answer yet.
    open: Vec<Do>,
    /// Who has a token at the secrets server that is not revoked.
    alive: BTreeMap<Generation, Fate>,
    /// Whose connections getters get.
    serving: Option<Generation>,
    is_closing: bool,
    is_finished: bool,
    generations: u64,
    /// How much can still go wrong.
    troubles: u8,
    /// How it came to be here, for messages.
    path: Option<Rc<Link>>,
}

#[derive(Debug)]
struct Link {
    before: Option<Rc<Link>>,
    at: Moment,
    event: Event,
    orders: Vec<Do>,
}

impl World {
    fn new((generations, troubles): (u64, u8)) -> Self {
        let world = Self {
            lifecycle: Lifecycle::new(RULES),
            now: Moment::ZERO,
            open: Vec::new(),
            alive: BTreeMap::new(),
            serving: None,
            is_closing: false,
            is_finished: false,
            generations,
            troubles,
            path: None,
        };
        world.after(Event::Time)
    }

    /// The world after an event, with all that must hold in it.
    fn after(&self, event: Event) -> Self {
        let mut world = self.clone();
        world.is_closing |= event == Event::Close;
        world.happens(event);
        let (lifecycle, orders) = world.lifecycle.clone().handle(world.now, 0.5, event);
        world.lifecycle = lifecycle;
        let (before, at) = (world.path.take(), self.now);
        world.path = Some(Rc::new(Link { before, at, event, orders: orders.clone() }));
        for order in orders {
            world.ordered(order);
        }
        world.must_hold();
        world
    }

    /// How it came to be here.
    fn told(&self) -> String {
        let mut lines = Vec::new();
        let mut next = &self.path;
        while let Some(link) = next {
            lines.push(format!(
                "{:>6.1} {:?}: {:?}",
                link.at.as_secs_f64(),
                link.event,
                link.orders
            ));
            next = &link.before;
        }
        lines.reverse();
        lines.join("\n")
    }

    /// What an event means at the secrets server and in the pool.
    fn happens(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::LoggedIn(of, life) => {
                let end = life.map(|life| now + life);
                self.alive.insert(of, Fate { end, ..Fate::default() });
            }
            Event::Read(of, life) => {
                let fate = self.alive.get_mut(&of).expect("it logged in");
                let end = now + life;
                fate.end = Some(fate.end.map_or(end, |token| token.min(end)));
            }
            Event::Drained(of) => {
                if let Some(fate) = self.alive.get_mut(&of) {
                    fate.drained = true;
                }
            }
            Event::Revoked(of) | Event::RevokeRefused(of) => {
                self.alive.remove(&of);
            }
            _ => {}
        }
    }

    fn ordered(&mut self, order: Do) {
        let before = Self { open: Vec::new(), ..self.clone() };
        let told = || before.told();
        assert!(!self.is_finished, "nothing follows the end\n{}", told());
        match order {
            Do::LogIn(of) => {
                assert!(!self.is_closing, "no login at the end\n{}", told());
                assert!(!self.alive.contains_key(&of));
                let is_attempt =
                    |open: &Do| matches!(open, Do::LogIn(_) | Do::Read(_) | Do::Probe(_));
                assert!(!self.open.iter().any(is_attempt), "one attempt at a time\n{}", told());
            }
            Do::Read(of) | Do::Probe(of) => assert!(self.alive.contains_key(&of), "{}", told()),
            Do::Serve(of, _) => {
                assert!(!self.is_closing, "nobody is served at the end\n{}", told());
                self.alive.get_mut(&of).expect("a living credential serves").served = true;
                self.serving = Some(of);
                return;
            }
            Do::Drain(of) => {
                assert!(
                    self.is_closing || self.serving.is_some_and(|serving| serving > of),
                    "getters always have a pool\n{}",
                    told()
                );
                if self.serving == Some(of) {
                    self.serving = None;
                }
                self.alive.get_mut(&of).expect("it is alive").closed = true;
            }
            Do::Cut(of) => {
                self.open.retain(|open| *open != Do::Drain(of));
                self.alive.get_mut(&of).expect("it is alive").drained = true;
                return;
            }
            Do::Revoke(of) => {
                assert_ne!(self.serving, Some(of), "what serves is not revoked\n{}", told());
                assert!(!self.open.contains(&order), "one revocation at a time\n{}", told());
                let fate = self.alive.get(&of);
                let fate = fate.unwrap_or_else(|| panic!("{of:?} is revoked already\n{}", told()));
                assert!(
                    !fate.served || (fate.closed && fate.drained),
                    "connections are in use\n{}",
                    told()
                );
            }
            Do::Forget(of) => {
                let end = self.alive.remove(&of).expect("it is alive").end;
                assert!(end.is_some_and(|end| end <= self.now), "its time is not over\n{}", told());
                return;
            }
            Do::Finish => {
                self.is_finished = true;
                self.open.clear();
                return;
            }
        }
        self.open.push(order);
    }

    fn must_hold(&self) {
        let told = || self.told();
        let state = match &self.lifecycle {
            Lifecycle::Open(state) => state,
            Lifecycle::Closing(state, limit) => {
                assert!(self.is_closing && self.now < *limit, "{}", told());
                return assert!(state.leaving.len() <= RULES.leaving + 1, "{}", told());
            }
            Lifecycle::Closed => {
                assert!(self.is_finished, "{}", told());
                return assert_eq!(self.lifecycle.wake(), None);
            }
        };
        assert_eq!(state.serving.map(|serving| serving.generation), self.serving, "{}", told());
        assert!(state.leaving.len() <= RULES.leaving, "{}", told());
        // Whoever is alive serves, comes or goes: nobody is lost.
        let known = |generation: &Generation| {
            let comes = match state.attempt {
                Attempt::Due(_) => None,
                Attempt::LoggingIn(of, ..) | Attempt::Reading(of, ..) | Attempt::Probing(of, _) => {
                    Some(of)
                }
            };
            self.serving == Some(*generation)
                || comes == Some(*generation)
                || state.leaving.iter().any(|leaving| leaving.generation == *generation)
        };
        assert!(self.alive.keys().all(known), "{:?}\n{}", self.alive, told());
        if let Attempt::Due(at) = state.attempt
            && state.has_room()
        {
            assert!(at > self.now, "what is due has begun\n{}", told());
            assert!(self.lifecycle.wake().is_some_and(|wake| wake <= at), "{}", told());
            if let Some(Serving { term, since, .. }) = state.serving {
                let latest = term.end.earliest - term.drain(&RULES);
                match state.failures {
                    // Never later than the end minus the drain.
                    0 => assert!(at <= latest.max(since + PAUSE), "{}", told()),
                    _ => assert!(at <= self.now + RULES.backoff.1, "{}", told()),
                }
            }
        }
    }

    /// The ways in which an order can be answered.
    fn answers(order: Do) -> Vec<Event> {
        match order {
            Do::LogIn(of) => {
                let tokens = TOKENS.into_iter().map(|token| Event::LoggedIn(of, token));
                tokens.chain([Event::LoginFailed(of)]).collect()
            }
            Do::Read(of) => {
                let leases = LEASES.into_iter().map(|lease| Event::Read(of, lease));
                leases.chain([Event::ReadFailed(of)]).collect()
            }
            Do::Probe(of) => vec![Event::Probed(of), Event::ProbeFailed(of)],
            Do::Drain(of) => vec![Event::Drained(of)],
            Do::Revoke(of) => {
                vec![Event::Revoked(of), Event::RevokeFailed(of), Event::RevokeRefused(of)]
            }
            order => panic!("{order:?} is done at once"),
        }
    }

    fn answered(&self, order: Do, event: Event) -> Self {
        let mut world = self.clone();
        world.open.retain(|open| *open != order);
        world.after(event)
    }

    fn later(&self, by: Duration) -> Self {
        let mut world = self.clone();
        world.now += by;
        world.after(Event::Time)
    }

    /// All that can happen next.
    fn next(&self) -> Vec<Self> {
        let count = match &self.lifecycle {
            Lifecycle::Open(state) | Lifecycle::Closing(state, _) => state.count,
            Lifecycle::Closed => return Vec::new(),
        };
        if count > self.generations {
            return Vec::new();
        }
        let mut next = Vec::new();
        let troubled = Self { troubles: self.troubles.saturating_sub(1), ..self.clone() };
        for order in &self.open {
            for event in Self::answers(*order) {
                match event {
                    Event::LoginFailed(_)
                    | Event::ReadFailed(_)
                    | Event::ProbeFailed(_)
                    | Event::RevokeFailed(_)
                    | Event::RevokeRefused(_) => {
                        if self.troubles > 0 {
                            next.push(troubled.answered(*order, event));
                        }
                    }
                    event => next.push(self.answered(*order, event)),
                }
            }
        }
        if let Some(wake) = self.lifecycle.wake() {
            next.push(self.later(wake - self.now));
        }
        if self.troubles > 0 {
            next.push(troubled.later(SLEEP));
            if !self.open.is_empty() {
                next.push(troubled.later(LATE));
            }
            if let Some(serving) = self.serving {
                next.push(troubled.after(Event::Doubted(serving)));
            }
        }
        if !self.is_closing {
            next.push(self.after(Event::Close));
        }
        next
    }

    /// From here on all goes well. Gives the world when nothing but the next rotation is left.
    fn settled(&self) -> Self {
        let mut world = self.clone();
        for _ in 0..200 {
            if let Some(order) = world.open.first().copied() {
                world = world.answered(order, Self::answers(order)[0]);
            } else if world.is_finished || (world.alive.len() == 1 && world.serving.is_some()) {
                return world;
            } else if let Some(wake) = world.lifecycle.wake() {
                world = world.later(wake - world.now);
            }
        }
        panic!("it does not settle\n{}", world.told());
    }

    /// When a close has taken too long.
    fn limit(&self) -> Moment {
        match self.lifecycle {
            Lifecycle::Closing(_, limit) => limit,
            _ => Moment::MAX,
        }
    }

    /// All that counts of it, with times from now and generations from the oldest.
    fn shape(&self) -> String {
        use std::fmt::Write as _;
        let from = |at: Moment| {
            at.as_secs_f64().max(self.now.as_secs_f64() - 1.0) - self.now.as_secs_f64()
        };
        let to = |end: End| (from(end.earliest), from(end.latest));
        let ago = |at: Moment| self.now.saturating_sub(at).as_secs_f64();
        let count = match &self.lifecycle {
            Lifecycle::Open(state) | Lifecycle::Closing(state, _) => state.count,
            Lifecycle::Closed => 0,
        };
        let age = |generation: Generation| count - generation.0;
        let mut text = format!("{} {} {count} ", self.is_closing, self.troubles);
        let (state, limit) = match &self.lifecycle {
            Lifecycle::Open(state) => (state, None),
            Lifecycle::Closing(state, limit) => (state, Some(from(*limit))),
            Lifecycle::Closed => return text,
        };
        let attempt = match state.attempt {
            Attempt::Due(at) => format!("due {}", from(at)),
            Attempt::LoggingIn(of, asked) => format!("in {} {}", age(of), ago(asked)),
            Attempt::Reading(of, asked, end) => {
                format!("read {} {} {:?}", age(of), ago(asked), end.map(to))
            }
            Attempt::Probing(of, term) => {
                format!("probe {} {:?} {:?}", age(of), term.life(), to(term.end))
            }
        };
        let _ = write!(text, "{limit:?} {attempt} {} ", state.failures.min(3));
        if let Some(Serving { generation, term, since }) = state.serving {
            let since = ago(since).min(PAUSE.as_secs_f64());
            let _ =
                write!(text, "{} {:?} {:?} {since} ", age(generation), term.life(), to(term.end));
        }
        for leaving in &state.leaving {
            let step = match leaving.step {
                Step::Draining(until) => format!("drain {}", from(until)),
                Step::Revoking(failures) => format!("revoke {}", failures.min(3)),
                Step::Waiting(at, failures) => format!("wait {} {}", from(at), failures.min(3)),
            };
            let _ = write!(text, "{} {:?} {step} ", age(leaving.generation), leaving.end.map(from));
        }
        let mut open: Vec<_> = self
            .open
            .iter()
            .map(|order| match order {
                Do::LogIn(of) => (0, age(*of)),
                Do::Read(of) => (1, age(*of)),
                Do::Probe(of) => (2, age(*of)),
                Do::Drain(of) => (3, age(*of)),
                Do::Revoke(of) => (4, age(*of)),
                order => panic!("{order:?} is done at once"),
            })
            .collect();
        open.sort_unstable();
        let _ = write!(text, "{open:?}");
        text
    }
}

/// Visits all states of a world. Gives how many there are.
fn visit(size: (u64, u8)) -> usize {
    let mut seen = HashSet::new();
    let mut rest = vec![World::new(size)];
    let (mut finished, mut most) = (0_u64, 0);
    while let Some(world) = rest.pop() {
        for next in world.next() {
            if !seen.insert(next.shape()) {
                continue;
            }
            most = most.max(next.alive.len());
            finished += u64::from(next.is_finished);
            // From everywhere, once all goes well again, one serves and no other is alive...
            if !next.is_closing {
                let settled = next.settled();
                assert!(settled.serving.is_some() && settled.alive.len() == 1);
                // ...and an end leaves nothing.
                let ended = settled.after(Event::Close).settled();
                assert!(ended.is_finished && ended.alive.is_empty(), "{}", ended.told());
            } else if !next.is_finished {
                // Unless it took too long, before all went well.
                let (ended, limit) = (next.settled(), next.limit());
                assert!(ended.is_finished && (ended.alive.is_empty() || ended.now >= limit));
            }
            rest.push(next);
        }
    }
    assert!(finished > 0 && most >= 2, "{size:?}: {finished} ends, {most} at once");
    seen.len()
}

#[test]
fn in_every_order_of_events_getters_have_a_pool_and_every_lease_is_ended_once() {
    for size in SIZES {
        let states = visit(size);
        println!("{} credentials, {} troubles: {states} states", size.0, size.1);
        assert!(states > 10_000);
    }
}

//! Decides what is asked when. Pure: time, chance and answers come in as arguments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::Timestamp;
use tokio::time::Instant;

use super::answer::{Answer, Lease};
use super::failure::{Failure, FailureKind};
use super::mounts::{Mount, Mounts};
use super::schedule::{self, Next, Rules};
use super::{Moment, Request};

/// No wait is longer, whatever a server says.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How careful to be with the server.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many requests may be under way at once.
    pub limit: usize,
    /// How often a secret without a lease is read again, where the server does not tell of changes.
    pub static_interval: Duration,
    /// After which part of its life a credential that cannot be renewed is replaced.
    pub threshold: f64,
}

/// The secrets that are wanted, and what is known of them.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    /// As templates ask for them.
    wanted: BTreeSet<Request>,
    /// As templates ask for them, to what is asked of the server.
    resolved: BTreeMap<Request, u64>,
    mounts: Mounts,
    ids: BTreeMap<Request, u64>,
    /// Each for itself: a table with room for twice as many would be most of what they take.
    entries: HashMap<u64, Box<Entry>>,
    /// What is to be done when, by both clocks: that of waits stands still while a machine sleeps,
    /// and a lease does not.
    queue: BTreeSet<(Instant, u64)>,
    wall_queue: BTreeSet<(Timestamp, u64)>,
    running: usize,
    next_id: u64,
    revision: u64,
    login: u64,
    told: bool,
    retired: Vec<RetiredLease>,
}

#[derive(Debug)]
struct Entry {
    request: Request,
    answer: Option<Arc<Answer>>,
    lease: Option<Held>,
    failure: Option<Failure>,
    attempts: u32,
    due: Option<Due>,
    running: bool,
    /// Something changed while it was asked: the answer may be from before.
    again: bool,
    /// When what templates see last changed, counted in changes.
    revision: u64,
    /// The login by which the answer came.
    login: u64,
    asked: u64,
}

/// What comes next, and when: at the first of two times.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    wall: Timestamp,
    next: Next,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    /// What it was first given for, in seconds.
    whole: u64,
    ends: Option<Timestamp>,
}

impl Held {
    fn new(lease: Lease, now: Moment) -> Self {
        Self { whole: lease.seconds, ends: end_of(&lease, now), lease }
    }

    fn retire(self, path: &str) -> RetiredLease {
        RetiredLease { id: self.lease.id, path: path.to_owned(), ends: self.ends }
    }
}

/// A request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Goes back to [`Core::finish`].
    pub id: u64,
    /// What to do.
    pub work: Work,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Make this request.
    Ask(Request),
    /// Prolong the lease of this id by so many seconds.
    Renew(String, u64),
}

/// What a request gave.
#[derive(Debug)]
pub enum Done {
    /// An answer; none where nothing is there.
    Answer(Option<Answer>),
    /// The mount that was asked for.
    Mount(Mount),
    /// The lease, prolonged.
    Renewed(Lease),
}

/// What is known of a secret.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is on its way.
    Pending,
    /// The last answer.
    Known(Arc<Answer>),
    /// It was never had.
    Failed(Failure),
}

/// A lease that was replaced, and is of no more use once all consumers have the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredLease {
    /// Its id.
    pub id: String,
    /// What it was had by.
    pub path: String,
    /// When it ends by itself; none where it does not.
    pub ends: Option<Timestamp>,
}

impl Core {
    /// One that wants nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            wanted: BTreeSet::new(),
            resolved: BTreeMap::new(),
            mounts: Mounts::default(),
            ids: BTreeMap::new(),
            entries: HashMap::new(),
            queue: BTreeSet::new(),
            wall_queue: BTreeSet::new(),
            running: 0,
            next_id: 1,
            revision: 1,
            login: 0,
            told: false,
            retired: Vec::new(),
        }
    }

    /// Wants exactly these: what is new is asked for, what is wanted no more is forgotten.
    pub fn want(&mut self, requests: BTreeSet<Request>, now: Moment) {
        if requests != self.wanted {
            self.wanted = requests;
            self.settle(now);
        }
    }

    /// Brings entries in line with what is wanted, as far as mounts are known.
    fn settle(&mut self, now: Moment) {
        let mut needed: BTreeSet<Request> = BTreeSet::new();
        let mut asked_below = BTreeSet::new();
        let mut resolved = BTreeMap::new();
        for raw in &self.wanted {
            match self.mounts.resolve(raw.clone()) {
                Ok(request) => {
                    resolved.insert(raw.clone(), request.clone());
                    needed.insert(request);
                }
                // One question at a time for all that may be in the same mount.
                Err(question) => {
                    let top = question.path().split('/').next().unwrap_or_default().to_owned();
                    if asked_below.insert(top) {
                        needed.insert(question);
                    }
                }
            }
        }
        let gone: Vec<_> = self.ids.keys().filter(|has| !needed.contains(*has)).cloned().collect();
        for request in gone {
            self.forget(&request);
        }
        for request in needed {
            if !self.ids.contains_key(&request) {
                self.add(request, now);
            }
        }
        let id_of = |request: &Request| self.ids.get(request).copied();
        self.resolved =
            resolved.into_iter().filter_map(|(raw, to)| Some((raw, id_of(&to)?))).collect();
    }

    fn add(&mut self, request: Request, now: Moment) {
        let id = self.next_id;
        self.next_id += 1;
        self.ids.insert(request.clone(), id);
        let entry = Entry {
            request,
            answer: None,
            lease: None,
            failure: None,
            attempts: 0,
            due: None,
            running: false,
            again: false,
            revision: 0,
            login: 0,
            asked: 0,
        };
        self.entries.insert(id, Box::new(entry));
        self.plan(id, Some((Next::Read, Duration::ZERO)), now);
    }

    fn forget(&mut self, request: &Request) {
        let Some(id) = self.ids.remove(request) else { return };
        self.unplan(id);
        if let Some(entry) = self.entries.remove(&id)
            && let Some(held) = entry.lease
        {
            self.retired.push(held.retire(request.path()));
        }
    }

    /// Says what comes next for an entry, in place of what was said before.
    fn plan(&mut self, id: u64, next: Option<(Next, Duration)>, now: Moment) {
        self.unplan(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.due = next.map(|(next, wait)| {
            let wait = wait.min(LONGEST);
            Due { at: now.at + wait, wall: later(now.wall, wait), next }
        });
        if let Some(due) = entry.due
            && !entry.running
        {
            self.queue.insert((due.at, id));
            self.wall_queue.insert((due.wall, id));
        }
    }

    /// Nothing comes next for an entry. Gives what would have.
    fn unplan(&mut self, id: u64) -> Option<Next> {
        let due = self.entries.get_mut(&id)?.due.take()?;
        self.queue.remove(&(due.at, id));
        self.wall_queue.remove(&(due.wall, id));
        Some(due.next)
    }

    /// An entry for which there is something to do, by either clock.
    fn first_due(&self, now: Moment) -> Option<u64> {
        let by_wait = self.queue.first().filter(|(at, _)| *at <= now.at).map(|(_, id)| *id);
        let by_wall = || self.wall_queue.first().filter(|(wall, _)| *wall <= now.wall);
        by_wait.or_else(|| by_wall().map(|(_, id)| *id))
    }

    /// What has to be done now. Each task has to come back through [`finish`](Self::finish).
    pub fn start(&mut self, now: Moment) -> Vec<Task> {
        let mut tasks = Vec::new();
        while self.login > 0
            && self.running < self.settings.limit
            && let Some(id) = self.first_due(now)
        {
            let Some(next) = self.unplan(id) else { break };
            let Some(entry) = self.entries.get_mut(&id) else { break };
            entry.running = true;
            entry.again = false;
            entry.asked = self.login;
            self.running += 1;
            let work = match (next, &entry.lease) {
                // One that ended while the machine slept is not there to be renewed.
                (Next::Renew, Some(held)) if held.ends.is_none_or(|ends| now.wall < ends) => {
                    Work::Renew(held.lease.id.clone(), held.whole)
                }
                _ => Work::Ask(entry.request.clone()),
            };
            tasks.push(Task { id, work });
        }
        tasks
    }

    /// When there is something to do next, by the clock of waits alone: whoever waits for that must
    /// wake up now and then, and look. None while nothing is, or as much is under way as may be.
    pub fn next(&self) -> Option<Instant> {
        let may = self.login > 0 && self.running < self.settings.limit;
        self.queue.first().filter(|_| may).map(|(at, _)| *at)
    }

    /// Whether nothing is under way or due: what is known is all of one moment.
    pub fn is_settled(&self, now: Moment) -> bool {
        self.running == 0 && (self.login == 0 || self.first_due(now).is_none())
    }

    /// Takes what came of a task. Gives whether templates may see something else now.
    pub fn finish(&mut self, id: u64, outcome: Result<Done, Failure>, now: Moment) -> bool {
        self.running = self.running.saturating_sub(1);
        let Some(entry) = self.entries.get_mut(&id) else {
            // It is wanted no more; a credential must not be left lying about.
            if let Ok(Done::Answer(Some(Answer { lease: Some(lease), .. }))) = outcome {
                self.retired.push(Held::new(lease, now).retire(""));
            }
            return false;
        };
        entry.running = false;
        let outcome = match outcome {
            Ok(Done::Answer(None)) => Err(Failure::absent(entry.request.path())),
            // The last line of defence: what may not be asked is as the template writes it.
            Err(failure)
                if failure.kind != FailureKind::Away
                    && matches!(entry.request, Request::Mount { .. }) =>
            {
                Ok(Done::Mount(Mount { path: format!("{}/", entry.request.path()), kv: None }))
            }
            other => other,
        };
        match outcome {
            Ok(Done::Mount(mount)) => {
                let request = entry.request.clone();
                self.forget(&request);
                self.mounts.add(mount);
                self.settle(now);
                false
            }
            Ok(Done::Answer(Some(answer))) => self.take(id, answer, now),
            Ok(Done::Answer(None)) => false,
            Ok(Done::Renewed(lease)) => {
                self.prolong(id, &lease, now);
                false
            }
            Err(failure) => self.fail(id, failure, now),
        }
    }

    fn take(&mut self, id: u64, answer: Answer, now: Moment) -> bool {
        let rules = self.rules(id);
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let next = schedule::after_answer(&entry.request, &answer, rules, now);
        entry.attempts = 0;
        entry.login = entry.asked;
        let failed = entry.failure.take().is_some();
        let held = answer.lease.clone().map(|lease| Held::new(lease, now));
        let is_other = |old: &Held| held.as_ref().is_none_or(|held| held.lease.id != old.lease.id);
        if let Some(old) = entry.lease.take().filter(is_other) {
            self.retired.push(old.retire(entry.request.path()));
        }
        entry.lease = held;
        let same = entry.answer.as_ref().is_some_and(|old| old.says_the_same_as(&answer));
        if !same {
            entry.answer = Some(Arc::new(answer));
            self.revision += 1;
            entry.revision = self.revision;
        }
        let again = entry.again.then_some((Next::Read, Duration::ZERO));
        self.plan(id, again.or(next), now);
        !same || failed
    }

    fn prolong(&mut self, id: u64, lease: &Lease, now: Moment) {
        let rules = self.rules(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(held) = &mut entry.lease else { return };
        entry.attempts = 0;
        entry.failure = None;
        held.ends = end_of(lease, now);
        held.lease.seconds = lease.seconds;
        held.lease.renewable = lease.renewable;
        let next = schedule::after_lease(&held.lease, held.whole, rules, now);
        // A login that came while it was prolonged.
        let again = entry.again || entry.login < self.login;
        let next = if again { (Next::Read, Duration::ZERO) } else { next };
        self.plan(id, Some(next), now);
    }

    fn fail(&mut self, id: u64, failure: Failure, now: Moment) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        entry.attempts += 1;
        let (least, most) = failure.wait(entry.attempts, self.settings.static_interval);
        let wait = least + most.saturating_sub(least).mul_f64(now.chance);
        // A lease is prolonged as long as it lives and may be: else there has to be another.
        let lives = entry.lease.as_ref().is_some_and(|held| {
            held.lease.renewable && held.ends.is_some_and(|ends| later(now.wall, wait * 2) < ends)
        });
        let mine = entry.login == self.login;
        let next = match failure.kind {
            FailureKind::Away if lives && mine => Next::Renew,
            _ => Next::Read,
        };
        // One that came while this was asked may be what it waited for.
        let wait = if entry.again { Duration::ZERO } else { wait };
        let is_news = entry.failure.as_ref() != Some(&failure);
        let shows = entry.answer.is_none() && is_news;
        if shows {
            self.revision += 1;
            entry.revision = self.revision;
        }
        entry.failure = Some(failure);
        self.plan(id, Some((next, wait)), now);
        is_news
    }

    fn rules(&self, id: u64) -> Rules {
        let path = self.entries.get(&id).map(|entry| entry.request.path());
        let mount = path.and_then(|path| self.mounts.of(path));
        Rules {
            static_interval: self.settings.static_interval,
            threshold: self.settings.threshold,
            is_told: self.told && mount.is_some_and(|mount| mount.kv.is_some()),
        }
    }

    /// Asks for an entry at once, or again as soon as the answer under way is here.
    fn hurry(&mut self, id: u64, now: Moment) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.running {
            entry.again = true;
        } else {
            self.plan(id, Some((Next::Read, Duration::ZERO)), now);
        }
    }

    fn hurry_all(&mut self, which: impl Fn(&Self, &Entry) -> bool, now: Moment) {
        let ids: Vec<u64> = self
            .entries
            .iter()
            .filter(|(_, entry)| which(self, entry))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.hurry(id, now);
        }
    }

    /// The secret at `path` changed, as an event names it.
    pub fn changed(&mut self, path: &str, now: Moment) {
        self.hurry_all(|_, entry| entry.request.is_touched_by(path), now);
    }

    /// From now on changes are told of, or are no longer. What was missed before is read.
    pub fn set_told(&mut self, told: bool, now: Moment) {
        self.told = told;
        let is_kv = |core: &Self, entry: &Entry| {
            entry.request.is_repeatable()
                && core.mounts.of(entry.request.path()).is_some_and(|mount| mount.kv.is_some())
        };
        if told {
            self.hurry_all(is_kv, now);
            return;
        }
        let waiting: Vec<u64> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.due.is_none() && !entry.running && is_kv(self, entry))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let wait = self.settings.static_interval.mul_f64(1.0 - 0.1 * now.chance);
            self.plan(id, Some((Next::Read, wait)), now);
        }
    }

    /// There is a token now, that of the given login; each has a higher number than the one before.
    /// What hangs on a token before this one is had anew, before that token ends; what was refused
    /// may be allowed now.
    pub fn logged_in(&mut self, login: u64, now: Moment) {
        if login == self.login {
            return;
        }
        self.login = login;
        let hangs_on_older = |entry: &Entry| {
            let hangs = entry.lease.is_some()
                || entry.answer.as_ref().is_some_and(|answer| answer.is_login());
            hangs && entry.login < login
        };
        self.hurry_all(
            |_, entry| {
                hangs_on_older(entry)
                    || (entry.failure.is_some() && entry.request.is_repeatable())
                    || (entry.running && entry.asked < login && entry.answer.is_none())
            },
            now,
        );
    }

    fn entry(&self, asked: &Request) -> Option<&Entry> {
        self.entries.get(self.resolved.get(asked)?).map(|entry| &**entry)
    }

    /// What is known of a secret, as a template asks for it.
    pub fn find(&self, asked: &Request) -> Found {
        match self.entry(asked) {
            Some(Entry { answer: Some(answer), .. }) => Found::Known(Arc::clone(answer)),
            Some(Entry { failure: Some(failure), .. }) => Found::Failed(failure.clone()),
            Some(_) => Found::Pending,
            None => self.failure_of_mount(asked).map_or(Found::Pending, Found::Failed),
        }
    }

    fn failure_of_mount(&self, asked: &Request) -> Option<Failure> {
        let top = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
        let own = top(asked.path());
        let questions = self.entries.values().filter(|entry| {
            matches!(entry.request, Request::Mount { .. }) && top(entry.request.path()) == own
        });
        questions.filter_map(|entry| entry.failure.clone()).next()
    }

    /// The lease of what templates see of a secret.
    pub fn lease(&self, asked: &Request) -> Option<&str> {
        let lease = self.entry(asked)?.answer.as_ref()?.lease.as_ref()?;
        Some(&lease.id)
    }

    /// A number that changes when what templates see of a secret does.
    pub fn revision(&self, asked: &Request) -> u64 {
        match self.entry(asked) {
            Some(entry) => entry.revision,
            None => 0,
        }
    }

    /// Why a secret could not be had the last time, and how often that was tried.
    pub fn failure(&self, asked: &Request) -> Option<(Failure, u32)> {
        match self.entry(asked) {
            Some(entry) => entry.failure.clone().map(|failure| (failure, entry.attempts)),
            None => self.failure_of_mount(asked).map(|failure| (failure, 1)),
        }
    }

    /// The path that is asked of the server, once that is known.
    pub fn path<'a>(&'a self, asked: &'a Request) -> &'a str {
        self.entry(asked).map_or(asked.path(), |entry| entry.request.path())
    }

    /// The most often that any secret failed in a row.
    pub fn most_attempts(&self) -> u32 {
        self.entries.values().map(|entry| entry.attempts).max().unwrap_or(0)
    }

    /// The leases that were replaced since this was last asked.
    pub fn take_retired(&mut self) -> Vec<RetiredLease> {
        std::mem::take(&mut self.retired)
    }
}

/// When a lease that was given at `now` ends.
fn end_of(lease: &Lease, now: Moment) -> Option<Timestamp> {
    (lease.seconds > 0).then(|| later(now.wall, Duration::from_secs(lease.seconds)))
}

/// The end of time stands for whatever is after it.
fn later(wall: Timestamp, wait: Duration) -> Timestamp {
    wall.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;

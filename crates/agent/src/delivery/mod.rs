//! From secrets to files and processes: what the agent does once it is logged in.
//!
//! One task owns all of it. It asks the server for what templates need ([`crate::store`]), renders
//! once what it knows is of one moment, publishes a generation ([`crate::generation`]), and tells
//! consumers ([`crate::consumer`]). Whatever fails, fails for what needs it; everything else goes on.

mod build;
mod consumers;
mod effects;
mod leases;
mod part;
mod render;
mod report;
mod template;
mod unit;
mod watch;

pub use build::{DeliveryError, Settings};
pub(crate) use part::Parts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_client::vault::{Health, VaultClient, VaultConfig};
use holdfast_types::{Clock, Random, Timestamp};
use tokio::sync::{mpsc, oneshot, watch as channel};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::consumers::{Changed, Consumers};
use self::leases::Leases;
use self::unit::Unit;
use self::watch::Watched;
use crate::config::AgentConfig;
use crate::consumer::Report;
use crate::generation::{Publisher, SourceRecord};
use crate::session::{Session, State};
use crate::status::{StatePlace, Status};
use crate::store::events::Heard;
use crate::store::{Core, Done, Failure, FailureKind, Moment, RetiredLease, fetch};

/// How often old generations and watched files are looked after.
const LOOK: Duration = Duration::from_secs(1);
/// The longest sleep: the clock that waits use stands still while the machine sleeps.
const NAP: Duration = Duration::from_secs(10);
/// How often a server is asked how it is, while there is no token to ask anything else.
const PROBE: Duration = Duration::from_secs(5);

/// Delivery, ready to run.
pub struct Delivery {
    config: Arc<AgentConfig>,
    state: StatePlace,
    session: Session,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    started: Timestamp,

    /// Tries once: how often is the store's to say.
    anonymous: VaultClient,
    /// The same with the token of the moment.
    client: Option<(u64, VaultClient)>,
    states: channel::Receiver<State>,
    /// Whether there will be other states.
    states_end: bool,
    core: Core,
    tasks: JoinSet<Finished>,
    events: channel::Sender<Option<VaultConfig>>,
    heard: mpsc::Receiver<Heard>,
    server: Server,
    probed: Option<Instant>,
    /// When what time alone changes was last looked after.
    looked: Instant,

    units: Vec<Unit>,
    publisher: Publisher,
    /// Why a destination cannot be served, by its position.
    rejected: BTreeMap<usize, String>,
    publish_problem: Option<String>,
    publish_failures: u32,
    /// Since when something is known that was not rendered.
    changed: Option<Instant>,
    /// Whether everything was rendered, or found to fail, once.
    settled_once: bool,
    watched: Watched,

    consumers: Consumers,
    /// Counts the changes of variables.
    revision: u64,
    /// The secrets in the variables that the process runs with.
    process_holds: Vec<SourceRecord>,
    leases: Leases,

    questions: mpsc::Receiver<oneshot::Sender<Status>>,
    helpers: Vec<JoinHandle<()>>,
}

/// How it stands with the server, as far as requests tell.
#[derive(Debug, Clone)]
struct Server {
    cluster: Option<String>,
    reachable: bool,
    answered: Option<Timestamp>,
    problem: Option<String>,
    told: bool,
    polling_because: Option<String>,
}

/// Something that was asked of the server.
enum Finished {
    Task(u64, Result<Done, Failure>, u64),
    Probe(Result<Health, Failure>),
    Revoked(RetiredLease, Result<(), Failure>),
}

/// Why delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It was told to.
    Stopped,
    /// The process ended, with this code.
    Process(u8),
    /// The operator wants no agent that fails at this.
    Failed(String),
}

impl Delivery {
    /// Delivers until there is a reason not to, and says to `rendered` whether everything is. Files
    /// stay; the process is ended.
    pub async fn run(
        mut self,
        rendered: channel::Sender<bool>,
        shutdown: CancellationToken,
    ) -> Exit {
        self.follow_login();
        self.resume();
        let exit = loop {
            self.ask();
            if let Some(exit) = self.render() {
                break exit;
            }
            self.ask();
            if let Some(exit) = self.gives_up() {
                break exit;
            }
            let is_done = self.is_done();
            rendered.send_if_modified(|said| std::mem::replace(said, is_done) != is_done);
            let wake = self.wake();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Exit::Stopped,
                Some(finished) = self.tasks.join_next() => {
                    if let Ok(finished) = finished {
                        self.finish(finished);
                    }
                    while let Some(Ok(finished)) = self.tasks.try_join_next() {
                        self.finish(finished);
                    }
                }
                changed = self.states.changed(), if !self.states_end => {
                    self.states_end = changed.is_err();
                    self.follow_login();
                }
                Some(heard) = self.heard.recv() => {
                    self.hear(heard);
                    while let Ok(heard) = self.heard.try_recv() {
                        self.hear(heard);
                    }
                }
                Some(question) = self.questions.recv() => {
                    // Whoever asked may be gone.
                    let _ = question.send(self.status());
                }
                changed = self.consumers.changed() => {
                    if let Some(exit) = self.follow_consumer(changed) {
                        break exit;
                    }
                }
                () = sleep_until(wake) => self.look_after(),
            }
        };
        info!(?exit, "delivery ends");
        self.tasks.shutdown().await;
        self.consumers.stop().await;
        for helper in self.helpers.drain(..) {
            helper.abort();
            // Its socket is free for whoever comes next.
            let _ = helper.await;
        }
        if self.config.templates.is_empty() {
            // Nobody reads there; what is kept for the next start is kept for files.
            let _ = std::fs::remove_dir_all(&self.publisher.place().root);
        }
        self.state.clear();
        exit
    }

    fn moment(&self) -> Moment {
        let mut bytes = [0; 2];
        self.random.fill(&mut bytes);
        let chance = f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX);
        Moment { at: Instant::now(), wall: self.clock.now(), chance }
    }

    /// What an agent before this one delivered stands; its consumers are told what they missed.
    fn resume(&mut self) {
        if self.publisher.number() > 0 {
            info!(generation = self.publisher.number(), "files of an earlier start stand");
            let publisher = &self.publisher;
            let since = |file| publisher.file(file).map(|record| record.since);
            self.consumers.tell(since, Instant::now());
        }
    }

    /// Takes over the token of the moment.
    fn follow_login(&mut self) {
        let login = self.states.borrow_and_update().login().cloned();
        let Some(login) = login else {
            self.client = None;
            return;
        };
        let is_same = self.client.as_ref().is_some_and(|(known, client)| {
            *known == login.generation && client.token() == login.client.token()
        });
        if is_same {
            return;
        }
        let token = login.client.token().cloned();
        let client = self.anonymous.with_token(token.clone());
        self.client = Some((login.generation, client));
        self.core.logged_in(login.generation, self.moment());
        self.probe();
        match self.config.server.client_config() {
            Ok(mut config) => {
                config.token = token;
                self.events.send_replace(Some(config));
            }
            Err(error) => warn!(%error, "listen for changes"),
        }
    }

    /// Sends the requests that are due.
    fn ask(&mut self) {
        let Some((login, client)) = self.client.clone() else { return };
        for task in self.core.start(self.moment()) {
            let client = client.clone();
            self.tasks.spawn(async move {
                let outcome = fetch::perform(&client, &task.work).await;
                Finished::Task(task.id, outcome, login)
            });
        }
    }

    fn finish(&mut self, finished: Finished) {
        let now = self.moment();
        match finished {
            Finished::Task(id, outcome, login) => {
                self.note(outcome.as_ref().err());
                if let Err(failure) = &outcome {
                    debug!(kind = ?failure.kind, why = failure.message, "no answer");
                    if failure.kind == FailureKind::Denied {
                        self.session.doubt(login);
                    }
                }
                if self.core.finish(id, outcome, now) {
                    self.changed.get_or_insert(now.at);
                }
            }
            Finished::Probe(outcome) => {
                self.note(outcome.as_ref().err());
                // Another one may have the address by now; one that is sealed does not say.
                if let Some(cluster) = outcome.ok().and_then(|health| health.cluster_id) {
                    self.server.cluster = Some(cluster);
                }
            }
            Finished::Revoked(lease, outcome) => match outcome {
                Ok(()) => info!(path = lease.path, "revoked the credential before"),
                Err(failure) => {
                    let why = failure.message;
                    debug!(path = lease.path, why, "the credential before ends by itself");
                }
            },
        }
    }

    /// Notes how it stands with the server.
    fn note(&mut self, failure: Option<&Failure>) {
        match failure.filter(|failure| failure.kind == FailureKind::Away) {
            None => {
                if !self.server.reachable && self.server.problem.is_some() {
                    info!("the server answers again");
                }
                self.server.reachable = true;
                self.server.answered = Some(self.clock.now());
                self.server.problem = None;
            }
            Some(failure) => {
                if self.server.reachable {
                    warn!(why = failure.message, "the server is away; files stay as they are");
                }
                self.server.reachable = false;
                self.server.problem = Some(failure.message.clone());
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        let now = self.moment();
        match heard {
            Heard::Connected => {
                self.note(None);
                self.server.told = true;
                self.server.polling_because = None;
                self.core.set_told(true, now);
            }
            Heard::Changed(path) => self.core.changed(&path, now),
            Heard::Lost { why, away } => {
                if self.server.told || self.server.polling_because.is_none() {
                    let interval = self.config.templating.static_secret_render_interval;
                    info!(why, interval.s = interval.as_secs(), "secrets are polled");
                }
                if away {
                    let failure =
                        Failure { kind: FailureKind::Away, message: why.clone(), explain: None };
                    self.note(Some(&failure));
                }
                if self.server.told {
                    self.core.set_told(false, now);
                }
                self.server.told = false;
                self.server.polling_because = Some(why);
            }
        }
    }

    fn follow_consumer(&mut self, changed: Changed) -> Option<Exit> {
        let now = (Instant::now(), self.clock.now());
        match changed {
            Changed::Told(told) => {
                self.consumers.told(told, now);
                // Something else may have changed meanwhile.
                let publisher = &self.publisher;
                let since = |file| publisher.file(file).map(|record| record.since);
                self.consumers.tell(since, now.0);
                self.retire();
            }
            Changed::Process(Report::Running { pid, revision }) => {
                self.process_holds = self.variable_sources();
                self.consumers.runs(pid, revision, self.publisher.number(), now.1);
            }
            Changed::Process(Report::NotStarted(why)) => return Some(Exit::Failed(why)),
            Changed::Process(Report::Ended(code)) => return Some(Exit::Process(code)),
        }
        None
    }

    /// Looks after what time alone changes.
    fn look_after(&mut self) {
        let now = Instant::now();
        if now < self.looked + LOOK {
            return;
        }
        self.looked = now;
        let publisher = &self.publisher;
        self.consumers.tell(|file| publisher.file(file).map(|record| record.since), now);
        self.retire();
        self.watch();
        if self.client.is_none() && self.probed.is_none_or(|at| at + PROBE <= now) {
            self.probed = Some(now);
            self.probe();
        }
    }

    /// Asks the server how it is, and which one it is.
    fn probe(&mut self) {
        let client = self.anonymous.clone();
        self.tasks.spawn(async move {
            let asked = client.health().await;
            Finished::Probe(asked.map_err(|error| Failure::of(&error, None)))
        });
    }

    /// Lets go of what no consumer uses any more: generations, and the credentials in them.
    fn retire(&mut self) {
        let current = self.publisher.number();
        self.publisher.retire_below(self.consumers.ledger.floor(current));
        self.retire_leases();
    }

    /// When something is to be done, if nothing happens before.
    fn wake(&self) -> Option<Instant> {
        let now = Instant::now();
        let asks = self.core.next().filter(|_| self.client.is_some());
        let renders = self.units.iter().filter_map(Unit::due).filter(|at| *at > now).min();
        let caps = self.changed.map(|at| at + self.cap());
        let waits = self.client.is_none()
            || !self.publisher.old().is_empty()
            || !self.watched.is_empty()
            || self.consumers.next().is_some();
        let looks = waits.then(|| self.looked + LOOK);
        // What is due by the clock on the wall is looked at after each nap.
        let nap = Some(now + NAP);
        [asks, renders, caps, looks, nap].into_iter().flatten().min()
    }

    /// Whether the operator wants no agent that fails so often.
    fn gives_up(&self) -> Option<Exit> {
        let config = &self.config;
        let tries = self.core.most_attempts();
        if !config.templating.exit_on_retry_failure || tries <= config.server.max_retries {
            return None;
        }
        let failure = self.units.iter().flat_map(Unit::needs).find_map(|need| {
            let (failure, _) = self.core.failure(need)?;
            Some(format!("{}: {}", self.core.path(need), failure.message))
        });
        let why = failure.unwrap_or_else(|| "a secret cannot be had".to_owned());
        Some(Exit::Failed(format!("{why} ({tries} tries)")))
    }

    /// Whether everything is rendered, and everybody was told.
    fn is_done(&self) -> bool {
        self.units.iter().all(|unit| unit.rendered && unit.due().is_none())
            && self.rejected.is_empty()
            && !self.consumers.is_busy()
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

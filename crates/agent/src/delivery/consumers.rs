//! Whom to tell when files change, and what came of telling them.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::{
    AcknowledgeConfig, AgentConfig, CommandConfig, ExecConfig, NotifyConfig, RestartOn,
};
use crate::consumer::{self, Guard, Ledger, Order, Orders, Ready, ReadySocket, Report, Wait};
use crate::generation::Folder;
use holdfast_types::{SecretString, Timestamp};

/// The name of the process that the agent runs.
pub(super) const PROCESS: &str = "process";
/// How long to wait before a consumer that could not be told is told again, and the most.
const WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// All consumers of an agent.
pub(super) struct Consumers {
    pub(super) ledger: Ledger,
    kinds: BTreeMap<String, Kind>,
    telling: JoinSet<Told>,
    retries: BTreeMap<String, (u32, Instant)>,
    process: Option<Process>,
}

/// A consumer as it was configured.
pub(super) struct Kind {
    /// The files that it uses, by their position.
    pub(super) files: Vec<usize>,
    command: Option<CommandConfig>,
    notify: Option<NotifyConfig>,
    acknowledge: Option<AcknowledgeConfig>,
    /// Of the process that the agent runs.
    signal: Option<Signal>,
}

/// The process that the agent runs.
struct Process {
    config: ExecConfig,
    orders: Orders,
    reports: mpsc::Receiver<Report>,
    task: tokio::task::JoinHandle<()>,
    /// What it says of itself, where somebody waits for that.
    said: Option<watch::Receiver<Ready>>,
    pid: Option<i32>,
    /// That of the variables it was last ordered to run with, that it runs with, and that of the
    /// last run that was found to be well.
    ordered: u64,
    running: u64,
    acknowledged: u64,
    since: Option<Timestamp>,
}

impl Consumers {
    /// Those that `config` names. Templates with the same command share one: it is run once for all
    /// that changed together.
    pub(super) fn new(
        config: &AgentConfig,
        guard: Guard,
        ready: Option<ReadySocket>,
        ledger: Folder,
    ) -> Self {
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        for (index, template) in config.templates.iter().enumerate() {
            let signal = template.reload_signal.filter(|_| config.exec.is_some());
            if let Some(signal) = signal {
                let process = kinds.entry(PROCESS.to_owned()).or_insert_with(|| Kind {
                    files: Vec::new(),
                    command: None,
                    notify: None,
                    acknowledge: config.exec.as_ref().and_then(|exec| exec.acknowledge.clone()),
                    signal: Some(signal),
                });
                process.files.push(index);
            }
            let is_told = template.command.is_some() || template.notify.is_some();
            if !is_told && (template.acknowledge.is_none() || signal.is_some()) {
                continue;
            }
            let kind = Kind {
                files: vec![index],
                command: template.command.clone(),
                notify: template.notify.clone(),
                acknowledge: template.acknowledge.clone(),
                signal: None,
            };
            let name = kind.told_by();
            match kinds.values_mut().find(|known| known.is_told_as(&kind)) {
                Some(known) => known.files.push(index),
                None => {
                    let mut unique = name.clone();
                    let mut number = 2;
                    while kinds.contains_key(&unique) {
                        unique = format!("{name} #{number}");
                        number += 1;
                    }
                    kinds.insert(unique, kind);
                }
            }
        }
        if let Some(exec) = &config.exec {
            let process = kinds.entry(PROCESS.to_owned()).or_insert_with(|| Kind {
                files: Vec::new(),
                command: None,
                notify: None,
                acknowledge: exec.acknowledge.clone(),
                signal: None,
            });
            // A signal of the process's own is for all files.
            if let Some(signal) = exec.reload_signal {
                process.signal = Some(signal);
                process.files = (0..config.templates.len()).collect();
            }
        }
        let process = config.exec.clone().map(|exec| Process::new(exec, guard, ready));
        let ledger = Ledger::open(ledger, kinds.keys().cloned());
        let (telling, retries) = (JoinSet::new(), BTreeMap::new());
        Self { ledger, kinds, telling, retries, process }
    }

    /// The consumers as they were configured, by name.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The generation that last changed something for each consumer is `since` of its files: tells
    /// those that are behind.
    pub(super) fn tell(&mut self, since: impl Fn(usize) -> Option<u64>, now: Instant) {
        self.ask_process_again(now);
        let names: Vec<String> = self.kinds.keys().cloned().collect();
        for name in names {
            let kind = &self.kinds[&name];
            let Some(wanted) = kind.files.iter().filter_map(|file| since(*file)).max() else {
                continue;
            };
            if name == PROCESS && self.process.as_ref().is_none_or(|process| process.pid.is_none())
            {
                // It starts with the files that are there then.
                continue;
            }
            let waits = self.retries.get(&name).is_some_and(|(_, at)| *at > now);
            let news = self.ledger.all().any(|(known, one)| known == name && one.wanted < wanted);
            if self.ledger.wants(&name, wanted) && (news || !waits) {
                self.tell_one(name, wanted);
            }
        }
    }

    fn tell_one(&mut self, name: String, generation: u64) {
        let kind = &self.kinds[&name];
        let mut ready = None;
        if name == PROCESS
            && let (Some(process), Some(signal)) = (&self.process, kind.signal)
        {
            ready = process.wait(consumer::now());
            process.orders.give(Order::Signal(signal));
        }
        info!(consumer = %name, generation, "tell");
        self.ledger.set_busy(&name, true);
        let (command, acknowledge) = (kind.command.clone(), kind.acknowledge.clone());
        let notify = kind.notify.clone();
        self.telling.spawn(async move {
            let told = async {
                if let Some(command) = &command {
                    let done = consumer::run(command, generation).await;
                    done.map_err(|error| error.to_string())?;
                }
                if let Some(notify) = &notify {
                    consumer::notify(&notify.pid_file, notify.signal)?;
                }
                match &acknowledge {
                    Some(acknowledge) => {
                        let done = consumer::acknowledged(acknowledge, generation, ready).await;
                        done.map_err(|problem| format!("it does not acknowledge: {problem}"))
                    }
                    None => Ok(()),
                }
            };
            let outcome = told.await;
            Told { name, generation, revision: None, outcome }
        });
    }

    /// Whether somebody is being told.
    pub(super) fn is_busy(&self) -> bool {
        !self.telling.is_empty()
    }

    /// When somebody is to be told again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.retries.values().map(|(_, at)| *at).min()
    }

    /// Waits until something became of a consumer. May be dropped while it waits.
    pub(super) async fn changed(&mut self) -> Changed {
        let told = async {
            match self.telling.join_next().await {
                Some(Ok(told)) => Changed::Told(told),
                // Nobody is told, or the one who told was ended.
                _ => std::future::pending().await,
            }
        };
        let report = async {
            match &mut self.process {
                Some(process) => match process.reports.recv().await {
                    Some(report) => report,
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            told = told => told,
            report = report => Changed::Process(report),
        }
    }

    /// Writes down what became of telling a consumer.
    pub(super) fn told(&mut self, told: Told, (now, wall): (Instant, Timestamp)) {
        let Told { name, generation, revision, outcome } = told;
        let name = &*name;
        match &outcome {
            Ok(()) => {
                info!(consumer = name, generation, "is up to date");
                self.retries.remove(name);
                if let (Some(process), Some(revision)) = (&mut self.process, revision) {
                    process.acknowledged = process.acknowledged.max(revision);
                }
            }
            Err(problem) => {
                warn!(consumer = name, generation, problem, "is not up to date");
                let tries = self.retries.get(name).map_or(0, |(tries, _)| *tries);
                let wait = WAIT.saturating_mul(1 << tries.min(10)).min(LONGEST_WAIT);
                self.retries.insert(name.to_owned(), (tries + 1, now + wait));
            }
        }
        if let Err(error) = self.ledger.told(name, generation, outcome, wall) {
            warn!(%error, "write down who is on which generation");
        }
    }

    /// Lets the process run with these variables: starts it, or starts it anew where they are not
    /// those that it runs with and the operator wants that.
    pub(super) fn run_with(
        &mut self,
        revision: u64,
        variables: impl FnOnce() -> Vec<(String, SecretString)>,
    ) {
        let Some(process) = &mut self.process else { return };
        let first = process.ordered == 0;
        let again = process.config.restart_on_secret_changes == RestartOn::Always;
        if first || (again && process.ordered < revision) {
            process.ordered = revision;
            process.orders.give(Order::Run { variables: variables(), revision });
        }
    }

    /// The process runs. `generation` is what its files are of.
    pub(super) fn runs(&mut self, pid: i32, revision: u64, generation: u64, wall: Timestamp) {
        let Some(process) = &mut self.process else { return };
        process.pid = Some(pid);
        process.running = revision;
        process.since = Some(wall);
        self.ledger.wants(PROCESS, generation);
        self.retries.remove(PROCESS);
        self.tell_process(generation, revision);
    }

    /// It has what was there when it started; only whether it is well is still open.
    fn tell_process(&mut self, generation: u64, revision: u64) {
        let acknowledge = self.kinds.get(PROCESS).and_then(|kind| kind.acknowledge.clone());
        let ready = self.process.as_ref().and_then(|process| process.wait(0));
        self.ledger.set_busy(PROCESS, true);
        self.telling.spawn(async move {
            let outcome = match &acknowledge {
                Some(acknowledge) => {
                    let done = consumer::acknowledged(acknowledge, generation, ready).await;
                    done.map_err(|problem| format!("it does not acknowledge: {problem}"))
                }
                None => Ok(()),
            };
            Told { name: PROCESS.to_owned(), generation, revision: Some(revision), outcome }
        });
    }

    /// Asks a process again that was not found to be well with the variables it runs with: no file
    /// of another generation would have it asked.
    fn ask_process_again(&mut self, now: Instant) {
        let Some(process) = &self.process else { return };
        let due = self.retries.get(PROCESS).is_some_and(|(_, at)| *at <= now);
        let known = self.ledger.all().find(|(name, _)| *name == PROCESS);
        let Some(known) = known.map(|(_, known)| known.clone()) else { return };
        let is_well = process.acknowledged >= process.running;
        if due && process.pid.is_some() && !is_well && !known.busy && !known.is_stale() {
            self.tell_process(known.wanted, process.running);
        }
    }

    /// The process: its id, the variables that it runs with, and those that it was found to be well
    /// with, since when.
    pub(super) fn process(&self) -> Option<Running> {
        let process = self.process.as_ref()?;
        Some(Running {
            pid: process.pid,
            revision: process.running,
            acknowledged: process.acknowledged,
            restarts: process.config.restart_on_secret_changes == RestartOn::Always,
            since: process.since,
        })
    }

    /// Ends the process and waits for its end.
    pub(super) async fn stop(&mut self) {
        self.telling.shutdown().await;
        if let Some(process) = self.process.take() {
            drop(process.orders);
            let _ = process.task.await;
        }
    }
}

/// What became of a consumer.
pub(super) enum Changed {
    /// It was told.
    Told(Told),
    /// The process.
    Process(Report),
}

/// What came of telling a consumer.
pub(super) struct Told {
    name: String,
    generation: u64,
    /// The variables that a process was started with.
    revision: Option<u64>,
    outcome: Result<(), String>,
}

/// How the process runs.
pub(super) struct Running {
    /// Its id, once it was started.
    pub(super) pid: Option<i32>,
    /// The variables that it runs with.
    pub(super) revision: u64,
    /// The last that it was found to be well with.
    pub(super) acknowledged: u64,
    /// Whether it is started anew with variables that changed.
    pub(super) restarts: bool,
    /// When it was started.
    pub(super) since: Option<Timestamp>,
}

impl Kind {
    /// What it is told by, in words.
    pub(super) fn told_by(&self) -> String {
        match (&self.command, &self.notify, self.signal) {
            (Some(command), ..) => command.command.join(" "),
            (None, Some(notify), _) => {
                format!("{} to the process of {}", notify.signal, notify.pid_file.display())
            }
            (None, None, Some(signal)) => signal.to_string(),
            (None, None, None) => "nothing: it looks for itself".to_owned(),
        }
    }

    /// Whether it says by itself that it is done.
    pub(super) fn acknowledges(&self) -> bool {
        self.acknowledge.is_some()
    }

    fn is_told_as(&self, other: &Self) -> bool {
        (self.command.is_some() || self.notify.is_some())
            && self.command == other.command
            && self.notify == other.notify
            && self.acknowledge == other.acknowledge
    }
}

impl Process {
    /// What is waited for until it is ready with what began at `since`.
    fn wait(&self, since: u64) -> Option<Wait> {
        Some(Wait { said: self.said.clone()?, pid: self.pid?, since })
    }

    fn new(config: ExecConfig, guard: Guard, ready: Option<ReadySocket>) -> Self {
        let said = ready.map(|socket| {
            let (say, said) = watch::channel(Ready::default());
            // It ends when nobody waits any more.
            drop(tokio::spawn(socket.listen(say)));
            said
        });
        let (orders, ordered) = consumer::orders();
        let (reported, reports) = mpsc::channel(16);
        let task = tokio::spawn(consumer::supervise(config.clone(), guard, ordered, reported));
        Self {
            config,
            orders,
            reports,
            task,
            said,
            pid: None,
            ordered: 0,
            running: 0,
            acknowledged: 0,
            since: None,
        }
    }
}

//! One part: started, watched, started again when it dies, stopped.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::BoxFuture;
use holdfast_types::{Clock, SystemClock, Timestamp};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::launch::Launch;
use super::logs::LogWriter;

/// Whether a part answers; asked until it does.
pub(crate) type Probe = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;
/// What has to be right before each start.
pub(crate) type Prepare = Box<dyn Fn() -> anyhow::Result<()>>;

/// How a part is to be run.
pub(crate) struct PartPlan {
    pub(crate) name: String,
    pub(crate) launch: Launch,
    pub(crate) prepare: Prepare,
    pub(crate) probe: Probe,
    /// Asks it to end in good order.
    pub(crate) stop_signal: Signal,
    /// How long it may take for that before it is killed.
    pub(crate) patience: Duration,
}

/// What is to be seen of a part from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartStatus {
    pub(crate) state: PartState,
    pub(crate) pid: Option<i32>,
    /// Since when it is in this state.
    pub(crate) since: Timestamp,
    /// How often it was started again because it had died.
    pub(crate) restarts: u32,
    /// Why it is not ready, when that is known.
    pub(crate) reason: Option<String>,
}

/// Where a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PartState {
    /// It runs, and does not answer yet.
    Starting,
    /// It answers.
    Ready,
    /// It answers that it is sealed; only the secrets server does.
    Sealed,
    /// It died, and is started again in a while.
    Waiting,
    /// It does not run, and is not to.
    Stopped,
}

/// Gives orders to a running part.
#[derive(Debug, Clone)]
pub(crate) struct PartHandle {
    pub(crate) name: String,
    pub(crate) status: watch::Receiver<PartStatus>,
    orders: mpsc::Sender<Order>,
}

enum Order {
    Restart(oneshot::Sender<()>),
    Signal(Signal),
    Stop(oneshot::Sender<()>),
}

/// How long to wait before a part that died is started again.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);
    /// A part that lived this long died of something new.
    const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

    /// The wait after a life of `lived`.
    fn next(&mut self, lived: Duration) -> Duration {
        if lived >= Self::FORGIVEN_AFTER {
            self.failures = 0;
        }
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::LONGEST);
        self.failures += 1;
        wait
    }
}

/// Why a process is no longer watched.
enum End {
    Died(String),
    Restart(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// How lines begin that the part did not say itself.
const OWN: &str = "holdfast: ";

struct Part {
    plan: PartPlan,
    log: LogWriter,
    status: watch::Sender<PartStatus>,
    orders: mpsc::Receiver<Order>,
    backoff: Backoff,
}

/// Starts a part, and keeps it running until it is told to stop.
///
/// The task runs where it is spawned: on the supervisor's main thread, as [`Launch::start`] needs.
pub(crate) fn spawn(plan: PartPlan, log: LogWriter) -> PartHandle {
    let (status, seen) = watch::channel(PartStatus {
        state: PartState::Starting,
        pid: None,
        since: SystemClock.now(),
        restarts: 0,
        reason: None,
    });
    let (orders, received) = mpsc::channel(8);
    let name = plan.name.clone();
    let part = Part { plan, log, status, orders: received, backoff: Backoff::default() };
    tokio::task::spawn_local(part.run());
    PartHandle { name, status: seen, orders }
}

impl PartHandle {
    /// Waits until the part answers.
    ///
    /// # Errors
    /// It died three times, or took longer than `limit`; with the reason.
    pub(crate) async fn wait_ready(&self, limit: Duration) -> anyhow::Result<()> {
        let mut status = self.status.clone();
        let first = status.borrow().restarts;
        let settled = status.wait_for(|status| {
            status.state == PartState::Ready
                || status.state == PartState::Stopped
                || status.restarts >= first + 3
        });
        let settled = timeout(limit, settled).await.map(|settled| settled.map(|s| s.clone()));
        let reason = |status: &PartStatus| status.reason.clone().unwrap_or_default();
        match settled {
            Ok(Ok(status)) if status.state == PartState::Ready => Ok(()),
            Ok(Ok(status)) => bail!("{} does not start: {}", self.name, reason(&status)),
            Ok(Err(_)) => bail!("{} was given up", self.name),
            Err(_) => {
                let reason = reason(&self.status.borrow());
                bail!("{} is not ready after {} s: {reason}", self.name, limit.as_secs())
            }
        }
    }

    /// Stops it in good order and starts it again.
    pub(crate) async fn restart(&self) -> anyhow::Result<()> {
        let (done, stopped) = oneshot::channel();
        self.orders.send(Order::Restart(done)).await.context("the part is stopped")?;
        stopped.await.context("the part is stopped")
    }

    /// Sends it a signal, where it runs.
    pub(crate) async fn signal(&self, signal: Signal) {
        let _ = self.orders.send(Order::Signal(signal)).await;
    }

    /// Stops it in good order, for good.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
    }
}

impl Part {
    async fn run(mut self) {
        let mut pending: Option<oneshot::Sender<()>> = None;
        loop {
            let started = Instant::now();
            let end = match self.start() {
                Ok(mut child) => {
                    if let Some(done) = pending.take() {
                        let _ = done.send(());
                    }
                    let end = self.watch(&mut child).await;
                    if !matches!(end, End::Died(_)) {
                        self.stop(&mut child).await;
                    }
                    end
                }
                Err(error) => End::Died(format!("{error:#}")),
            };
            match end {
                End::Stop(done) => {
                    self.say(PartState::Stopped, None, None);
                    let _ = done.send(());
                    return;
                }
                End::Restart(done) => {
                    pending = Some(done);
                    self.say(PartState::Starting, None, None);
                }
                End::Died(reason) => {
                    self.log.line(&format!("{OWN}{reason}"));
                    self.status.send_modify(|status| status.restarts += 1);
                    self.say(PartState::Waiting, None, Some(reason));
                    let until = Instant::now() + self.backoff.next(started.elapsed());
                    if let Some(done) = self.wait(until).await {
                        self.say(PartState::Stopped, None, None);
                        let _ = done.send(());
                        return;
                    }
                }
            }
        }
    }

    fn start(&mut self) -> anyhow::Result<Child> {
        (self.plan.prepare)()?;
        let (reader, writer) = std::io::pipe()?;
        let child = self.plan.launch.start(Some(writer))?;
        tokio::task::spawn_local(self.log.clone().copy(reader));
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        self.say(PartState::Starting, pid, None);
        Ok(child)
    }

    /// Waits for the process to end, or for an order that ends it.
    async fn watch(&mut self, child: &mut Child) -> End {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let probe = self.plan.probe.clone();
        let mut ready: Pin<Box<dyn Future<Output = ()>>> = Box::pin(until_ready(probe, {
            let status = self.status.clone();
            move |reason| {
                status.send_if_modified(|status| {
                    let new = status.reason.as_ref() != Some(&reason);
                    status.reason = Some(reason);
                    new
                });
            }
        }));
        let mut is_ready = false;
        loop {
            tokio::select! {
                biased;
                status = child.wait() => {
                    let how = status.map_or_else(|error| error.to_string(), |how| how.to_string());
                    let mut last = super::logs::tail(&self.log.path(), 3);
                    // What was said here of the end before.
                    last.retain(|line| !line.starts_with(OWN));
                    let last = last.join("; ");
                    let reason = if last.is_empty() { how } else { format!("{how}: {last}") };
                    return End::Died(reason);
                }
                order = self.orders.recv() => match order {
                    Some(Order::Restart(done)) => return End::Restart(done),
                    Some(Order::Stop(done)) => return End::Stop(done),
                    Some(Order::Signal(signal)) => {
                        if let Some(pid) = pid {
                            let _ = kill(Pid::from_raw(pid), signal);
                        }
                    }
                    None => return End::Stop(oneshot::channel().0),
                },
                () = &mut ready, if !is_ready => {
                    is_ready = true;
                    self.say(PartState::Ready, pid, None);
                }
            }
        }
    }

    /// Ends the process: asked first, then killed, with all of its group.
    async fn stop(&self, child: &mut Child) {
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        let _ = kill(Pid::from_raw(pid), self.plan.stop_signal);
        if timeout(self.plan.patience, child.wait()).await.is_err() {
            self.log.line(&format!("{OWN}it did not stop in time and is killed"));
        }
        // Also what it started and left.
        if let Some(cgroup) = &self.plan.launch.cgroup {
            super::cgroup::end(cgroup);
        }
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        let _ = child.wait().await;
    }

    /// Waits until it is time to start again; gives the order to stop, if that comes first.
    async fn wait(&mut self, until: Instant) -> Option<oneshot::Sender<()>> {
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Stop(done)) => return Some(done),
                    Some(Order::Restart(done)) => {
                        let _ = done.send(());
                        return None;
                    }
                    Some(Order::Signal(_)) => {}
                    None => return Some(oneshot::channel().0),
                },
                () = sleep_until(until) => return None,
            }
        }
    }

    fn say(&self, state: PartState, pid: Option<i32>, reason: Option<String>) {
        self.status.send_modify(|status| {
            (status.state, status.pid, status.reason) = (state, pid, reason);
            status.since = SystemClock.now();
        });
    }
}

/// Asks `probe` until it is content; tells `note` what it says otherwise.
async fn until_ready(probe: Probe, note: impl Fn(String)) {
    let mut wait = Duration::from_millis(20);
    loop {
        match probe().await {
            Ok(()) => return,
            Err(error) => note(format!("{error:#}")),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_keeps_dying_is_left_alone_for_longer_and_longer() {
        let mut backoff = Backoff::default();
        let mut wait = |lived| backoff.next(Duration::from_secs(lived)).as_millis();
        assert_eq!([wait(0), wait(0), wait(1), wait(1)], [200, 400, 800, 1600]);
        for _ in 0..20 {
            wait(0);
        }
        assert_eq!(wait(0), 30_000);
        assert_eq!(wait(60), 200, "a long life is a fresh start");
    }
}

//! Does what the lifecycle decides.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use holdfast_types::{Random, SystemRandom};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::elapsed::Elapsed;
use super::lifecycle::{Do, Event, Generation, Lifecycle, Rules};

/// The longest sleep. Timers stand still while a machine sleeps; the wall clock, which is looked at
/// this often, does not.
const NAP: Duration = Duration::from_secs(5);

/// What a pool can do: with a secrets server and PostgreSQL, or in a test.
#[async_trait]
pub(super) trait Effects: Send + Sync + 'static {
    /// Does what is answered by an event. It takes a limited time, but for [`Do::Drain`].
    async fn carry_out(&self, order: Do) -> Event;
    /// Does what is done at once; of [`Do::Drain`], that getters get no more connections.
    fn carry_out_now(&self, order: Do);
}

/// Runs a pool until it is closed.
pub(super) async fn drive<E: Effects>(
    effects: Arc<E>,
    rules: Rules,
    elapsed: Arc<Elapsed>,
    mut doubts: mpsc::Receiver<Generation>,
    close: CancellationToken,
) {
    let mut lifecycle = Lifecycle::new(rules);
    let mut tasks = JoinSet::new();
    let mut drains: HashMap<Generation, AbortHandle> = HashMap::new();
    let mut event = Some(Event::Time);
    let mut is_open = true;
    loop {
        if let Some(event) = event {
            let (next, orders) = lifecycle.handle(elapsed.now(), chance(), event);
            lifecycle = next;
            for order in orders {
                match order {
                    Do::Finish => return effects.carry_out_now(order),
                    Do::Cut(generation) => {
                        effects.carry_out_now(order);
                        drains.remove(&generation).inspect(AbortHandle::abort);
                    }
                    Do::Serve(..) | Do::Forget(_) => effects.carry_out_now(order),
                    Do::Drain(generation) => {
                        effects.carry_out_now(order);
                        let task = tasks.spawn(attempt(effects.clone(), order));
                        drains.insert(generation, task);
                    }
                    Do::LogIn(_) | Do::Read(_) | Do::Probe(_) | Do::Revoke(_) => {
                        tasks.spawn(attempt(effects.clone(), order));
                    }
                }
            }
        }
        let wake = lifecycle.wake().map(|at| at.saturating_sub(elapsed.now()));
        event = tokio::select! {
            biased;
            () = close.cancelled(), if is_open => {
                is_open = false;
                Some(Event::Close)
            }
            Some(ended) = tasks.join_next() => {
                // Without an event it is a drain that is not waited for any more.
                let event = ended.ok();
                if let Some(Event::Drained(generation)) = event {
                    drains.remove(&generation);
                }
                event
            }
            Some(generation) = doubts.recv() => Some(Event::Doubted(generation)),
            () = tokio::time::sleep(wake.unwrap_or(NAP).min(NAP)) => Some(Event::Time),
        };
    }
}

/// Carries an order out. A panic, of a login that a service wrote, is a failure like others.
async fn attempt<E: Effects>(effects: Arc<E>, order: Do) -> Event {
    let work = AssertUnwindSafe(effects.carry_out(order)).catch_unwind();
    work.await.unwrap_or_else(|_| {
        error!(?order, "a step of the rotation panicked");
        match order {
            Do::LogIn(generation) => Event::LoginFailed(generation),
            Do::Read(generation) => Event::ReadFailed(generation),
            Do::Probe(generation) => Event::ProbeFailed(generation),
            Do::Drain(generation) => Event::Drained(generation),
            Do::Revoke(generation) => Event::RevokeFailed(generation),
            Do::Serve(..) | Do::Cut(_) | Do::Forget(_) | Do::Finish => Event::Time,
        }
    })
}

/// A number from 0 to 1.
fn chance() -> f64 {
    f64::from(u16::from_be_bytes(SystemRandom.bytes())) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests;

//! What is wanted of the process, as long as it is not done: of each kind the last. Nothing queues,
//! so nothing can be full and lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_types::SecretString;
use nix::sys::signal::Signal;
use tokio::sync::Notify;

/// What is wanted of the process.
#[derive(Debug)]
pub enum Order {
    /// Run with these variables, in place of whatever runs.
    Run {
        /// Names and values.
        variables: Vec<(String, SecretString)>,
        /// Comes back in [`Report::Running`](super::Report::Running).
        revision: u64,
    },
    /// Send it a signal.
    Signal(Signal),
}

/// Gives orders. They end when it is dropped.
#[derive(Debug)]
pub struct Orders(Arc<Shared>);

/// Takes orders.
#[derive(Debug)]
pub struct Ordered(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    run: Option<Order>,
    /// For the process that runs; one that is started has nothing to be told.
    signals: BTreeSet<Signal>,
    ended: bool,
}

/// Both ends.
pub fn orders() -> (Orders, Ordered) {
    let shared = Arc::new(Shared::default());
    (Orders(Arc::clone(&shared)), Ordered(shared))
}

impl Orders {
    /// Orders something, in place of what it makes pointless.
    pub fn give(&self, order: Order) {
        let mut wanted = self.0.lock();
        match order {
            Order::Signal(signal) => {
                wanted.signals.insert(signal);
            }
            run @ Order::Run { .. } => {
                wanted.run = Some(run);
                wanted.signals.clear();
            }
        }
        drop(wanted);
        self.0.changed.notify_one();
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

impl Ordered {
    /// The next order; none once there will be no more. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Order> {
        loop {
            {
                let mut wanted = self.0.lock();
                if wanted.ended {
                    return None;
                }
                if let Some(run) = wanted.run.take() {
                    return Some(run);
                }
                if let Some(signal) = wanted.signals.pop_first() {
                    return Some(Order::Signal(signal));
                }
            }
            self.0.changed.notified().await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_order_is_lost_however_many_there_are() {
        let (give, mut take) = orders();
        for revision in 1..=1000 {
            give.give(Order::Signal(Signal::SIGUSR1));
            give.give(Order::Run { variables: Vec::new(), revision });
            give.give(Order::Signal(Signal::SIGHUP));
        }
        let Some(Order::Run { revision: 1000, .. }) = take.next().await else { panic!("the last") };
        let Some(Order::Signal(Signal::SIGHUP)) = take.next().await else { panic!("and told") };
        give.give(Order::Signal(Signal::SIGUSR1));
        let Some(Order::Signal(Signal::SIGUSR1)) = take.next().await else { panic!("again") };
        drop(give);
        assert!(take.next().await.is_none());
    }
}

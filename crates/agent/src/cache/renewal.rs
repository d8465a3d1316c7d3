//! Keeps a lease or a token alive while its answer is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use holdfast_client::vault::{VaultClient, VaultError};
use holdfast_types::{Clock, Random, Timestamp};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::session::{Life, is_refusal};

/// How long to wait after a renewal that got no answer.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest sleep.
const NAP: Duration = Duration::from_secs(10);

/// What is renewed, by a client that carries the token for it.
pub(crate) struct Renewing {
    pub(crate) client: VaultClient,
    /// The lease; none for the client's token itself.
    pub(crate) lease: Option<String>,
    pub(crate) life: Life,
    /// Where is told until when it lasts.
    pub(crate) until: Until,
}

/// Until when something lasts by the wall clock, in milliseconds; from the start, for ever.
#[derive(Debug, Clone)]
pub(crate) struct Until(Arc<AtomicI64>);

impl Default for Until {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl Until {
    pub(crate) fn get(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn set(&self, until: Timestamp) {
        self.0.store(until.as_millisecond(), Ordering::Relaxed);
    }

    fn is_over(&self, clock: &dyn Clock) -> bool {
        self.get() <= clock.now()
    }
}

/// Waits by both clocks, until the first of them is there: that of timers stands still while a
/// machine sleeps.
async fn wait(time: Duration, clock: &dyn Clock) {
    let (at, wall) = (Instant::now() + time, after(clock, time));
    loop {
        let left = Duration::try_from(wall.duration_since(clock.now())).unwrap_or_default();
        let left = left.min(at.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return;
        }
        sleep(left.min(NAP)).await;
    }
}

fn after(clock: &dyn Clock, time: Duration) -> Timestamp {
    clock.now().checked_add(time).unwrap_or(Timestamp::MAX)
}

/// Renews until the lease or token cannot last longer, and returns shortly before its end.
pub(crate) async fn keep(what: Renewing, random: Arc<dyn Random>, clock: Arc<dyn Clock>) {
    let Some(granted) = what.life.ttl else {
        // Without an end: only a revocation ends it, or its token's end.
        return std::future::pending().await;
    };
    let mut ttl = granted;
    what.until.set(after(&*clock, ttl));
    loop {
        let mut byte = [0];
        random.fill(&mut byte);
        let chance = f64::from(byte[0]) / 255.0;
        wait(ttl.mul_f64(2.0 / 3.0 - 0.1 * chance), &*clock).await;
        let life = loop {
            if what.until.is_over(&*clock) {
                break None;
            }
            match what.renew().await {
                Ok(life) => break Some(life),
                Err(error) if is_refusal(&error) => break None,
                Err(error) => debug!(%error, "renew what is kept"),
            }
            if what.until.get() <= after(&*clock, AGAIN) {
                break None;
            }
            sleep(AGAIN).await;
        };
        match life {
            Some(Life { ttl: Some(next), renewable }) => {
                what.until.set(after(&*clock, next));
                if !renewable || next < granted.mul_f64(0.9) {
                    // Its longest life is near: the next to ask gets another.
                    return wait(next.mul_f64(0.8), &*clock).await;
                }
                ttl = next;
            }
            Some(Life { ttl: None, .. }) => {
                what.until.set(Timestamp::MAX);
                return std::future::pending().await;
            }
            None => return,
        }
    }
}

impl Renewing {
    async fn renew(&self) -> Result<Life, VaultError> {
        match &self.lease {
            Some(lease) => {
                let body = json!({ "lease_id": lease });
                let reply = self.client.write("sys/leases/renew", &body).await?;
                Ok(Life::new(reply.lease_duration, reply.renewable))
            }
            None => {
                let auth = self.client.token_renew_self(None).await?;
                Ok(Life::new(auth.lease_duration, auth.renewable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_client::vault::VaultConfig;
    use holdfast_testkit::FakeClock;
    use holdfast_types::SystemRandom;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_ends_while_the_machine_sleeps_is_let_go_when_it_wakes() {
        let config = VaultConfig::new("http://127.0.0.1:1".parse().unwrap());
        let client = VaultClient::new(&config).unwrap();
        let clock = Arc::new(FakeClock::at(1_800_000_000));
        let (life, until) = (Life::new(3600, true), Until::default());
        let what = Renewing { client, lease: Some("l/1".into()), life, until: until.clone() };
        let keeping = tokio::spawn(keep(what, Arc::new(SystemRandom), clock.clone()));
        let began = Instant::now();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(until.get(), clock.now() + Duration::from_secs(3600));
        // Timers stand still in the sleep.
        clock.advance(Duration::from_secs(36_000));
        keeping.await.unwrap();
        assert!(began.elapsed() <= NAP, "{:?}", began.elapsed());
    }
}

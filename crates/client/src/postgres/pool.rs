//! The pool as a service sees it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool_postgres::{ClientWrapper, Object, PoolError};
use holdfast_types::{Clock, SystemClock, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::counters::{Counters, PoolSnapshot};
use super::driver::drive;
use super::effects::{Credentials, RotationError};
use super::elapsed::Elapsed;
use super::generation::{Connections, Use};
use super::lifecycle::Generation;
use super::login::Login;
use super::settings::PoolSettings;
use crate::vault::VaultClient;

/// How many doubts wait; they are all about one credential.
const DOUBTS: usize = 16;

/// A pool of PostgreSQL connections whose credential is replaced while it is in use: see
/// [the module](super). Cheap to clone; the last clone that is dropped closes it in the background.
#[derive(Clone)]
pub struct RotatingPool {
    shared: Arc<Shared>,
    wait_limit: Duration,
    closing: CancellationToken,
    _last: Arc<DropGuard>,
}

/// A connection, until it is dropped. It has all methods of a [`tokio_postgres::Client`], and keeps
/// prepared statements where that is asked for.
pub struct Connection {
    // In this order: a connection is given back before its user is gone.
    object: Object,
    _user: Use,
    generation: Generation,
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No credential came to serve in time.
    #[error("no database credential within {} s", limit.as_secs_f32())]
    Slow {
        /// [`PoolSettings::start_limit`].
        limit: Duration,
        /// What failed last.
        #[source]
        last: Option<RotationError>,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The pool was closed by its service.
    #[error("the pool is closed")]
    Closed,
    /// None was free, or PostgreSQL refused the credential and there was no other in time.
    #[error("no database connection within {} s", limit.as_secs_f32())]
    Slow {
        /// [`PoolSettings::wait_limit`].
        limit: Duration,
        /// The refusal.
        #[source]
        refusal: Option<PoolError>,
    },
    /// PostgreSQL was not there, or refused for another reason.
    #[error("connect to the database")]
    Connect(#[source] PoolError),
}

impl RotatingPool {
    /// A pool that has a credential and its first connections.
    ///
    /// `vault` needs no token. One whose [`max_retries`] is 0 serves best: the pool has a patience
    /// of its own.
    ///
    /// # Errors
    /// None within [`PoolSettings::start_limit`], and why.
    ///
    /// [`max_retries`]: crate::vault::VaultConfig::max_retries
    pub async fn start(
        settings: PoolSettings,
        vault: VaultClient,
        login: impl Login,
    ) -> Result<Self, StartError> {
        Self::start_at(settings, vault, login, Arc::new(SystemClock)).await
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_at(
        settings: PoolSettings,
        vault: VaultClient,
        login: impl Login,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let (wait_limit, limit) = (settings.wait_limit, settings.start_limit);
        let elapsed = Arc::new(Elapsed::new(clock));
        let (doubts, doubted) = mpsc::channel(DOUBTS);
        let shared = Arc::new(Shared {
            current: ArcSwapOption::empty(),
            state: watch::channel(State::Starting).0,
            doubts,
            counters: Counters::default(),
            gauges: Mutex::default(),
            elapsed: elapsed.clone(),
        });
        let rules = settings.rules();
        let effects = Credentials::new(settings, vault, Box::new(login), shared.clone());
        let closing = CancellationToken::new();
        tokio::spawn(drive(Arc::new(effects), rules, elapsed, doubted, closing.clone()));
        let last = Arc::new(closing.clone().drop_guard());
        let this = Self { shared, wait_limit, closing, _last: last };
        let mut states = this.shared.state.subscribe();
        let serves = states.wait_for(|state| matches!(state, State::Serving(_)));
        match timeout(limit, serves).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => {
                let last = this.shared.gauges().last.take();
                return Err(StartError::Slow { limit, last });
            }
        }
        Ok(this)
    }

    /// A connection. It waits while all are in use, and where a credential was refused, for the
    /// next; never because one is being replaced.
    ///
    /// # Errors
    /// None within [`PoolSettings::wait_limit`]; PostgreSQL is not there; the pool was closed.
    pub async fn get(&self) -> Result<Connection, GetError> {
        let mut refusal = None;
        let limit = self.wait_limit;
        let got = timeout(limit, self.shared.get(&mut refusal)).await;
        got.unwrap_or(Err(GetError::Slow { limit, refusal }))
    }

    /// Replaces the credential now, not at its usual time. Does not wait for it.
    pub fn rotate(&self) {
        if let Some(current) = self.shared.current.load_full() {
            self.shared.doubt(current.generation);
        }
    }

    /// What it did so far, and how it stands.
    pub fn snapshot(&self) -> PoolSnapshot {
        self.shared.snapshot()
    }

    /// Closes the pool: nobody gets a connection any more, those in use are waited for, within
    /// [`PoolSettings::drain_limit`], and all leases are revoked. Returns when that is done, or
    /// [`PoolSettings::close_limit`] is over, too.
    pub async fn close(&self) {
        self.closing.cancel();
        let mut states = self.shared.state.subscribe();
        // It cannot fail while this has the sender.
        let _ = states.wait_for(|state| matches!(state, State::Closed)).await;
    }
}

impl Connection {
    /// Which credential it was opened with, as [`PoolSnapshot::generation`] counts them.
    pub fn generation(&self) -> u64 {
        self.generation.0
    }
}

impl Deref for Connection {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.object
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.object
    }
}

/// What getters and the driver share.
pub(super) struct Shared {
    current: ArcSwapOption<Connections>,
    state: watch::Sender<State>,
    doubts: mpsc::Sender<Generation>,
    pub(super) counters: Counters,
    gauges: Mutex<Gauges>,
    elapsed: Arc<Elapsed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Serving(Generation),
    /// Nobody gets a connection any more.
    Ending,
    Closed,
}

#[derive(Default)]
struct Gauges {
    ends: Option<Timestamp>,
    /// Credentials that are known of, in service or not.
    held: usize,
    draining: Vec<Arc<Connections>>,
    last: Option<RotationError>,
}

impl Shared {
    async fn get(&self, refusal: &mut Option<PoolError>) -> Result<Connection, GetError> {
        loop {
            let Some(current) = self.current.load_full() else { return Err(GetError::Closed) };
            let generation = current.generation;
            let error = match current.get().await {
                Ok((object, user)) => return Ok(Connection { object, _user: user, generation }),
                // Replaced while it waited: another is there already, or the pool is closed.
                Err(PoolError::Closed) => {
                    self.counters.moves.add();
                    continue;
                }
                Err(error) => error,
            };
            if !is_refusal(&error) {
                return Err(GetError::Connect(error));
            }
            self.counters.refusals.add();
            warn!(generation = generation.0, user = %current.user,
                "PostgreSQL refuses the credential that serves: the pool asks for another");
            *refusal = Some(error);
            self.doubt(generation);
            let mut states = self.state.subscribe();
            let _ = states.wait_for(|state| *state != State::Serving(generation)).await;
        }
    }

    /// Has the credential replaced. When so many doubts wait that there is no room, it will be.
    fn doubt(&self, generation: Generation) {
        let _ = self.doubts.try_send(generation);
    }

    /// Getters get connections of these from here on.
    pub(super) fn serve(&self, connections: Arc<Connections>, left: Duration) {
        let generation = connections.generation;
        self.counters.services.add();
        let mut gauges = self.gauges();
        gauges.ends = Some(self.elapsed.wall(left));
        gauges.last = None;
        gauges.draining.retain(|connections| connections.in_use() > 0);
        gauges.draining.extend(self.current.swap(Some(connections)));
        drop(gauges);
        self.state.send_replace(State::Serving(generation));
    }

    /// If it is this one that serves, none does from here on.
    pub(super) fn retire(&self, generation: Generation) {
        let is_current = |current: &Arc<Connections>| current.generation == generation;
        if self.current.load().as_ref().is_some_and(is_current) {
            let mut gauges = self.gauges();
            gauges.ends = None;
            gauges.draining.extend(self.current.swap(None));
            drop(gauges);
            self.state.send_replace(State::Ending);
        }
    }

    /// So many credentials are known of.
    pub(super) fn leaving(&self, held: usize) {
        self.gauges().held = held;
    }

    pub(super) fn failed(&self, error: RotationError) {
        self.gauges().last = Some(error);
    }

    pub(super) fn finish(&self) {
        self.state.send_replace(State::Closed);
    }

    fn snapshot(&self) -> PoolSnapshot {
        let mut snapshot = self.counters.snapshot();
        let mut gauges = self.gauges();
        gauges.draining.retain(|connections| connections.in_use() > 0);
        snapshot.draining = gauges.draining.iter().map(|connections| connections.in_use()).sum();
        snapshot.ends = gauges.ends;
        snapshot.leaving = gauges.held;
        if let Some(current) = self.current.load_full() {
            snapshot.generation = current.generation.0;
            snapshot.user = Some(current.user.clone());
            snapshot.connections = current.size();
            snapshot.in_use = current.in_use();
            snapshot.leaving = snapshot.leaving.saturating_sub(1);
        }
        snapshot
    }

    fn gauges(&self) -> std::sync::MutexGuard<'_, Gauges> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is the credential that PostgreSQL does not take.
fn is_refusal(error: &PoolError) -> bool {
    let PoolError::Backend(error) = error else { return false };
    error.code().is_some_and(|code| {
        *code == SqlState::INVALID_PASSWORD
            || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
    })
}

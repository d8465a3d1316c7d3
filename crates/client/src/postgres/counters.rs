//! What a pool can tell about itself.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_types::Timestamp;

/// What a pool did so far, and how it stands. The counters only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Which credential serves, in the order of their logins; 0 where none does.
    pub generation: u64,
    /// Its database user.
    pub user: Option<String>,
    /// When it ends.
    pub ends: Option<Timestamp>,
    /// Connections of it that are open.
    pub connections: usize,
    /// Those that have one of them, or wait for one.
    pub in_use: usize,
    /// Those that have one of a credential before it.
    pub draining: usize,
    /// Credentials whose lease is still to be ended: they drain, or the secrets server was not
    /// there.
    pub leaving: usize,
    /// Credentials that came to serve after the first.
    pub rotations: u64,
    /// Logins that failed.
    pub login_failures: u64,
    /// Logins after which no database user was to be had.
    pub read_failures: u64,
    /// Users whom PostgreSQL did not take.
    pub probe_failures: u64,
    /// Tokens that end before the lease that hangs on them.
    pub short_tokens: u64,
    /// Credentials whose connections were all given back in time.
    pub drains: u64,
    /// Credentials whose connections were not.
    pub drains_cut: u64,
    /// Credentials that the secrets server ended on request.
    pub revocations: u64,
    /// Requests for that which failed and are repeated.
    pub revocation_failures: u64,
    /// Credentials that the server ends by itself, because it refuses or their time was over.
    pub revocations_left: u64,
    /// Getters whose pool was closed while they waited, and who waited at the next.
    pub moves: u64,
    /// Getters whose credential PostgreSQL refused.
    pub refusals: u64,
}

/// The counters behind it.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) services: Counter,
    pub(super) login_failures: Counter,
    pub(super) read_failures: Counter,
    pub(super) probe_failures: Counter,
    pub(super) short_tokens: Counter,
    pub(super) drains: Counter,
    pub(super) drains_cut: Counter,
    pub(super) revocations: Counter,
    pub(super) revocation_failures: Counter,
    pub(super) revocations_left: Counter,
    pub(super) moves: Counter,
    pub(super) refusals: Counter,
}

/// A number that grows by one.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// The counters; the rest is its caller's to fill in.
    pub(super) fn snapshot(&self) -> PoolSnapshot {
        PoolSnapshot {
            rotations: self.services.get().saturating_sub(1),
            login_failures: self.login_failures.get(),
            read_failures: self.read_failures.get(),
            probe_failures: self.probe_failures.get(),
            short_tokens: self.short_tokens.get(),
            drains: self.drains.get(),
            drains_cut: self.drains_cut.get(),
            revocations: self.revocations.get(),
            revocation_failures: self.revocation_failures.get(),
            revocations_left: self.revocations_left.get(),
            moves: self.moves.get(),
            refusals: self.refusals.get(),
            ..PoolSnapshot::default()
        }
    }
}

//! Numbers for monitoring, by OpenBao's names where it counts the same.
//!
//! What is counted with every request is relaxed atomics and histograms of fixed size. Labels are
//! mounts and operations, never paths, tokens or addresses: their number is bounded.

mod entries;
mod gauges;
mod paths;
mod render;
mod summary;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use crate::http::InFlight;

pub(crate) use self::entries::Measured;
pub(crate) use self::paths::{answer, handle};
use self::summary::{Snapshot, Summary};

/// Pairs of a mount and an operation with numbers of their own. What comes later counts together.
const MOST_ROUTES: usize = 2_048;

/// Everything that is counted.
pub struct Metrics {
    base: Instant,
    in_flight: Arc<InFlight>,
    pub(crate) requests: Summary,
    pub(crate) logins: Summary,
    pub(crate) audit_requests: Summary,
    pub(crate) audit_responses: Summary,
    pub(crate) audit_request_failures: Counter,
    pub(crate) audit_response_failures: Counter,
    pub(crate) barrier_get: Summary,
    pub(crate) barrier_list: Summary,
    pub(crate) barrier_put: Summary,
    pub(crate) rate_limited: Counter,
    /// By operation and mount, such as `read-kv-`.
    routes: RwLock<BTreeMap<String, Arc<Summary>>>,
    /// How many leases there are, and when that was found out.
    leases: Mutex<Option<(Instant, usize)>>,
}

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new(in_flight: Arc<InFlight>) -> Self {
        let base = Instant::now();
        let summary = || Summary::new(base);
        Self {
            base,
            in_flight,
            requests: summary(),
            logins: summary(),
            audit_requests: summary(),
            audit_responses: summary(),
            audit_request_failures: Counter::default(),
            audit_response_failures: Counter::default(),
            barrier_get: summary(),
            barrier_list: summary(),
            barrier_put: summary(),
            rate_limited: Counter::default(),
            routes: RwLock::default(),
            leases: Mutex::default(),
        }
    }

    /// Counts a request that a mount has answered.
    pub(crate) fn routed(&self, operation: &str, mount: &str, began: Instant, now: Instant) {
        let mut name = String::with_capacity(operation.len() + mount.len() + 1);
        name.push_str(operation);
        name.push('-');
        name.extend(mount.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }));
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let summary = known.unwrap_or_else(|| {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            if routes.len() >= MOST_ROUTES && !routes.contains_key(&name) {
                "other-".clone_into(&mut name);
            }
            routes.entry(name).or_insert_with(|| Arc::new(Summary::new(self.base))).clone()
        });
        summary.record(began, now);
    }

    fn route_snapshots(&self, now: Instant) -> Vec<(String, Snapshot)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.iter().map(|(name, summary)| (name.clone(), summary.snapshot(now))).collect()
    }
}

#[cfg(test)]
mod tests;

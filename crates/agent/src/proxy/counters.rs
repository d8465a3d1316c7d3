//! What is counted, and how it is shown at `/agent/v1/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) success: Counter,
    pub(super) client_error: Counter,
    pub(super) error: Counter,
    pub(super) hit: Counter,
    pub(super) miss: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What holds at the moment.
pub(super) struct Gauges {
    pub(super) authenticated: bool,
    pub(super) generation: u64,
    pub(super) cached: usize,
    pub(super) cached_bytes: usize,
}

/// Names are the stock agent's, where it has them.
impl Counters {
    fn list(&self) -> [(&'static str, u64); 5] {
        [
            ("agent.proxy.success", self.success.get()),
            ("agent.proxy.client_error", self.client_error.get()),
            ("agent.proxy.error", self.error.get()),
            ("agent.cache.hit", self.hit.get()),
            ("agent.cache.miss", self.miss.get()),
        ]
    }

    /// For Prometheus.
    pub(super) fn text(&self, gauges: &Gauges) -> String {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, value: u64| {
            let name = name.replace('.', "_");
            let _ = writeln!(text, "# TYPE vault_{name} {kind}\nvault_{name} {value}");
        };
        for (name, value) in self.list() {
            line(name, "counter", value);
        }
        for (name, value) in gauges.list() {
            line(name, "gauge", value);
        }
        text
    }

    pub(super) fn json(&self, gauges: &Gauges) -> Value {
        let named = |kind: &str, list: &[(&str, u64)]| -> Vec<Value> {
            let one = |(name, value): &(&str, u64)| json!({ "Name": format!("vault.{name}"), kind: value, "Labels": {} });
            list.iter().map(one).collect()
        };
        json!({
            "Counters": named("Count", &self.list()),
            "Gauges": named("Value", &gauges.list()),
            "Points": [],
            "Samples": [],
        })
    }
}

impl Gauges {
    fn list(&self) -> [(&'static str, u64); 4] {
        [
            ("agent.authenticated", u64::from(self.authenticated)),
            ("agent.login.generation", self.generation),
            ("agent.cache.entries", self.cached as u64),
            ("agent.cache.bytes", self.cached_bytes as u64),
        ]
    }
}

//! A rate limit as an operator wrote it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A rate limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rule {
    /// What it holds for: empty for all, a mount, a path below one, or such with a `*` at its end.
    pub path: String,
    /// The mount that the path belongs to; empty for all.
    pub mount: String,
    /// Only logins by this role; empty for all.
    pub role: String,
    /// Requests in an interval. Above zero.
    pub rate: f64,
    /// Above zero.
    pub interval: Duration,
    /// How long a client that asked too often must wait. Zero: until the interval is over.
    pub block_interval: Duration,
    /// As it was written. There are no namespaces that could inherit.
    pub inheritable: bool,
}

impl Rule {
    /// How it is shown.
    pub(super) fn to_wire(&self, name: &str) -> Value {
        // A whole number is shown without a point.
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and was checked")]
        let rate = match self.rate.fract() == 0.0 && self.rate < 1e15 {
            true => json!(self.rate as i64),
            false => json!(self.rate),
        };
        json!({
            "type": "rate-limit",
            "name": name,
            "path": self.path,
            "role": self.role,
            "rate": rate,
            "interval": self.interval.as_secs(),
            "block_interval": self.block_interval.as_secs(),
            "inheritable": self.inheritable,
        })
    }
}

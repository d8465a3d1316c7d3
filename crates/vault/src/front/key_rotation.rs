//! `sys/rotate/config`: when the encryption key rotates by itself.
//!
//! The barrier itself rotates well before a key has encrypted too much; this is for those who want it
//! earlier, or by age. `core/key-rotation` holds the setting, and it is looked at once a minute.

use std::sync::Arc;
use std::time::Duration;

use holdfast_barrier::{Barrier, Entries, View};
use holdfast_logical::{Error, Operation, Reply, Request, Response};
use holdfast_types::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const KEY: &str = "core/key-rotation";
/// What the barrier bears: 90% of the 2^32 encryptions that AES-GCM with random nonces does.
const MOST_OPERATIONS: i64 = 3_865_470_566;
const FEWEST_OPERATIONS: i64 = 1_000_000;
const SHORTEST: Duration = Duration::from_secs(24 * 3600);

/// The setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Schedule {
    enabled: bool,
    /// Zero: of any age.
    interval: Duration,
    max_operations: i64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { enabled: true, interval: Duration::ZERO, max_operations: MOST_OPERATIONS }
    }
}

impl Schedule {
    /// Whether a key of this age and use is to be replaced.
    fn is_due(&self, installed: Timestamp, used: u64, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(installed)).unwrap_or_default();
        let is_old = !self.interval.is_zero() && age >= self.interval;
        self.enabled && (is_old || i64::try_from(used).is_ok_and(|u| u >= self.max_operations))
    }

    fn to_wire(&self) -> Value {
        json!({
            "enabled": self.enabled,
            "interval": if self.interval.is_zero() { json!(0) } else { json!(go(self.interval)) },
            "max_operations": self.max_operations,
        })
    }
}

/// The setting, and what acts by it.
pub(super) struct KeyRotation {
    barrier: Arc<Barrier>,
    store: View,
    clock: Arc<dyn Clock>,
}

impl KeyRotation {
    pub(super) fn new(barrier: Arc<Barrier>, clock: Arc<dyn Clock>) -> Self {
        let store = View::new(Arc::clone(&barrier) as Arc<dyn Entries>, "");
        Self { barrier, store, clock }
    }

    pub(super) async fn handle(&self, request: &Request) -> Reply {
        match request.operation {
            Operation::Read => Ok(Some(Response::data(self.schedule().await?.to_wire()))),
            operation if operation.is_write() => {
                let schedule = written(&self.schedule().await?, request)?;
                self.store.put_json(KEY, &schedule).await?;
                Ok(None)
            }
            Operation::List => Err(Error::UnsupportedPath),
            _ => Err(Error::UnsupportedOperation),
        }
    }

    /// Whether it is time to rotate.
    pub(super) async fn is_due(&self) -> Result<bool, Error> {
        let status = self.barrier.key_status()?;
        let schedule = self.schedule().await?;
        Ok(schedule.is_due(status.install_time, status.encryptions, self.clock.now()))
    }

    async fn schedule(&self) -> Result<Schedule, Error> {
        Ok(self.store.get_json(KEY).await?.unwrap_or_default())
    }
}

/// The setting with what the request names.
fn written(old: &Schedule, request: &Request) -> Result<Schedule, Error> {
    let fields = request.fields();
    let enabled = fields.bool("enabled").map_err(Error::field_validation)?;
    let interval = fields.duration("interval").map_err(Error::field_validation)?;
    let most = fields.integer("max_operations").map_err(Error::field_validation)?;
    let new = Schedule {
        enabled: enabled.unwrap_or(old.enabled),
        interval: interval.unwrap_or(old.interval),
        max_operations: most.unwrap_or(old.max_operations),
    };
    if !(FEWEST_OPERATIONS..=MOST_OPERATIONS).contains(&new.max_operations) {
        return Err(Error::invalid(format!(
            "max_operations must be in the range [{FEWEST_OPERATIONS},{MOST_OPERATIONS}]"
        )));
    }
    if !new.interval.is_zero() && new.interval < SHORTEST {
        let shortest = go(SHORTEST);
        return Err(Error::invalid(format!("interval must be greater or equal to {shortest}")));
    }
    Ok(new)
}

/// As Go prints it: `24h0m0s`.
fn go(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_by_age_or_by_use() {
        let day = Duration::from_secs(24 * 3600);
        let by_age = Schedule { interval: day, ..Schedule::default() };
        let by_use = Schedule { max_operations: FEWEST_OPERATIONS, ..Schedule::default() };
        let off = Schedule { enabled: false, ..by_age.clone() };
        let installed = Timestamp::from_second(1_800_000_000).unwrap();
        for (schedule, hours, used, want) in [
            (&by_age, 23, 0, false),
            (&by_age, 24, 0, true),
            (&by_use, 1_000, 999_999, false),
            (&by_use, 0, 1_000_000, true),
            (&off, 1_000, 0, false),
            // A clock that was set back.
            (&by_age, -5, 0, false),
        ] {
            let now = Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
            assert_eq!(schedule.is_due(installed, used, now), want, "{schedule:?} {hours} {used}");
        }
    }
}

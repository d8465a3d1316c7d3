//! Wall-clock time, taken as an argument.

pub use jiff::Timestamp;

/// Where the time comes from: the system's clock, or a test's.
///
/// Leases, tokens and certificates are bound to wall-clock time, because they outlive the process
/// and a machine's sleep. Waits use `tokio::time`.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// `time` as Go's `time.RFC3339Nano` writes it in UTC: up to nine decimals, without trailing
/// zeros, such as `2026-11-22T03:57:21.12Z`.
pub fn rfc3339(time: Timestamp) -> String {
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_drops_trailing_zeros() {
        for (nanoseconds, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (120_000_000, "1970-01-01T00:00:00.12Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
        ] {
            let time = Timestamp::from_nanosecond(nanoseconds).unwrap();
            assert_eq!(rfc3339(time), want);
        }
    }
}

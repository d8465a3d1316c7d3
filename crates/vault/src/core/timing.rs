//! When a refusal is answered: its time must not tell what a path or a name led to.

use std::time::Duration;

use tokio::time::Instant;

/// How long after its request came a refusal leaves: well after the slowest was decided. What a
/// password's hash takes is not in it; that is computed for names that do not exist as well.
const REFUSED_AFTER: Duration = Duration::from_millis(2);

/// Waits until a refusal of the request that came at `came` may leave. Whoever asks learns by it no
/// more than they learn of a request that came at that time and needed no work at all, since the
/// timer fires by the clock, not by when it was set.
pub(super) async fn even(came: Instant) {
    tokio::time::sleep_until(came + REFUSED_AFTER).await;
}

//! The secrets that templates need: read once however many need them, kept up to date, each for
//! itself.
//!
//! [`Core`] decides and does no I/O: what is to be asked next, and what an answer changes.
//! [`fetch`] asks, and [`events`] hears of changes where the server tells of them.

mod answer;
mod core;
pub mod events;
mod failure;
pub mod fetch;
mod mounts;
mod request;
mod schedule;

pub use self::core::{Core, Done, Found, RetiredLease, Settings, Task, Work};
pub use answer::{Answer, Lease, Life};
pub use failure::{Failure, FailureKind};
pub use mounts::Mount;
pub use request::Request;

use holdfast_types::Timestamp;
use tokio::time::Instant;

/// A point in time, with one draw of chance for what is spread over time.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the clock that waits use.
    pub at: Instant,
    /// By the clock on the wall, which certificates are bound to.
    pub wall: Timestamp,
    /// From 0 to 1.
    pub chance: f64,
}

//! Room on the disks: warned of while there is some, and a way out when there is none.
//!
//! On a full disk the audit device cannot write, so nothing is served. [`watch`] says so before it
//! happens; a [`Reserve`] on each disk is room that an operator can have back at once, and in which the
//! server goes on until more is made.

mod level;
mod reserve;
mod reserves;
mod usage;
mod watch;

pub use reserve::{Reserve, ReserveError};
pub use reserves::Reserves;
pub use usage::{Usage, find as find_usage};
pub(crate) use watch::{Watched, watch};

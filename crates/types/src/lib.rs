//! What every part shares: secrets that do not print, clocks and randomness that come in as
//! arguments, durations as Vault writes them, SPIFFE IDs.
//!
//! Nothing here does I/O beyond reading the system's clock and its random numbers, and both are
//! behind traits.

mod chain;
mod closest;
mod random;
mod secret;
mod spiffe_id;
mod time;
mod ttl;

pub use chain::Chain;
pub use closest::closest;
pub use random::{Random, SystemRandom};
pub use secret::{Secret, SecretBytes, SecretString, constant_time_eq};
pub use spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use time::{Clock, SystemClock, Timestamp, rfc3339};
pub use ttl::{Ttl, TtlError, format_go_duration};

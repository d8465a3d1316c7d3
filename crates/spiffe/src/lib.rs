//! Identities of workloads, after the SPIFFE standards.
//!
//! Two halves that meet in [`Source`]. The server keeps the trust domain's authorities and the
//! entries that say who is who; it signs. The agent, on the machine of the workloads, sees who asks
//! by the kernel's word, and hands each its own SVIDs. They talk over gRPC ([`proto`]), on one
//! machine through a Unix socket where the kernel vouches for both.

pub mod agent;
pub mod bundle;
pub mod entries;
pub mod entry;
pub mod join;
mod pop;
pub mod proto;
mod psat;
pub mod remote;
mod replica;
pub mod server;
pub mod source;
mod tls;
pub mod wire;

pub use bundle::{Bundle, BundleError};
pub use entries::{Difference, Entries};
pub use entry::{Entry, Selector, SelectorError};
pub use source::{JwtSvid, MintError, Snapshot, Source, X509Svid};

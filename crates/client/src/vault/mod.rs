//! A thin client of the Vault HTTP API, the same against our server, OpenBao and Vault.
//!
//! [`VaultConfig`] says where the server is and whom to trust; [`VaultClient`] sends requests and
//! tells failures apart ([`VaultError`]). Methods with a name of their own exist for what more
//! than one caller needs; everything else goes through [`VaultClient::read`] and its siblings, or
//! through [`VaultClient::request`], which judges nothing.

mod address;
mod client;
mod config;
mod error;
mod events;
mod forward;
mod logs;
mod rehearsal;
mod reply;
mod system;
mod transport;

pub use address::{Address, AddressError};
pub use client::VaultClient;
pub use config::{ConfigError, Trust, VaultConfig};
pub use error::{ApiFailure, Unreachable, VaultError};
pub use events::{EventStream, StreamEnd, SubscribeError};
pub use forward::{Forwarded, Forwarder, Passed, PassedBody, Pieces};
pub use logs::LogStream;
pub use rehearsal::{Rehearsal, Rehearsed};
pub use reply::{Auth, Health, InitReply, InitRequest, Reply, SealStatus, UnsealRequest, WrapInfo};
pub use transport::Response;

pub use http::Method;

#[cfg(test)]
mod tests;

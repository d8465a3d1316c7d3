//! The secrets server.

pub mod audit;
pub mod config;
pub mod core;
mod denials;
mod events;
pub mod front;
pub mod http;
mod identity;
mod leases;
mod lockout;
pub mod logs;
mod metrics;
pub mod mounts;
mod passwords;
mod policies;
mod quotas;
pub mod server;
mod settings;
pub mod space;
mod sys;
#[cfg(test)]
mod testing;
mod tokens;
pub mod wire;

pub use denials::HEADER as EXPLAIN_HEADER;

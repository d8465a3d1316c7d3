//! The secrets server.

pub mod audit;
pub mod config;
pub mod core;
pub mod front;
pub mod http;
mod identity;
mod leases;
mod lockout;
pub mod mounts;
mod passwords;
mod policies;
pub mod server;
mod sys;
#[cfg(test)]
mod testing;
mod tokens;
pub mod wire;

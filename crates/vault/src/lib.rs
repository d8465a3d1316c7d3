//! The secrets server.

pub mod audit;
pub mod config;
pub mod core;
pub mod front;
pub mod http;
pub mod mounts;
pub mod wire;

//! The secrets server.

pub mod audit;
pub mod core;
pub mod mounts;
pub mod wire;

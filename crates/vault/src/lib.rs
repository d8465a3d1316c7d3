//! The secrets server.

pub mod audit;
pub mod wire;

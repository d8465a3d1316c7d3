//! Delivery of secrets to processes: logs in, reads, renders files by generation, tells consumers.

pub mod config;
pub mod generation;
pub mod store;

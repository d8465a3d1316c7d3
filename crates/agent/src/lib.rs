//! Delivery of secrets to processes: logs in, reads, renders files by generation, tells consumers.

pub mod config;
pub mod consumer;
mod files;
pub mod generation;
pub mod status;
pub mod store;

//! Delivery of secrets to processes: logs in, reads, renders files by generation, tells consumers.

pub mod auth;
mod cache;
pub mod config;
pub mod consumer;
pub mod delivery;
mod files;
pub mod generation;
pub mod proxy;
mod run;
pub mod session;
pub mod sink;
pub mod status;
pub mod store;

pub use run::{Agent, AgentError, Surroundings};

/// An error with all that caused it, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors repeat what is below them.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

//! The agent: sees who asks, and hands each workload its own identities.

pub mod attest;
mod shim;

pub use shim::Shim;

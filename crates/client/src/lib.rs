//! Clients of the protocols that the parts speak.
//!
//! A part knows another only through here, at an address from its configuration. So the embedded
//! part and the real engine of its field meet the same code.

pub mod fetch;
pub mod kubernetes;
pub mod postgres;
pub mod vault;
pub mod workload;

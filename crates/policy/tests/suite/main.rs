//! Policies through the crate's public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acl;
mod decisions;
mod explain;
#[path = "../../../../fuzz/invariants/acl.rs"]
mod invariants;

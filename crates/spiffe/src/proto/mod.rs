//! What goes over the wire: code made from `proto/*.proto` by `cargo xtask protos`.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]

/// The SPIFFE Workload API. Its service has no package: `/SpiffeWorkloadAPI/...`.
pub mod workload {
    include!("workload.rs");
}

/// Between our own server and its agents and operators.
pub mod node {
    include!("holdfast.spiffe.v1.rs");
}

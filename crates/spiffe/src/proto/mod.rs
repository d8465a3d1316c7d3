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

/// Between an agent and its operators.
pub mod agent {
    include!("holdfast.spiffe.agent.v1.rs");
}

/// gRPC's health checking protocol.
pub mod health {
    include!("grpc.health.v1.rs");
}

/// The part of Envoy's API that its Secret Discovery Service needs.
pub mod envoy {
    /// Envoy's services.
    pub mod service {
        /// The envelope of all of them.
        pub mod discovery {
            /// Version 3.
            pub mod v3 {
                include!("envoy.service.discovery.v3.rs");
            }
        }
        /// The Secret Discovery Service.
        pub mod secret {
            /// Version 3.
            pub mod v3 {
                include!("envoy.service.secret.v3.rs");
            }
        }
    }
    /// What secrets are, to Envoy's TLS transport.
    pub mod tls {
        include!("envoy.extensions.transport_sockets.tls.v3.rs");
    }
}

/// The part of SPIRE's API that its delegated identity service needs.
pub mod spire {
    /// SPIRE's services.
    pub mod api {
        /// What they have in common.
        pub mod types {
            include!("spire.api.types.rs");
        }
        /// Those of its agent.
        pub mod agent {
            /// SVIDs of workloads, for another process that acts for them.
            pub mod delegatedidentity {
                /// Version 1.
                pub mod v1 {
                    include!("spire.api.agent.delegatedidentity.v1.rs");
                }
            }
        }
    }
}

/// The descriptors of what everybody may call, for clients that ask what there is.
pub(crate) const PUBLIC: &[u8] = include_bytes!("public.bin");

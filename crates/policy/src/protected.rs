//! Paths that need the `sudo` capability beside the one for the operation.

/// As OpenBao 2.7.2 and this project's server have them; `*` at the end matches any rest.
const PROTECTED: [&str; 27] = [
    "auth/token/accessors",
    "auth/token/accessors/",
    "sys/audit",
    "sys/audit/*",
    "sys/auth/*",
    "sys/config/auditing/*",
    "sys/config/cors",
    "sys/config/ui/headers/*",
    "sys/generate-root-token/*",
    "sys/in-flight-req",
    "sys/internal/explain",
    "sys/internal/explain/*",
    "sys/internal/inspect/*",
    "sys/leases",
    "sys/leases/lookup/*",
    "sys/leases/revoke-force/*",
    "sys/leases/revoke-prefix/*",
    "sys/plugins/catalog/*",
    "sys/raw",
    "sys/raw/*",
    "sys/remount",
    "sys/revoke-force/*",
    "sys/revoke-prefix/*",
    "sys/rotate",
    "sys/rotate/*",
    "sys/seal",
    "sys/step-down",
];

/// Whether a request for `path` needs `sudo` as well, by what servers commonly protect. The server
/// itself knows its mounts and is the one to ask; this is for looking at policies without one.
pub fn is_root_protected(path: &str) -> bool {
    PROTECTED.iter().any(|protected| match protected.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == *protected,
    })
}

//! The parts of the server that have a level of their own, under OpenBao's names where it has such
//! a part.

/// The crates whose lines are the server's own.
pub(super) const OWN: [&str; 5] =
    ["holdfast", "holdfast_auth", "holdfast_barrier", "holdfast_engines", "holdfast_vault"];

/// Names, and the modules that speak under them. No name's modules lie inside another's.
pub(super) const SUBSYSTEMS: [(&str, &[&str]); 14] = [
    ("audit", &["holdfast_vault::audit"]),
    ("auth", &["holdfast_auth"]),
    ("core", &["holdfast_vault::core", "holdfast_vault::front", "holdfast_vault::server"]),
    ("events", &["holdfast_vault::events"]),
    ("expiration", &["holdfast_vault::leases"]),
    ("http", &["holdfast_vault::http"]),
    ("identity", &["holdfast_vault::identity"]),
    ("mounts", &["holdfast_vault::mounts"]),
    ("policy", &["holdfast_vault::policies", "holdfast_vault::denials"]),
    ("quotas", &["holdfast_vault::quotas"]),
    ("secrets", &["holdfast_engines"]),
    ("storage", &["holdfast_barrier", "holdfast_vault::space"]),
    ("system", &["holdfast_vault::sys", "holdfast_vault::settings"]),
    ("token", &["holdfast_vault::tokens"]),
];

/// The name that a module's lines go under: its subsystem's, else the module's own.
pub(super) fn of(target: &str) -> &str {
    let speaks = |module: &&&str| {
        target.strip_prefix(**module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    SUBSYSTEMS
        .iter()
        .find(|(_, modules)| modules.iter().any(|module| speaks(&module)))
        .map_or(target, |(name, _)| name)
}

//! The paths of `sys/` that need a token: mounts, policies, leases, capabilities, wrapping.
//!
//! What is asked while the server is sealed, or runs the server itself, is not here: it comes in
//! by [`crate::core::Core::extend_system`].

mod absent;
mod capabilities;
mod config;
mod explain;
pub(crate) mod help;
mod host;
mod internal;
mod locked_users;
mod mounts;
pub(crate) mod openapi;
mod plugins;
mod remount;
pub(crate) mod routes;
mod tools;
mod wrapping;

use std::sync::Arc;

use holdfast_logical::{Error, Operation, SpecialPaths};

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::events;
use crate::leases;
use crate::logs;
use crate::metrics;
use crate::mounts::MountClass;
use crate::passwords;
use crate::policies::{self, PolicyStyle};
use crate::quotas;
use crate::wire::OutgoingBody;

/// Paths with rules of their own, as OpenBao has them.
pub(crate) fn special_paths() -> SpecialPaths {
    let own = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
    SpecialPaths {
        unauthenticated: own(&[
            "wrapping/lookup",
            "decode-token",
            "rekey-recovery-key/*",
            "internal/specs/openapi",
            "internal/ui/mounts",
            "internal/ui/mounts/*",
            "internal/ui/namespaces",
            // Answered before the core sees them, all but their help.
            "health",
            "init",
            "leader",
            "seal-status",
            "unseal",
        ]),
        sudo: own(&[
            "auth/*",
            "internal/explain",
            "internal/explain/*",
            "leases",
            "leases/lookup/*",
            "leases/revoke-prefix/*",
            "leases/revoke-force/*",
            "revoke-prefix/*",
            "revoke-force/*",
            "remount",
            "config/cors",
            "config/auditing/*",
            "raw/*",
        ]),
    }
}

/// The one spelling of a path that names a policy or a mount: without a slash at its end, and a
/// policy's name in lower case and without spaces around it, as it is stored. Rules are held against this one. None: it is
/// written so already, or names neither.
pub(crate) fn canonical(path: &str) -> Option<String> {
    let (folder, name) = ["policies/acl/", "policy/", "mounts/", "auth/"]
        .iter()
        .find_map(|folder| Some((folder, path.strip_prefix(folder)?)))?;
    let stored = if folder.starts_with("polic") {
        let end = |c: char| c == '/' || c.is_whitespace();
        name.trim_start().trim_end_matches(end).to_lowercase()
    } else {
        name.trim_end_matches('/').to_owned()
    };
    (stored != name && !stored.is_empty()).then(|| format!("{folder}{stored}"))
}

/// Answers a request to `sys/`.
///
/// # Errors
/// OpenBao's for each path.
pub(crate) async fn handle(vault: &Arc<Vault>, invocation: &Invocation) -> Result<Answer, Error> {
    let path = invocation.request.path.as_str();
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    if path.strip_suffix('/').is_some_and(routes::is_no_folder) {
        return Err(Error::UnsupportedPath);
    }
    match first {
        "mounts" => mounts::handle(vault, invocation, MountClass::Secret, rest).await,
        "auth" => mounts::handle(vault, invocation, MountClass::Auth, rest).await,
        "policy" => policies::handle(vault, invocation, PolicyStyle::Old, rest).await,
        "policies" if rest == "detailed/acl" || rest.starts_with("detailed/acl/") => {
            let name = rest.trim_start_matches("detailed/acl").trim_matches('/');
            policies::detailed(vault, invocation, name)
        }
        "policies" => match rest.split_once('/').unwrap_or((rest, "")) {
            ("acl", name) => {
                let name = name.trim_start_matches('/');
                policies::handle(vault, invocation, PolicyStyle::Acl, name).await
            }
            ("password", path) => passwords::handle(&vault.passwords, invocation, path).await,
            _ => elsewhere(vault, invocation).await,
        },
        "leases" => leases::handle(vault, invocation, rest).await,
        // Vault's older names.
        "renew" | "revoke" | "revoke-prefix" | "revoke-force" => {
            leases::handle(vault, invocation, path).await
        }
        "capabilities" | "capabilities-self" | "capabilities-accessor" if rest.is_empty() => {
            capabilities::handle(vault, invocation, first).await
        }
        "locked-users" => locked_users::handle(vault, invocation, rest).map(Answer::from),
        "config" if rest == "state/sanitized" => elsewhere(vault, invocation).await,
        "config" if !rest.is_empty() => config::handle(vault, invocation, rest).await,
        "quotas" => quotas::handle(vault, invocation, rest).await,
        "remount" => remount::handle(vault, invocation, rest).await,
        "host-info" | "ha-status" | "version-history" if rest.is_empty() => {
            host::handle(vault, invocation, first).await
        }
        "plugins" => plugins::handle(vault, invocation, rest),
        "namespaces" => absent::namespaces(invocation, rest),
        "rekey" if matches!(rest, "backup" | "recovery-key-backup") => absent::backup(invocation),
        "rotate" if matches!(rest, "root/backup" | "recovery/backup") => absent::backup(invocation),
        "metrics" if rest.is_empty() => metrics::handle(vault, invocation).await,
        "events" => match (rest.strip_prefix("subscribe/"), invocation.request.operation) {
            (Some(kinds), Operation::Read) => {
                let messages = events::subscribe(vault, invocation, kinds)?;
                Ok(Answer { ongoing: Some(OutgoingBody::Messages(messages)), ..Answer::none() })
            }
            (Some(_), _) => Err(Error::UnsupportedOperation),
            (None, _) => Err(Error::UnsupportedPath),
        },
        "monitor" if rest.is_empty() => match invocation.request.operation {
            Operation::Read => {
                let lines = logs::monitor(vault, invocation)?;
                Ok(Answer { ongoing: Some(OutgoingBody::Lines(lines)), ..Answer::none() })
            }
            _ => Err(Error::UnsupportedOperation),
        },
        "wrapping" => wrapping::handle(vault, invocation, rest).await,
        "internal" if rest == "explain" || rest.starts_with("explain/") => {
            explain::handle(vault, invocation, rest).await
        }
        "internal" => internal::handle(vault, invocation, rest).await,
        "generate-root" if rest.is_empty() => Err(Error::UnsupportedOperation),
        "decode-token" if rest.is_empty() => tools::decode_token(invocation).map(Answer::from),
        "tools" => tools::handle(vault, invocation, rest),
        _ => elsewhere(vault, invocation).await,
    }
}

/// What this module does not know, others may.
async fn elsewhere(vault: &Vault, invocation: &Invocation) -> Result<Answer, Error> {
    match &vault.system {
        Some(system) => Ok(system.handle(&invocation.request).await?.into()),
        None => Err(Error::UnsupportedPath),
    }
}

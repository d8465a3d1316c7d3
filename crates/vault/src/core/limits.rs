//! Rate limits, asked before anybody looks at the token.

use holdfast_logical::Error;

use super::audit;
use super::pipeline::audit_failed;
use super::vault::Vault;
use crate::audit::{RequestRecord, ResponseRecord};
use crate::mounts::{Mount, Target, is_among};
use crate::quotas::Verdict;
use crate::wire::{Incoming, Outgoing, Verb};

/// Counts a request.
///
/// # Errors
/// The answer to one too many. Otherwise the header fields that the answer is to carry.
pub(super) async fn admit(
    vault: &Vault,
    mount: Option<&Mount>,
    record: &RequestRecord,
    incoming: &Incoming,
) -> Result<Vec<(&'static str, String)>, Outgoing> {
    let path = record.path.as_str();
    let place = mount.map_or("", |mount| mount.info.path.as_str());
    let role = match mount {
        Some(mount) if vault.quotas.knows_roles_of(place) => {
            role_of_login(mount, path, incoming).await
        }
        _ => None,
    };
    let client = incoming.connection.remote_address;
    match vault.quotas.take(path, place, role.as_deref(), client, record.time) {
        Verdict::Allowed(headers) => Ok(headers),
        Verdict::Refused { headers, is_audited } => {
            vault.metrics.rate_limited.add();
            let words = format!("request path {path:?}: rate limit quota exceeded");
            if is_audited {
                let response =
                    ResponseRecord { error: Some(words.clone()), ..ResponseRecord::default() };
                let written = match audit::request(vault, record).await {
                    Ok(()) => audit::response(vault, record, &response).await,
                    failed => failed,
                };
                if written.is_err() {
                    return Err(audit_failed(&record.id));
                }
            }
            let mut refused = Outgoing::errors(429, [words]);
            refused.headers = headers;
            Err(refused)
        }
    }
}

/// The role that a login asks for. One that cannot be told is as none: the mount's own rule holds.
async fn role_of_login(mount: &Mount, path: &str, incoming: &Incoming) -> Option<String> {
    let below = path.strip_prefix(mount.info.path.as_str())?;
    let is_login = incoming.verb == Verb::Write && is_among(&mount.special.unauthenticated, below);
    let Target::Backend(backend) = &mount.target else { return None };
    if !is_login {
        return None;
    }
    let role: Result<_, Error> = backend.login_role(&incoming.data).await;
    role.ok().flatten()
}

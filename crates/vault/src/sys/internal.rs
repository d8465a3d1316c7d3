//! `sys/internal/`: what clients ask before they ask for secrets, and what the server counts.

use std::collections::BTreeMap;

use holdfast_logical::{Error, Operation, RawBody, Response};
use holdfast_policy::{Capabilities, Capability};
use serde_json::{Map, Value, json};

use super::openapi::{Described, document};
use crate::core::acl::acl_of;
use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::mounts::{Mount, MountClass};

/// Answers a request to `sys/internal/`; `rest` is what follows.
pub(super) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    rest: &str,
) -> Result<Answer, Error> {
    let is_read = invocation.request.operation == Operation::Read;
    match rest {
        "ui/mounts" if is_read => Ok(mounts(vault, invocation).await?.into()),
        "ui/resultant-acl" if is_read => Ok(resultant_acl(vault, invocation).await?.into()),
        "ui/namespaces" if is_read => match &invocation.token {
            // There is one, the root, which is not listed.
            Some(_) => Ok(Response::data(json!({})).into()),
            None => Err(Error::invalid("client token empty")),
        },
        "specs/openapi" if is_read || invocation.request.operation.is_write() => {
            openapi(vault, invocation).await
        }
        "counters/requests" if is_read => Err(Error::Status {
            status: 404,
            message: "The functionality has been removed on this path".to_owned(),
        }),
        // Both look at all that there are: for an operator now and then, not for a monitor.
        "counters/tokens" if is_read => {
            let total = vault.tokens.accessors().await?.len();
            Ok(counters("service_tokens", total).into())
        }
        "counters/entities" if is_read => {
            let total = vault.identity.ids().await?.len();
            Ok(counters("entities", total).into())
        }
        "ui/mounts" | "ui/resultant-acl" | "ui/namespaces" | "specs/openapi"
        | "counters/requests" | "counters/tokens" | "counters/entities" => {
            Err(Error::UnsupportedOperation)
        }
        _ => match rest.strip_prefix("ui/mounts/") {
            Some(path) if is_read && !path.is_empty() => {
                Ok(preflight(vault, invocation, path).await?.into())
            }
            Some(path) if !path.is_empty() => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        },
    }
}

fn counters(name: &str, total: usize) -> Response {
    Response::data(json!({ "counters": { name: { "total": total } } }))
}

/// The API of the mounts that the caller can reach; without a token, of none.
async fn openapi(vault: &Vault, invocation: &Invocation) -> Result<Answer, Error> {
    let generic = invocation.request.fields().bool("generic_mount_paths")?.unwrap_or(false);
    let stamped = match &invocation.token {
        Some(token) => Some(acl_of(vault, token).await?),
        None => None,
    };
    let mounts = vault.mounts.all();
    let reached = mounts.iter().filter(|mount| {
        stamped.as_ref().is_some_and(|stamped| stamped.acl.reaches(&mount.info.path))
    });
    let described = reached.map(|mount| Described {
        prefix: &mount.info.path,
        tag: mount.tag(),
        routes: mount.routes(),
        special: &mount.special,
        generic: generic && !mount.entry.is_own(),
    });
    let mut body = document(described).to_string();
    body.push('\n');
    let raw = RawBody { content_type: "application/json".to_owned(), body: body.into_bytes() };
    Ok(Response { raw: Some(raw), ..Response::default() }.into())
}

/// All mounts that the caller has something to do with; without a token, those that are tuned to
/// be seen by all.
async fn mounts(vault: &Vault, invocation: &Invocation) -> Result<Response, Error> {
    let stamped = match &invocation.token {
        Some(token) => Some(acl_of(vault, token).await?),
        None => None,
    };
    let (mut auth, mut secret) = (Map::new(), Map::new());
    for mount in vault.mounts.all() {
        let row = match &stamped {
            Some(stamped) if stamped.acl.reaches(&mount.info.path) => mount.entry.to_wire(),
            Some(_) => continue,
            None if mount.entry.config.listing_visibility == "unauth" => json!({
                "description": mount.entry.description,
                "options": mount.entry.options,
                "type": mount.entry.kind,
            }),
            None => continue,
        };
        match mount.entry.class {
            MountClass::Auth => auth.insert(mount.entry.path.clone(), row),
            MountClass::Secret => secret.insert(mount.entry.path.clone(), row),
        };
    }
    Ok(Response::data(json!({ "auth": auth, "secret": secret })))
}

/// The mount that `path` belongs to. A mount that is not there, and one that the caller has
/// nothing to do with, are answered alike.
async fn preflight(vault: &Vault, invocation: &Invocation, path: &str) -> Result<Response, Error> {
    let Some(token) = &invocation.token else {
        return Err(Error::Status { status: 403, message: "permission denied".to_owned() });
    };
    let stamped = acl_of(vault, token).await?;
    let folder = format!("{}/", path.trim_end_matches('/'));
    let may_know = |mount: &Mount| stamped.acl.reaches(&mount.info.path);
    let Some(mount) = vault.mounts.route(&folder).filter(|mount| may_know(mount)) else {
        return Err(Error::Status {
            status: 403,
            message: format!(
                "preflight capability check returned 403, please ensure client's policies grant \
                 access to path \"{folder}\""
            ),
        });
    };
    let mut row = mount.entry.to_wire();
    row["path"] = json!(mount.entry.path);
    Ok(Response::data(row))
}

async fn resultant_acl(vault: &Vault, invocation: &Invocation) -> Result<Response, Error> {
    let token = invocation.token.as_ref().ok_or(Error::Denied)?;
    let stamped = acl_of(vault, token).await?;
    if stamped.acl.is_root() {
        return Ok(Response::data(json!({ "root": true })));
    }
    let mut rules: BTreeMap<String, Capabilities> = BTreeMap::new();
    for policy in &stamped.policies {
        for rule in policy.rules() {
            let held = rules.entry(rule.path.clone()).or_insert(Capabilities::NONE);
            *held = held.union(rule.capabilities);
        }
    }
    let (mut exact, mut glob) = (Map::new(), Map::new());
    for (path, capabilities) in rules {
        let shown = json!({ "capabilities": names(capabilities) });
        match path.strip_suffix('*') {
            Some(prefix) => glob.insert(prefix.to_owned(), shown),
            None => exact.insert(path, shown),
        };
    }
    Ok(Response::data(json!({ "exact_paths": exact, "glob_paths": glob, "root": false })))
}

fn names(capabilities: Capabilities) -> Value {
    if capabilities.contains(Capability::Deny) {
        return json!([Capability::Deny.as_str()]);
    }
    let mut names: Vec<_> = capabilities.iter().map(Capability::as_str).collect();
    names.sort_unstable();
    json!(names)
}

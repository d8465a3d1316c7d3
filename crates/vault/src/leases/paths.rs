//! The paths of `sys/leases`.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_logical::{Error, Operation, Response};
use holdfast_types::rfc3339;
use serde_json::{Value, json};
use tracing::warn;

use super::record::Stored;
use super::renew::renew_lease;
use super::revoke::{OnFailure, revoke_lease, revoke_prefix};
use crate::core::answer::{Answer, Chain};
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::tokens::params::seconds_until;

const TIDY_STARTED: &str = "Tidy operation successfully started. Any information from the \
                            operation will be printed to OpenBao's server logs.";
/// Irrevocable leases shown where the request names no limit.
const SHOWN: usize = 10_000;

/// Answers a request to `sys/leases/`. `path` is what follows it.
///
/// # Errors
/// OpenBao's for each path.
pub(crate) async fn handle(
    vault: &Arc<Vault>,
    invocation: &Invocation,
    path: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, List, Read, Update};
    let request = &invocation.request;
    let fields = request.fields();
    let (verb, rest) = path.split_once('/').unwrap_or((path, ""));
    let lease_id = || -> Result<String, Error> {
        let named = fields.string("lease_id")?.or(fields.string("url_lease_id")?);
        let id = named.filter(|id| !id.is_empty()).unwrap_or_else(|| rest.to_owned());
        if id.is_empty() {
            return Err(Error::invalid("lease_id must be specified"));
        }
        Ok(id)
    };
    let sync = || fields.bool("sync").map(|sync| sync.unwrap_or(true));
    match (verb, request.operation) {
        ("", Read) => Ok(irrevocable(vault, invocation).await?.into()),
        ("count", Read) if rest.is_empty() => Ok(count(vault, invocation).await?.into()),
        ("lookup", Create | Update) if rest.is_empty() => {
            Ok(lookup(vault, &lease_id()?).await?.into())
        }
        ("lookup", List) => {
            let prefix = folder(rest);
            let names = vault.leases.names(&prefix).await?;
            Ok(Response::list(names).into())
        }
        ("renew", Create | Update) => {
            let increment = fields.duration("increment").map_err(Error::field_validation)?;
            let increment = increment.unwrap_or_default();
            let renewed = renew_lease(vault, &lease_id()?, increment).await?;
            let response = Response { warnings: renewed.warnings, ..Response::default() };
            Ok(Answer { lease: Some(renewed.lease), ..response.into() })
        }
        ("revoke", Create | Update) => {
            let id = lease_id()?;
            if sync()? {
                let revoked = revoke_lease(vault, &id, OnFailure::Retry).await;
                revoked.map_err(|error| refused(&error))?;
                return Ok(Answer::none());
            }
            vault.leases.expire_any(vault, &id).await?;
            Ok(Response::default().status(202).into())
        }
        ("revoke-prefix", Create | Update) if !rest.is_empty() => {
            let prefix = folder(rest);
            if sync()? {
                let revoked = revoke_prefix(vault, &prefix, OnFailure::Retry).await;
                revoked.map_err(|error| refused(&error))?;
                return Ok(Answer::none());
            }
            for id in vault.leases.ids_below(&prefix).await? {
                vault.leases.expire_any(vault, &id).await?;
            }
            Ok(Response::default().status(202).into())
        }
        ("revoke-force", Create | Update) if !rest.is_empty() => {
            revoke_prefix(vault, &folder(rest), OnFailure::Forget).await?;
            Ok(Answer::none())
        }
        ("tidy", Create | Update) if rest.is_empty() => {
            let vault = vault.clone();
            tokio::spawn(async move {
                if let Err(error) = super::tidy(&vault).await {
                    warn!(error = %Chain(&error), "tidy leases");
                }
            });
            Ok(Response::default().warn(TIDY_STARTED).status(202).into())
        }
        ("", List) => Err(Error::UnsupportedPath),
        ("" | "count" | "lookup" | "renew" | "revoke" | "tidy", _) => {
            Err(Error::UnsupportedOperation)
        }
        ("revoke-prefix" | "revoke-force", _) if !rest.is_empty() => {
            Err(Error::UnsupportedOperation)
        }
        _ => Err(Error::UnsupportedPath),
    }
}

/// `path` with one `/` at its end; empty for the root of all leases.
fn folder(path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.is_empty() { String::new() } else { format!("{path}/") }
}

/// A backend's refusal to revoke, which the operator is to read.
fn refused(error: &Error) -> Error {
    match error {
        Error::Entry(_) | Error::Internal { .. } => {
            warn!(error = %Chain(error), "revoke a lease on request");
            Error::invalid("failed to revoke the lease: it is tried again, see the server's log")
        }
        other => Error::invalid(format!("failed to revoke the lease: {}", Chain(other))),
    }
}

async fn lookup(vault: &Vault, id: &str) -> Result<Response, Error> {
    let now = vault.clock.now();
    let path = id.rsplit_once('/').map_or("", |(path, _)| path);
    match vault.leases.read(id).await? {
        None => Err(Error::invalid("invalid lease")),
        Some(Stored::Secret(record)) => Ok(Response::data(json!({
            "expire_time": rfc3339(record.expires_at),
            "id": id,
            "issue_time": rfc3339(record.issued_at),
            "last_renewal": record.last_renewal.map(rfc3339),
            "path": path,
            "renewable": record.renewable,
            "ttl": seconds_until(record.expires_at, now),
        }))),
        Some(Stored::Token(hash)) => {
            let token = vault.tokens.by_hash(hash).await?;
            let token = token.ok_or_else(|| Error::invalid("invalid lease"))?;
            let entry = &token.entry;
            Ok(Response::data(json!({
                "expire_time": entry.expires_at.map(rfc3339),
                "id": id,
                "issue_time": rfc3339(entry.issued_at),
                "last_renewal": entry.last_renewal.map(rfc3339),
                "path": path,
                "renewable": entry.renewable,
                "ttl": entry.seconds_left(now),
            })))
        }
    }
}

/// Whether the request asks for irrevocable leases. Nothing else is counted or listed.
fn asks_for_irrevocable(invocation: &Invocation) -> Result<bool, Error> {
    let kind = invocation.request.fields().string("type")?;
    Ok(kind.as_deref() == Some("irrevocable"))
}

async fn count(vault: &Vault, invocation: &Invocation) -> Result<Option<Response>, Error> {
    if !asks_for_irrevocable(invocation)? {
        return Ok(None);
    }
    let given_up = vault.leases.given_up().await?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (id, _) in &given_up {
        let accessor = vault.mounts.of_lease(id).map(|(mount, _)| mount.info.accessor.clone());
        *counts.entry(accessor.unwrap_or_default()).or_default() += 1;
    }
    Ok(Some(Response::data(json!({ "counts": counts, "lease_count": given_up.len() }))))
}

async fn irrevocable(vault: &Vault, invocation: &Invocation) -> Result<Option<Response>, Error> {
    if !asks_for_irrevocable(invocation)? {
        return Ok(None);
    }
    let limit = match invocation.request.fields().string("limit")?.as_deref() {
        None | Some("") => SHOWN,
        Some("none") => usize::MAX,
        Some(text) => {
            text.parse().map_err(|_| Error::invalid("invalid 'limit' provided: not a number"))?
        }
    };
    let given_up = vault.leases.given_up().await?;
    let shown: Vec<Value> = given_up
        .iter()
        .take(limit)
        .map(|(id, error)| {
            let mount = vault.mounts.of_lease(id).map(|(mount, _)| mount.info.accessor.clone());
            json!({ "lease_id": id, "error": error, "mount_id": mount })
        })
        .collect();
    let mut response = Response::data(json!({ "lease_count": given_up.len(), "leases": shown }));
    if given_up.len() > limit {
        response = response.warn("not all irrevocable leases are shown: set 'limit'");
    }
    Ok(Some(response))
}

//! The policies of a token joined into one decision table, kept beside the token.

use std::sync::Arc;

use holdfast_logical::{Error, Operation};
use holdfast_policy::{Acl, Operation as PolicyOperation, Policy};
use holdfast_types::Timestamp;

use super::vault::Vault;
use crate::policies::Found;
use crate::tokens::Token;

/// An ACL, and the state of the policy and identity stores that it was compiled from.
pub(crate) struct StampedAcl {
    pub acl: Acl,
    /// What it was compiled from, templates filled in.
    pub policies: Vec<Arc<Policy>>,
    stamp: (u64, u64),
    /// When a policy, or a rule, ceases to hold. None: never.
    stale_at: Option<Timestamp>,
}

/// The ACL of `token`, compiled at most once per change of a policy or an entity.
///
/// # Errors
/// 403 where a policy does not parse, or a template's value would change what a rule means; else
/// the store's.
pub(crate) async fn acl_of(vault: &Vault, token: &Token) -> Result<Arc<StampedAcl>, Error> {
    // Read before the policies are: a change in between makes this stamp stale, not wrong.
    let stamp = (vault.policies.state(), vault.identity.state());
    let now = vault.clock.now();
    if let Some(kept) = &*token.acl.load()
        && kept.stamp == stamp
        && kept.stale_at.is_none_or(|at| at > now)
    {
        return Ok(kept.clone());
    }
    let mut found = Vec::with_capacity(token.entry.policies.len());
    for name in &token.entry.policies {
        found.extend(vault.policies.get(name, now)?);
    }
    let mut rendered = Vec::with_capacity(found.len());
    let mut who = None;
    let mut stale_at: Option<Timestamp> = None;
    for Found { policy, ends_at } in found {
        stale_at = stale_at.into_iter().chain(ends_at).min();
        if !policy.is_templated() {
            rendered.push(policy);
            continue;
        }
        if who.is_none() {
            who = Some(vault.identity.for_templates(&token.entry.entity_id).await?);
        }
        let identity = who.as_ref().ok_or(Error::Denied)?;
        rendered.push(policy.render(identity).map_err(|_| Error::Denied)?);
    }
    let acl = Acl::new(rendered.iter().cloned(), now);
    let stale_at = stale_at.into_iter().chain(acl.stale_at()).min();
    let stamped = Arc::new(StampedAcl { acl, policies: rendered, stamp, stale_at });
    token.acl.store(Some(stamped.clone()));
    Ok(stamped)
}

/// The operation in the words of policies.
pub(crate) fn policy_operation(operation: Operation) -> PolicyOperation {
    match operation {
        Operation::Read => PolicyOperation::Read,
        Operation::List => PolicyOperation::List,
        Operation::Scan => PolicyOperation::Scan,
        Operation::Create => PolicyOperation::Create,
        Operation::Update => PolicyOperation::Update,
        Operation::Patch => PolicyOperation::Patch,
        Operation::Delete => PolicyOperation::Delete,
        Operation::Help => PolicyOperation::Help,
    }
}

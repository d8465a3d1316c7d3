//! The policies of a token joined into one decision table, kept beside the token and shared by all
//! tokens that it is the same for.

use std::sync::Arc;

use holdfast_logical::{Error, Operation};
use holdfast_policy::{Acl, Operation as PolicyOperation, Policy, TemplateError};
use holdfast_types::Timestamp;

use super::vault::Vault;
use crate::identity::Who;
use crate::policies::{Found, PolicyVersion};
use crate::tokens::Token;

/// An ACL, and what it was compiled from.
pub(crate) struct StampedAcl {
    pub acl: Acl,
    /// The policies, templates filled in.
    pub policies: Vec<Arc<Policy>>,
    /// Which versions of them.
    pub versions: Vec<PolicyVersion>,
    /// The state of the policy store, and the look at the identity store.
    stamp: (u64, u64),
    /// When a policy, or a rule, ceases to hold. None: never.
    stale_at: Option<Timestamp>,
}

impl StampedAcl {
    fn holds(&self, stamp: (u64, u64), now: Timestamp) -> bool {
        self.stamp == stamp && self.stale_at.is_none_or(|at| at > now)
    }
}

/// ACLs by what they are compiled from: the token's own policies, and the entity that adds to them
/// and fills in their templates. A service that logs in a thousand times has one.
pub(crate) struct Acls(moka::sync::Cache<(Vec<String>, String), Arc<StampedAcl>>);

impl Default for Acls {
    fn default() -> Self {
        Self(moka::sync::Cache::new(1024))
    }
}

/// Why there is no ACL, so that the token may do nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AclError {
    /// A policy does not parse.
    #[error("a policy does not parse")]
    Unreadable(#[source] Error),
    /// A template's value would change what a rule means.
    #[error("error parsing templated policy {policy:?}: failed to parse policy: {source}")]
    Template {
        /// The policy's name.
        policy: String,
        /// The rule and the value.
        #[source]
        source: TemplateError,
    },
}

/// What a request of the token itself is answered.
impl From<AclError> for Error {
    fn from(failed: AclError) -> Self {
        match failed {
            AclError::Unreadable(error) => error,
            // Status and word are OpenBao's.
            AclError::Template { .. } => Self::invalid("Forbidden"),
        }
    }
}

/// The ACL of `token`, as requests of its own meet it.
///
/// # Errors
/// As [`acl_for`]; 403 where its entity is disabled or gone; the store's.
pub(crate) async fn acl_of(vault: &Vault, token: &Token) -> Result<Arc<StampedAcl>, Error> {
    let who = vault.identity.who(&token.entry.entity_id).await?;
    if !who.is_good() {
        return Err(Error::Denied);
    }
    Ok(acl_for(vault, token, &who)?)
}

/// The ACL of `token`, which acts for `who`: compiled at most once per change of a policy, or of
/// the entity and its groups.
///
/// # Errors
/// See [`AclError`].
pub(crate) fn acl_for(
    vault: &Vault,
    token: &Token,
    who: &Who,
) -> Result<Arc<StampedAcl>, AclError> {
    // Read before the policies are: a change in between makes this stamp stale, not wrong.
    let stamp = (vault.policies.state(), who.serial);
    let now = vault.clock.now();
    if let Some(kept) = &*token.acl.load()
        && kept.holds(stamp, now)
    {
        return Ok(kept.clone());
    }
    let shared_by = (token.entry.policies.clone(), token.entry.entity_id.clone());
    if let Some(shared) = vault.acls.0.get(&shared_by).filter(|shared| shared.holds(stamp, now)) {
        token.acl.store(Some(shared.clone()));
        return Ok(shared);
    }
    let names = who.with(&token.entry.policies);
    let mut found = Vec::with_capacity(names.len());
    for name in &names {
        found.extend(vault.policies.get(name, now).map_err(AclError::Unreadable)?);
    }
    let mut rendered = Vec::with_capacity(found.len());
    let mut identity = None;
    let mut stale_at: Option<Timestamp> = None;
    let mut versions = Vec::with_capacity(found.len());
    for Found { policy, ends_at, version } in found {
        versions.extend(version);
        stale_at = stale_at.into_iter().chain(ends_at).min();
        if !policy.is_templated() {
            rendered.push(policy);
            continue;
        }
        let identity = identity.get_or_insert_with(|| who.for_templates());
        rendered.push(
            policy.render(identity).map_err(|source| AclError::Template {
                policy: policy.name().to_owned(),
                source,
            })?,
        );
    }
    let acl = Acl::new(rendered.iter().cloned(), now);
    let stale_at = stale_at.into_iter().chain(acl.stale_at()).min();
    let stamped = Arc::new(StampedAcl { acl, policies: rendered, versions, stamp, stale_at });
    vault.acls.0.insert(shared_by, stamped.clone());
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

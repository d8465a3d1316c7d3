//! The policies' decision over a request, and whether a write creates or updates.

use std::sync::Arc;

use holdfast_logical::{Error, Operation, Request};
use holdfast_policy::{AccessRequest, Acl, Verdict};

use super::acl::policy_operation;
use super::vault::Vault;
use crate::mounts::{Mount, Target};
use crate::wire::Verb;

/// What a decision rests on.
pub(super) struct Access<'a> {
    pub vault: &'a Arc<Vault>,
    pub acl: &'a Acl,
    /// The full path.
    pub path: &'a str,
    /// Whether the path needs `sudo` as well.
    pub needs_sudo: bool,
}

/// The decision.
pub(super) struct Decided {
    pub allowed: bool,
    /// What the policies say, without regard to `sudo`.
    pub verdict: Verdict,
    pub sudo: bool,
    pub granting: Vec<String>,
    /// What the request's `limit` must be set to.
    pub limit: Option<u64>,
}

impl Access<'_> {
    /// Decides, and sets the request's operation to what it is.
    ///
    /// Whether a write creates is asked of the backend only where the caller may do one of the two:
    /// who may do neither cannot find out, not even by time, whether the target is there.
    ///
    /// # Errors
    /// The backend's, asked whether the target is there.
    pub(super) async fn decide(
        &self,
        mount: Option<&Mount>,
        request: &mut Request,
        verb: Verb,
    ) -> Result<Decided, Error> {
        let Some(mount) = mount.filter(|_| verb == Verb::Write) else {
            return Ok(self.check(request.operation, request));
        };
        let update = self.check(Operation::Update, request);
        let create = self.check(Operation::Create, request);
        if !update.allowed && !create.allowed {
            return Ok(update);
        }
        let exists = match &mount.target {
            Target::Backend(backend) => backend.exists(request).await?,
            Target::Token => crate::tokens::exists(self.vault, &request.path).await?,
            Target::Identity => crate::identity::exists(self.vault, &request.path).await?,
            Target::System => None,
        };
        if exists == Some(false) {
            request.operation = Operation::Create;
            return Ok(create);
        }
        Ok(update)
    }

    fn check(&self, operation: Operation, request: &Request) -> Decided {
        let decision = self.acl.check(&AccessRequest {
            operation: policy_operation(operation),
            path: self.path,
            data: Some(&request.data),
            wrap_ttl: request.wrap_ttl,
        });
        Decided {
            allowed: decision.allowed && (decision.sudo || !self.needs_sudo),
            verdict: decision.verdict,
            sudo: decision.sudo,
            granting: decision.granting.iter().map(ToString::to_string).collect(),
            limit: decision.limit,
        }
    }
}

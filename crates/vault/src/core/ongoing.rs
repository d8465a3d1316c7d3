//! Requests that go on after their answer: who asked may cease to be allowed to.

use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::Error;
use holdfast_policy::{AccessRequest, Operation};
use holdfast_types::SecretString;
use tracing::warn;

use super::acl::{StampedAcl, acl_of};
use super::answer::Chain;
use super::vault::Vault;
use crate::wire::Ended;

/// How often a token is looked at while nothing happens.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// There is nobody left to ask.
pub(crate) const SEALED: Ended = Ended { code: 1001, reason: "the server is sealed or stops" };
const TOKEN_ENDED: Ended = Ended { code: 1008, reason: "the token has ended, or may no more" };
const FAILED: Ended = Ended { code: 1011, reason: "internal error" };

/// What the token may do besides, as long as it may read `path`.
///
/// # Errors
/// It has ended, or may no more.
pub(crate) async fn may_still_read(
    vault: &Vault,
    token: &SecretString,
    path: &str,
) -> Result<Arc<StampedAcl>, Ended> {
    let failed = |error: Error| {
        // Whom it acts for was disabled or removed.
        if matches!(error, Error::Denied) {
            return TOKEN_ENDED;
        }
        warn!(error = %Chain(&error), "look after a request that goes on");
        FAILED
    };
    let token = vault.tokens.lookup(token.expose()).await;
    let token = token.map_err(|error| failed(error.into()))?.ok_or(TOKEN_ENDED)?;
    let acl = acl_of(vault, &token).await.map_err(failed)?;
    match acl.may_read(path) {
        true => Ok(acl),
        false => Err(TOKEN_ENDED),
    }
}

impl StampedAcl {
    /// Whether it lets `path` be read.
    pub(crate) fn may_read(&self, path: &str) -> bool {
        self.acl.check(&AccessRequest::new(Operation::Read, path)).allowed
    }
}

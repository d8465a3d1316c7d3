//! One reader of events: what it may know, and until when.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_logical::Error;
use holdfast_policy::{AccessRequest, Operation};
use holdfast_types::SecretString;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::warn;

use super::Published;
use crate::core::acl::{StampedAcl, acl_of};
use crate::core::answer::Chain;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::tokens::Token;
use crate::wire::{Ended, Messages};

/// How often a token is looked at while nothing happens.
const LOOK: Duration = Duration::from_secs(5);

/// A reader, as long as it may read.
struct Subscription {
    /// Sealing must not wait for readers.
    vault: Weak<Vault>,
    token: SecretString,
    /// The kinds that it wants, such as `kv-v2/*`.
    pattern: String,
    events: broadcast::Receiver<Arc<Published>>,
}

/// Answers `GET sys/events/subscribe/<pattern>`.
///
/// # Errors
/// The pattern is empty, a filter is asked for, or there are too many readers.
pub(crate) fn subscribe(
    vault: &Arc<Vault>,
    invocation: &Invocation,
    pattern: &str,
) -> Result<Box<dyn Messages>, Error> {
    if pattern.is_empty() {
        return Err(Error::invalid("did not specify eventType to subscribe to"));
    }
    let filter = invocation.request.data.get("filter").and_then(serde_json::Value::as_str);
    if filter.is_some_and(|filter| !filter.is_empty()) {
        return Err(Error::invalid(
            "filters are not supported: name the kinds of events in the path",
        ));
    }
    let Some(token) = invocation.secret.clone() else { return Err(Error::Denied) };
    let events = vault.events.listen().ok_or_else(|| Error::Status {
        status: 503,
        message: "too many subscriptions are open".to_owned(),
    })?;
    let vault = Arc::downgrade(vault);
    Ok(Box::new(Subscription { vault, token, pattern: pattern.to_owned(), events }))
}

const SEALED: Ended = Ended { code: 1001, reason: "the server is sealed or stops" };
const TOKEN_ENDED: Ended = Ended { code: 1008, reason: "the token has ended, or may no more" };
const BEHIND: Ended = Ended { code: 1013, reason: "too slow: read anew, then subscribe again" };
const FAILED: Ended = Ended { code: 1011, reason: "internal error" };

#[async_trait]
impl Messages for Subscription {
    async fn next(&mut self) -> Result<String, Ended> {
        loop {
            let event = match tokio::time::timeout(LOOK, self.events.recv()).await {
                Err(_) => {
                    self.may_listen().await?;
                    continue;
                }
                Ok(Err(RecvError::Closed)) => return Err(SEALED),
                Ok(Err(RecvError::Lagged(_))) => return Err(BEHIND),
                Ok(Ok(event)) => event,
            };
            if !matches(&self.pattern, event.kind) {
                continue;
            }
            if let Some(shows_lease) = self.may_read(&event).await? {
                return Ok(event.to_json(shows_lease).to_string());
            }
        }
    }
}

impl Subscription {
    /// Whether the token may be told of `event`, and then, whether of its lease's id: that is for
    /// the token that has the lease, and for whoever may list the leases there.
    ///
    /// # Errors
    /// It may no longer listen at all.
    async fn may_read(&self, event: &Published) -> Result<Option<bool>, Ended> {
        let (token, stamped) = self.may_listen().await?;
        let acl = &stamped.acl;
        if !acl.check(&AccessRequest::new(Operation::Read, &event.data_path)).allowed {
            return Ok(None);
        }
        let Some(lease) = &event.lease else { return Ok(Some(false)) };
        let leases = format!("sys/leases/lookup/{}/", event.data_path);
        let listing = acl.check(&AccessRequest::new(Operation::List, &leases));
        let is_own = lease.owner.is_some_and(|owner| owner == token.hash);
        Ok(Some(is_own || listing.allowed && listing.sudo))
    }

    /// The token and its rights.
    ///
    /// # Errors
    /// It may no longer listen at all.
    async fn may_listen(&self) -> Result<(Arc<Token>, Arc<StampedAcl>), Ended> {
        let vault = self.vault.upgrade().ok_or(SEALED)?;
        let failed = |error: Error| {
            if matches!(error, Error::Denied) {
                return TOKEN_ENDED;
            }
            warn!(error = %Chain(&error), "look after a subscription");
            FAILED
        };
        let token = vault.tokens.lookup(self.token.expose()).await;
        let token = token.map_err(|error| failed(error.into()))?.ok_or(TOKEN_ENDED)?;
        let acl = acl_of(&vault, &token).await.map_err(failed)?;
        let subscription = format!("sys/events/subscribe/{}", self.pattern);
        if !acl.acl.check(&AccessRequest::new(Operation::Read, &subscription)).allowed {
            return Err(TOKEN_ENDED);
        }
        Ok((token, acl))
    }
}

/// Whether a kind of event is what `pattern` asks for, in which a `*` stands for anything.
fn matches(pattern: &str, kind: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = kind.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_kinds() {
        for (pattern, kind, want) in [
            ("*", "kv-v2/data-write", true),
            ("kv-v2/*", "kv-v2/data-write", true),
            ("kv*", "kv-v1/write", true),
            ("*/data-*", "kv-v2/data-write", true),
            ("kv-v2/data-write", "kv-v2/data-write", true),
            ("kv-v2/data", "kv-v2/data-write", false),
            ("lease/*", "kv-v2/data-write", false),
            ("*write*write", "kv-v2/data-write", false),
            ("", "kv-v2/data-write", false),
        ] {
            assert_eq!(matches(pattern, kind), want, "{pattern} {kind}");
        }
    }
}

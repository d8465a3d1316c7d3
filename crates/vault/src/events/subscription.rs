//! One reader of events: what it may know, and until when.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use holdfast_logical::Error;
use holdfast_types::SecretString;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Published;
use crate::core::invocation::Invocation;
use crate::core::ongoing::{LOOK, SEALED, may_still_read};
use crate::core::vault::Vault;
use crate::wire::{Ended, Messages};

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

const BEHIND: Ended = Ended { code: 1013, reason: "too slow: read anew, then subscribe again" };

#[async_trait]
impl Messages for Subscription {
    async fn next(&mut self) -> Result<String, Ended> {
        loop {
            let event = match tokio::time::timeout(LOOK, self.events.recv()).await {
                Err(_) => {
                    self.may_read(None).await?;
                    continue;
                }
                Ok(Err(RecvError::Closed)) => return Err(SEALED),
                Ok(Err(RecvError::Lagged(_))) => return Err(BEHIND),
                Ok(Ok(event)) => event,
            };
            if matches(&self.pattern, event.kind) && self.may_read(Some(&event.data_path)).await? {
                return Ok(event.to_json().to_string());
            }
        }
    }
}

impl Subscription {
    /// Whether the token may read `path`.
    ///
    /// # Errors
    /// It may no longer listen at all.
    async fn may_read(&self, path: Option<&str>) -> Result<bool, Ended> {
        let vault = self.vault.upgrade().ok_or(SEALED)?;
        let own = format!("sys/events/subscribe/{}", self.pattern);
        let acl = may_still_read(&vault, &self.token, &own).await?;
        Ok(path.is_none_or(|path| acl.may_read(path)))
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

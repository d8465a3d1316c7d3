//! A request inside the core: what a backend sees, and what only the core's own paths may see.

use std::sync::Arc;

use holdfast_logical::{Caller, Request};
use holdfast_types::SecretString;

use crate::identity::Who;
use crate::tokens::Token;

/// A request that was authorised.
pub(crate) struct Invocation {
    pub request: Request,
    /// The token that asks, as it was before this request took a use off it.
    pub token: Option<Arc<Token>>,
    /// The token itself.
    pub secret: Option<SecretString>,
    /// Whether the caller has root privileges on this path.
    pub sudo: bool,
}

impl Invocation {
    /// The token itself, as text.
    pub(crate) fn token_text(&self) -> Option<&str> {
        self.secret.as_ref().map(|secret| secret.expose().as_str())
    }
}

/// The caller as backends see it.
pub(crate) fn caller(token: &Token, who: &Who) -> Caller {
    let entry = &token.entry;
    Caller {
        accessor: entry.accessor.clone(),
        token_hash: token.hash.to_string(),
        display_name: entry.display_name.clone(),
        policies: who.with(&entry.policies),
        entity_id: entry.entity_id.clone(),
        metadata: entry.meta.clone(),
        is_root: entry.is_root(),
        kind: entry.kind,
        expires_at: entry.expires_at,
    }
}

//! What an issuer says of itself: its discovery document and its keys.

use holdfast_client::fetch::{FetchError, Fetcher};
use holdfast_keys::KeyError;
use serde::Deserialize;

/// Why an issuer's documents could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("failed to decode OIDC discovery document")]
    Discovery,
    #[error("issuer did not match the returned issuer, expected {expected:?} got {got:?}")]
    Issuer { expected: String, got: String },
    #[error("the last attempt failed a moment ago")]
    AMomentAgo,
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// An issuer's discovery document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Discovery {
    issuer: String,
    pub(super) jwks_uri: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) userinfo_endpoint: String,
}

impl Discovery {
    /// The discovery document of an issuer, which must name itself in it.
    pub(super) async fn fetch(fetcher: &Fetcher, issuer: &str) -> Result<Self, IssuerError> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let document = fetcher.get(&format!("{base}/.well-known/openid-configuration")).await?;
        let document: Self =
            serde_json::from_slice(&document).map_err(|_| IssuerError::Discovery)?;
        if document.issuer != issuer {
            let (expected, got) = (issuer.to_owned(), document.issuer);
            return Err(IssuerError::Issuer { expected, got });
        }
        Ok(document)
    }
}

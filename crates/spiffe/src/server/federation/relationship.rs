//! Where another trust domain's bundle is, and how its endpoint is known.

use holdfast_types::{SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize};

const MAX_URL: usize = 2048;

/// A trust domain whose bundle is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relationship {
    /// Whose bundle it is.
    pub trust_domain: TrustDomain,
    /// Where it is: `https`, without user and password.
    pub endpoint_url: String,
    /// How the endpoint is known.
    pub profile: Profile,
}

/// How a bundle endpoint is known.
///
/// Source: SPIFFE Federation, sections 5.2.1 and 5.2.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// By its name, as browsers know web sites.
    HttpsWeb,
    /// By its X.509-SVID, which has to be verified by the bundle that is known already.
    HttpsSpiffe {
        /// Who it is.
        endpoint_spiffe_id: SpiffeId,
    },
}

/// What is wrong with a relationship.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRelationship {
    /// Not a URL.
    #[error("the bundle endpoint's URL {0:?} is not valid")]
    Url(String),
    /// Anything else would be believed without knowing whose word it is.
    #[error("the bundle endpoint's URL has to begin with https://")]
    Scheme,
    /// Secrets have no place in it.
    #[error("the bundle endpoint's URL holds a user or a password")]
    User,
    /// The ID is the trust domain itself.
    #[error("the endpoint's SPIFFE ID {0} has no path")]
    Id(SpiffeId),
}

impl Relationship {
    /// Sees whether it can be fetched from.
    ///
    /// # Errors
    /// See [`InvalidRelationship`].
    pub fn check(&self) -> Result<(), InvalidRelationship> {
        let invalid = || InvalidRelationship::Url(self.endpoint_url.clone());
        if self.endpoint_url.len() > MAX_URL {
            return Err(invalid());
        }
        let url: http::Uri = self.endpoint_url.parse().map_err(|_| invalid())?;
        let authority = url.authority().ok_or_else(invalid)?;
        if url.scheme() != Some(&http::uri::Scheme::HTTPS) {
            return Err(InvalidRelationship::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(InvalidRelationship::User);
        }
        match &self.profile {
            Profile::HttpsSpiffe { endpoint_spiffe_id: id } if id.path().is_empty() => {
                Err(InvalidRelationship::Id(id.clone()))
            }
            _ => Ok(()),
        }
    }
}

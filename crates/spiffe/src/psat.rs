//! Tokens of service accounts: what both sides of the attestor `k8s_psat` must agree on.

use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};

pub(crate) use holdfast_client::kubernetes::{LARGEST_TOKEN, token_in};

/// The attestor's name, as SPIRE's.
pub(crate) const NAME: &str = "k8s_psat";

/// What the agent shows: SPIRE's shape.
#[derive(Deserialize, Serialize)]
pub(crate) struct Payload {
    /// What the server calls the cluster.
    pub(crate) cluster: String,
    /// Signed by the cluster.
    pub(crate) token: SecretString,
}

/// The same as it goes over the wire.
pub(crate) fn payload(cluster: &str, token: &SecretString) -> Vec<u8> {
    let payload = Payload { cluster: cluster.to_owned(), token: token.clone() };
    // Two strings are always JSON.
    serde_json::to_vec(&payload).unwrap_or_default()
}

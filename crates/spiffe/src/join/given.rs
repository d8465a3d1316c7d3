//! What an operator gave an agent, as the agent remembers it: something new is meant to be used.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::Proof;

/// SHA-256 of what was given, in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    bundle: String,
    /// None: nothing, or what changes by itself.
    proof: Option<String>,
}

impl Given {
    pub(super) fn of(bundle: &[Vec<u8>], proof: Option<&Proof>) -> Self {
        let proof = proof.and_then(|proof| match proof {
            Proof::Token(token) => Some(hash(token.expose().as_bytes())),
            Proof::Certificate(chain, _) => Some(hash(&chain.concat())),
            Proof::ServiceAccount { .. } => None,
        });
        Self { bundle: hash(&bundle.concat()), proof }
    }

    /// Whether this is another bundle than the one that was given `before`.
    pub(super) fn has_new_bundle(&self, before: &Self) -> bool {
        self.bundle != before.bundle
    }

    /// Whether there is anything to join with that was not given `before`.
    pub(super) fn has_new_proof(&self, before: &Self) -> bool {
        self.proof.is_some() && self.proof != before.proof
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

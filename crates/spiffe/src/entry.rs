//! Who is who: the entries of a trust domain.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use holdfast_types::{SpiffeId, Timestamp, TrustDomain};
use serde::{Deserialize, Serialize};

/// A fact about a workload or a node, as an attestor sees it: `unix:uid:1000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// The attestor, such as `unix`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it saw, such as `uid:1000`.
    pub value: String,
}

/// What the platform knows of its own processes is of this kind.
const OWN_KIND: &str = "holdfast";
const PART: &str = "part:";

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("selector {0:?} is not of the form type:value")]
pub struct SelectorError(pub String);

impl Selector {
    /// A selector of its two halves.
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        Self { kind: kind.into(), value: value.into() }
    }

    /// Parses `type:value`; the value may hold colons.
    ///
    /// # Errors
    /// A half is missing, or the text is longer than 4 KiB.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        match text.split_once(':') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() && text.len() <= 4096 => {
                Ok(Self::new(kind, value))
            }
            _ => Err(SelectorError(text.chars().take(128).collect())),
        }
    }

    /// The selector of a part of the platform, which no agent ever sees: only the supervisor has
    /// entries with it signed for.
    pub fn of_part(name: &str) -> Self {
        Self::new(OWN_KIND, format!("{PART}{name}"))
    }

    /// The selector of a service of the platform, whose processes the supervisor introduces.
    pub fn of_service(name: &str) -> Self {
        Self::new(OWN_KIND, format!("service:{name}"))
    }

    fn is_of_part(&self) -> bool {
        self.kind == OWN_KIND && self.value.starts_with(PART)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

/// One identity and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its own name, which no other entry has.
    pub id: String,
    /// The identity that is given out.
    pub spiffe_id: SpiffeId,
    /// Who may serve it: an agent, an alias of agents, or another entry's identity.
    pub parent: SpiffeId,
    /// What must be seen, all of it.
    pub selectors: BTreeSet<Selector>,
    /// Life of X.509-SVIDs; none for the server's default.
    pub x509_ttl: Option<Duration>,
    /// Life of JWT-SVIDs; none for the server's default.
    pub jwt_ttl: Option<Duration>,
    /// DNS names in X.509-SVIDs, the first one as their common name, too.
    pub dns_names: Vec<String>,
    /// Addresses in X.509-SVIDs, for clients who dial those.
    #[serde(default)]
    pub ip_addresses: Vec<IpAddr>,
    /// What tells a workload its identities apart; empty for none.
    pub hint: String,
    /// Whose bundles the workload gets besides its own trust domain's.
    pub federates_with: BTreeSet<TrustDomain>,
    /// When it was made: the oldest of a workload's identities is its default.
    pub created: Timestamp,
    /// Counts its changes.
    pub revision: u64,
    /// The rule and the file that made it; empty where an operator did.
    pub origin: String,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
}

impl Entry {
    /// Sorts entries by age; those of one moment by their ids.
    pub(crate) fn age(&self) -> (Timestamp, &str) {
        (self.created, &self.id)
    }

    /// Whether it is for whoever shows `seen`: every selector of the entry is among them. An entry
    /// without selectors is for nobody.
    pub fn matches(&self, seen: &BTreeSet<Selector>) -> bool {
        self.is_for_workloads() && self.selectors.is_subset(seen)
    }

    /// Whether there can be a workload that it is for: an entry without selectors, or of a part of
    /// the platform, is for none.
    pub(crate) fn is_for_workloads(&self) -> bool {
        !self.selectors.is_empty() && !self.selectors.iter().any(Selector::is_of_part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_a_type_and_a_value() {
        for (text, want) in [
            ("unix:uid:1000", Some(("unix", "uid:1000"))),
            ("k8s:ns:a", Some(("k8s", "ns:a"))),
            ("unix", None),
            (":uid", None),
            ("unix:", None),
            ("", None),
        ] {
            let want = want.map(|(kind, value)| Selector::new(kind, value));
            let got = Selector::parse(text).ok();
            assert_eq!(got, want, "{text}");
            if let Some(got) = got {
                assert_eq!(got.to_string(), text);
            }
        }
    }
}

//! A denial as it happened: what is at hand then, and nothing that takes work.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::Operation;
use holdfast_policy::Verdict;
use holdfast_types::Timestamp;
use ipnet::IpNet;

use super::cut;
use crate::core::acl::StampedAcl;
use crate::tokens::{TokenEntry, TokenHash};

/// Parameters whose names are kept.
const PARAMETERS: usize = 32;
/// The longest text of any kind that is kept, in bytes.
const TEXT: usize = 1024;

/// What refused the request.
pub(crate) enum Why {
    /// It carried no token.
    NoToken,
    /// Its token is not valid. How it ended is found out later: a token that was valid once must
    /// not take another time than one that never was.
    BadToken(TokenHash),
    /// The same, of a token that is stored nowhere and carries what is known of it.
    BadBatchToken(Box<TokenEntry>),
    /// Its token has no uses left.
    UsedUp,
    /// Its token must not be used from there.
    Elsewhere(Vec<IpNet>),
    /// The policies say no.
    Policies(Box<Judgement>),
    /// The policies cannot be read, or a template in them would change what they mean: this is how.
    Unreadable(String),
    /// Its entity is disabled, or was removed.
    Entity,
    /// What the path belongs to said no, with what operators may know of it.
    Backend { said: String, reason: Option<(String, String)> },
}

/// The policies' decision.
pub(crate) struct Judgement {
    pub acl: Arc<StampedAcl>,
    pub verdict: Verdict,
    pub needs_sudo: bool,
    /// The names of the parameters that the deciding rule concerns.
    pub parameters: Vec<String>,
}

impl Judgement {
    pub(crate) fn new(
        acl: Arc<StampedAcl>,
        verdict: Verdict,
        needs_sudo: bool,
        parameters: &[String],
    ) -> Self {
        let parameters = parameters.iter().take(PARAMETERS).map(|name| cut(name, 64)).collect();
        Self { acl, verdict, needs_sudo, parameters }
    }
}

/// The caller, as far as it is known.
#[derive(Default)]
pub(crate) struct Who {
    pub accessor: String,
    pub display_name: String,
    pub entity_id: String,
    pub metadata: BTreeMap<String, String>,
    pub policies: Vec<String>,
    pub token_type: String,
}

/// A denial that waits to be explained.
pub(crate) struct Pending {
    pub at: Timestamp,
    pub who: Who,
    pub operation: Operation,
    /// Without tokens that stood in it.
    pub path: String,
    /// Whether one did.
    pub masked: bool,
    pub mount_kind: String,
    pub mount_path: String,
    pub kv_version_2: bool,
    pub remote_address: Option<IpAddr>,
    pub wrap_ttl: Option<Duration>,
    pub status: u16,
    pub why: Why,
}

impl Pending {
    /// Whose denials it is counted with: those of a token, or of nobody.
    pub(super) fn bucket(&self) -> Arc<str> {
        match (&self.why, self.who.accessor.as_str()) {
            (Why::NoToken | Why::BadToken(_) | Why::BadBatchToken(_), _) => "".into(),
            // A batch token has no accessor.
            (_, "") if !self.who.display_name.is_empty() => {
                cut(&format!("batch {}", self.who.display_name), 128).into()
            }
            (_, accessor) => accessor.into(),
        }
    }
}

/// `path` without what is, or may be, a token in it, and whether there was one.
pub(crate) fn mask(path: &str, own: Option<&str>) -> (String, bool) {
    const HIDDEN: &str = "***";
    const PREFIXES: [&str; 5] = ["hvs.", "hvb.", "hvr.", "s.", "b."];
    const NAMED_BY_TOKEN: [&str; 5] = [
        "auth/token/lookup/",
        "auth/token/renew/",
        "auth/token/revoke/",
        "auth/token/revoke-orphan/",
        "sys/wrapping/lookup/",
    ];
    let mut masked = false;
    let by_token = NAMED_BY_TOKEN.iter().find(|prefix| path.starts_with(**prefix));
    let start = by_token.map_or(0, |prefix| prefix.len());
    let (head, tail) = path.split_at(start);
    let segments: Vec<&str> = tail
        .split('/')
        .map(|segment| {
            let looks = segment.len() >= 20 && PREFIXES.iter().any(|p| segment.starts_with(p));
            let hidden = !segment.is_empty()
                && (looks || start > 0 || own.is_some_and(|own| segment == own));
            masked |= hidden;
            if hidden { HIDDEN } else { segment }
        })
        .collect();
    (cut(&format!("{head}{}", segments.join("/")), TEXT), masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_paths_are_masked() {
        let token = "s.0123456789abcdefghijABCD";
        for (path, want) in [
            ("kv/data/app", "kv/data/app"),
            ("auth/token/lookup/root", "auth/token/lookup/***"),
            ("auth/token/lookup-self", "auth/token/lookup-self"),
            ("kv/data/s.short", "kv/data/s.short"),
            ("kv/data/own-token/x", "kv/data/***/x"),
            (&format!("kv/{token}/x"), "kv/***/x"),
            (&format!("auth/token/revoke/{token}"), "auth/token/revoke/***"),
        ] {
            let (masked, found) = mask(path, Some("own-token"));
            assert_eq!((masked.as_str(), found), (want, path != want), "{path}");
        }
        assert!(mask(&"é".repeat(5000), None).0.len() <= TEXT + 4);
    }
}

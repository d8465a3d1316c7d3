//! What is known of a token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use holdfast_logical::{EntityAlias, TokenKind, TokenParams};
use holdfast_types::{Clock, Timestamp};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hash::TokenHash;
use super::params::seconds_until;
use crate::core::acl::StampedAcl;

/// Of a service token the stored entry; of a batch token what it carries itself.
///
/// What is not set is not written: an entry of more than some 900 bytes takes SQLite a page more,
/// and with it every login.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenEntry {
    /// Names the token without being it. Empty for a batch token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub accessor: String,
    /// The token that made it and with which it dies. None: an orphan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TokenHash>,
    /// `Service` or `Batch`.
    pub kind: TokenKind,
    /// Sorted, without repeats.
    pub policies: Vec<String>,
    /// The request that made it: `auth/approle/login`.
    pub path: String,
    /// `token-ci`, `approle`.
    pub display_name: String,
    /// What its maker noted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// The entity it acts for, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entity_id: String,
    /// How often it can still be used. None: without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends. None: never, as only root tokens do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Its life at issue.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub creation_ttl: Duration,
    /// Its life at issue or at the last renewal: what a renewal without increment gives again.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub ttl: Duration,
    /// Each renewal gives this much, without end. Zero: not periodic.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub period: Duration,
    /// No renewal goes past this. Zero: the mount's limit holds.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub explicit_max_ttl: Duration,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// When it last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renewal: Option<Timestamp>,
    /// Where it can be used from; empty: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound_cidrs: Vec<IpNet>,
    /// The token role that shaped it, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// For tokens of a login: what renewing needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Box<Login>>,
    /// Revoked, but what hangs on it is not yet cleared away. No longer valid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doomed: bool,
}

/// What a login method is asked with when its token is renewed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// As the method gave them.
    pub params: TokenParams,
    /// As the method gave it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub internal: Value,
    /// As the method gave it, without the mount's part.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Who logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<EntityAlias>,
    /// The groups that the method found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl TokenEntry {
    /// Whether it carries the `root` policy.
    pub(crate) fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    /// Whether it can be used at `now`.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        !self.doomed && self.expires_at.is_none_or(|end| end > now) && self.uses != Some(0)
    }

    /// The whole seconds that are left at `now`.
    pub(crate) fn seconds_left(&self, now: Timestamp) -> u64 {
        self.expires_at.map_or(0, |end| seconds_until(end, now))
    }

    /// The id of the lease that stands for the token in `sys/leases`.
    pub(crate) fn lease_id(&self, hash: TokenHash) -> String {
        format!("{}/h{hash}", self.path)
    }
}

/// The entry of a root token, which never ends.
pub(crate) fn root_entry(now: Timestamp) -> TokenEntry {
    TokenEntry {
        accessor: String::new(),
        parent: None,
        kind: TokenKind::Service,
        policies: vec!["root".to_owned()],
        path: "auth/token/root".to_owned(),
        display_name: "root".to_owned(),
        meta: Default::default(),
        entity_id: String::new(),
        uses: None,
        issued_at: now,
        expires_at: None,
        creation_ttl: Duration::ZERO,
        ttl: Duration::ZERO,
        period: Duration::ZERO,
        explicit_max_ttl: Duration::ZERO,
        renewable: false,
        last_renewal: None,
        bound_cidrs: Vec::new(),
        role: String::new(),
        login: None,
        doomed: false,
    }
}

/// A live token that was looked up, with what is computed for it once and kept beside it.
pub(crate) struct Token {
    pub hash: TokenHash,
    pub entry: TokenEntry,
    /// Its policies joined, with the state of the policy store that they were joined at.
    pub acl: ArcSwapOption<StampedAcl>,
}

impl Token {
    pub(crate) fn new(hash: TokenHash, entry: TokenEntry) -> Arc<Self> {
        Arc::new(Self { hash, entry, acl: ArcSwapOption::empty() })
    }

    pub(crate) fn is_live(&self, clock: &dyn Clock) -> bool {
        self.entry.is_live(clock.now())
    }
}

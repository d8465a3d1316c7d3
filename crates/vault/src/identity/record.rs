//! What is stored of entities and groups.

use std::collections::BTreeMap;

use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

/// `name` to a text.
pub(super) type Metadata = BTreeMap<String, String>;

/// An entity as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntityRecord {
    pub id: String,
    pub name: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    /// At most one of each mount.
    pub aliases: Vec<AliasRecord>,
    /// In lower case, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Its tokens are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Entities that were merged into it, whose tokens are its own now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
}

/// One of an entity's names, or a group's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    pub id: String,
    pub mount_accessor: String,
    /// As it was first given; compared without regard to case.
    pub name: String,
    /// As the last login gave it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    /// As operators gave it. None: the alias was made by a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_metadata: Option<Metadata>,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// The mount is one that is not replicated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
    /// The entities that had it before they were merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
}

impl AliasRecord {
    /// Whether it is what a login as `name` at that mount goes by.
    pub(super) fn is(&self, mount_accessor: &str, name: &str) -> bool {
        self.mount_accessor == mount_accessor && folded(&self.name) == folded(name)
    }
}

/// Who is put into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GroupKind {
    /// Operators do.
    Internal,
    /// Logins do, by the groups that a login method finds.
    External,
}

impl GroupKind {
    /// The name on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }
}

/// A group as stored. Its members are keys of their own, so that a login that joins a large group
/// does not write it anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub id: String,
    pub name: String,
    pub kind: GroupKind,
    pub created: Timestamp,
    pub updated: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    /// In lower case, sorted. None: never set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<String>>,
    /// The groups that it is a member of. None: never in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parents: Option<Vec<String>>,
    /// Whether it ever had a list of members: shown as `[]` then, and not as `null`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub had_members: bool,
    /// The name by which a login method knows it; of external groups only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<AliasRecord>,
    /// Grows with each change.
    pub modify_index: u64,
}

impl GroupRecord {
    pub(super) fn parents(&self) -> &[String] {
        self.parents.as_deref().unwrap_or_default()
    }

    pub(super) fn policies(&self) -> &[String] {
        self.policies.as_deref().unwrap_or_default()
    }
}

/// A name as it is compared: without regard to case, as OpenBao does.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}

//! What a rule permits, and what a request needs.

use std::fmt;

/// One capability of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Writing what is not there yet.
    Create,
    /// Deleting.
    Delete,
    /// Nothing at all, whatever else is granted on the same pattern.
    Deny,
    /// Listing one level.
    List,
    /// Changing a part of what is there.
    Patch,
    /// Reading.
    Read,
    /// Listing at any depth.
    Scan,
    /// Root privileges, for the paths that need them. Permits nothing by itself.
    Sudo,
    /// Changing what is there.
    Update,
}

impl Capability {
    /// All of them, in alphabetical order, as `sys/capabilities` lists them.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Delete,
        Self::Deny,
        Self::List,
        Self::Patch,
        Self::Read,
        Self::Scan,
        Self::Sudo,
        Self::Update,
    ];

    /// The name in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Sudo => "sudo",
            Self::Read => "read",
            Self::List => "list",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Scan => "scan",
        }
    }

    /// The capability of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name)
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Whether `capability` is in it.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & Self::bit(capability) != 0
    }

    /// The same with `capability`.
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | Self::bit(capability))
    }

    /// All that are in either.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in it, in alphabetical order, as `sys/capabilities` lists them.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.contains(*capability))
    }

    fn bit(capability: Capability) -> u16 {
        1 << capability as u16
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Capability::as_str)).finish()
    }
}

/// What a request wants to do. Renewals and revocations count as updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reading.
    Read,
    /// Listing one level.
    List,
    /// Listing at any depth.
    Scan,
    /// Writing what is not there yet.
    Create,
    /// Changing what is there.
    Update,
    /// Changing a part of what is there.
    Patch,
    /// Deleting.
    Delete,
    /// Reading a path's documentation, which everybody may.
    Help,
}

impl Operation {
    /// The capability that it needs; none for help.
    pub fn needs(self) -> Option<Capability> {
        match self {
            Self::Read => Some(Capability::Read),
            Self::List => Some(Capability::List),
            Self::Scan => Some(Capability::Scan),
            Self::Create => Some(Capability::Create),
            Self::Update => Some(Capability::Update),
            Self::Patch => Some(Capability::Patch),
            Self::Delete => Some(Capability::Delete),
            Self::Help => None,
        }
    }

    /// Whether it lists: its path then names a folder, with or without the trailing slash.
    pub fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Scan)
    }
}

//! Where the bytes of an output came from.

use std::collections::BTreeSet;
use std::sync::Arc;

/// One field of one version of one secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The path as the template asked for it, such as `secret/data/web`; for other sources their
    /// name and argument, such as `env:HOME` or `file:/etc/motd`.
    pub path: Arc<str>,
    /// The version: KV version 2's number, the lease's id, or empty where there is none.
    pub version: Arc<str>,
    /// The field within the secret, such as `data.password`; a list's items by number.
    pub field: Arc<str>,
}

/// A set of origins: of a value that was made from several fields, all of them.
///
/// Most values have none or one, and share it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Option<Arc<BTreeSet<Origin>>>);

impl Origins {
    /// Of text that comes from no secret.
    pub const NONE: Self = Self(None);

    /// The set of one.
    pub fn one(origin: Origin) -> Self {
        Self(Some(Arc::new(BTreeSet::from([origin]))))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The origins, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter().flat_map(|set| set.iter())
    }

    /// Adds the origins of `other`.
    pub fn extend(&mut self, other: &Self) {
        let Some(theirs) = &other.0 else { return };
        match &mut self.0 {
            None => self.0 = Some(theirs.clone()),
            Some(ours) if Arc::ptr_eq(ours, theirs) || theirs.is_subset(ours) => {}
            Some(ours) => Arc::make_mut(ours).extend(theirs.iter().cloned()),
        }
    }
}

//! Which versions have run on this store, and since when.
//!
//! `core/versions` holds the list, oldest first.

use holdfast_barrier::{EntryError, View};
use holdfast_types::Timestamp;

use crate::front::VERSION;

const KEY: &str = "core/versions";
/// Kept at most: the newest ones.
const MOST: usize = 256;

/// The list.
pub(crate) struct Versions(View);

impl Versions {
    /// Notes that this version runs, where it is not the last one that did.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn load(root: &View, now: Timestamp) -> Result<Self, EntryError> {
        let versions = Self(root.clone());
        let mut list = versions.all().await?;
        if list.last().is_none_or(|(version, _)| version != VERSION) {
            list.retain(|(version, _)| version != VERSION);
            list.push((VERSION.to_owned(), now));
            let from = list.len().saturating_sub(MOST);
            root.put_json(KEY, &list[from..].to_vec()).await?;
        }
        Ok(versions)
    }

    /// Each version and when it first ran, oldest first.
    pub(crate) async fn all(&self) -> Result<Vec<(String, Timestamp)>, EntryError> {
        Ok(self.0.get_json(KEY).await?.unwrap_or_default())
    }
}

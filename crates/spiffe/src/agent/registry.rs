//! Which identities a workload gets.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

use crate::{Entry, Selector, Snapshot};

/// What the server said last, ready to be asked.
#[derive(Debug)]
pub(super) struct Registry {
    /// What the server said.
    pub(super) snapshot: Arc<Snapshot>,
    /// The entries that each selector leads to: of an entry's selectors the one that the fewest
    /// entries have, so that a hundred thousand entries for one user cost nobody else anything.
    index: HashMap<Selector, Vec<usize>>,
    /// Whether any entry asks for a program's hash, which takes reading the program.
    wants_hash: bool,
}

impl Registry {
    /// Makes a snapshot ready.
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        let mut frequency: HashMap<&Selector, usize> = HashMap::new();
        for selector in snapshot.entries.iter().flat_map(|entry| &entry.selectors) {
            *frequency.entry(selector).or_default() += 1;
        }
        let wants_hash = frequency
            .keys()
            .any(|selector| selector.kind == "unix" && selector.value.starts_with("sha256:"));
        let mut index: HashMap<Selector, Vec<usize>> = HashMap::new();
        for (place, entry) in snapshot.entries.iter().enumerate() {
            let rarest = entry.selectors.iter().min_by_key(|selector| frequency[selector]);
            // An entry without selectors is for nobody.
            if let Some(rarest) = rarest {
                index.entry(rarest.clone()).or_default().push(place);
            }
        }
        drop(frequency);
        Self { snapshot, index, wants_hash }
    }

    /// The entries for a workload that shows these selectors, the oldest first.
    pub(super) fn matching(&self, seen: &BTreeSet<Selector>) -> Vec<Arc<Entry>> {
        let candidates = seen.iter().filter_map(|selector| self.index.get(selector)).flatten();
        let mut places: Vec<usize> = candidates
            .copied()
            .filter(|place| self.snapshot.entries[*place].matches(seen))
            .collect();
        places.sort_unstable();
        places.into_iter().map(|place| self.snapshot.entries[place].clone()).collect()
    }

    /// Whether a look at a process should include its program's hash.
    pub(super) fn wants_hash(&self) -> bool {
        self.wants_hash
    }
}

/// Keeps a registry of what `snapshots` says, until that ends.
pub(super) async fn follow(
    mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    registry: watch::Sender<Option<Arc<Registry>>>,
) {
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if let Some(snapshot) = snapshot {
            // A hundred thousand entries take a while.
            let made = tokio::task::spawn_blocking(move || Registry::new(snapshot)).await;
            if let Ok(made) = made {
                registry.send_replace(Some(Arc::new(made)));
            }
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::testing;

    #[test]
    fn an_entry_is_for_whoever_shows_all_of_its_selectors() {
        let entries = [
            ("old", "/a", &["unix:uid:1", "unix:path:/x"][..]),
            ("none", "/b", &[]),
            ("new", "/c", &["unix:uid:1"]),
            ("other", "/d", &["unix:uid:2"]),
        ];
        let registry = Registry::new(testing::snapshot(&entries));
        for (seen, want) in [
            (&["unix:uid:1", "unix:gid:5", "unix:path:/x"][..], &["old", "new"][..]),
            (&["unix:uid:1"], &["new"]),
            (&["unix:path:/x"], &[]),
            (&[], &[]),
        ] {
            let seen = seen.iter().map(|text| Selector::parse(text).unwrap()).collect();
            let got = registry.matching(&seen);
            let got: Vec<_> = got.iter().map(|entry| entry.id.as_str()).collect();
            assert_eq!(got, want, "{seen:?}");
        }
        assert!(!registry.wants_hash());
    }
}

//! Refusals, kept so that an operator can ask for their reasons.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use holdfast_types::{Random, Timestamp};

use super::attest::Attested;
use super::registry::Registry;
use crate::{Entry, Selector};

/// So many of the last refusals are kept.
const KEPT: usize = 256;
/// So many of the nearest entries are told.
const NEAREST: usize = 3;

/// One refusal.
#[derive(Debug, Clone)]
pub(super) struct Denial {
    /// What the refused was told.
    pub(super) id: String,
    /// When.
    pub(super) at: Timestamp,
    /// The process, by its number then.
    pub(super) pid: i32,
    /// Its program.
    pub(super) executable: PathBuf,
    /// What was seen of it.
    pub(super) selectors: BTreeSet<Selector>,
    /// What could not be seen.
    pub(super) gaps: Vec<String>,
}

/// The last refusals.
pub(super) struct Denials {
    random: std::sync::Arc<dyn Random>,
    kept: Mutex<VecDeque<Denial>>,
}

impl Denials {
    pub(super) fn new(random: std::sync::Arc<dyn Random>) -> Self {
        Self { random, kept: Mutex::default() }
    }

    /// Notes a refusal, and returns its id. A process that is refused over and over, with the same
    /// facts, keeps the id that it has.
    pub(super) fn note(&self, attested: &Attested, at: Timestamp) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&mut Denial| {
            known.pid == attested.pid && known.selectors == attested.selectors
        };
        if let Some(known) = kept.iter_mut().find(same) {
            known.at = at;
            return known.id.clone();
        }
        let id = self.random.base62(8);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        let Attested { pid, selectors, executable, gaps, .. } = attested.clone();
        kept.push_back(Denial { id: id.clone(), at, pid, executable, selectors, gaps });
        id
    }

    /// The refusal with this id.
    pub(super) fn find(&self, id: &str) -> Option<Denial> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|denial| denial.id == id).cloned()
    }
}

/// An entry that does not match, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Near {
    /// The entry.
    pub(super) entry: std::sync::Arc<Entry>,
    /// The selectors that were not seen.
    pub(super) missing: Vec<Selector>,
}

/// The entries that come closest to what was seen: the fewest selectors missing, then the most there,
/// then the newest: what was declared last is what somebody waits for.
pub(super) fn nearest(registry: &Registry, seen: &BTreeSet<Selector>) -> Vec<Near> {
    let entries = registry.snapshot.entries.by_age();
    let mut all: Vec<_> = entries
        .iter()
        .rev()
        .filter(|entry| entry.is_for_workloads() && !entry.matches(seen))
        .map(|entry| {
            let missing = entry.selectors.difference(seen).count();
            (missing, usize::MAX - (entry.selectors.len() - missing), entry)
        })
        .collect();
    all.sort_by_key(|(missing, there, _)| (*missing, *there));
    all.into_iter()
        .take(NEAREST)
        .map(|(_, _, entry)| Near {
            entry: entry.clone(),
            missing: entry.selectors.difference(seen).cloned().collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::testing;

    #[test]
    fn of_those_that_are_as_near_the_newest_are_told() {
        let names: Vec<String> = (0..50).map(|number| format!("{}", 99 - number)).collect();
        let mut rows: Vec<_> =
            names.iter().map(|name| (name.as_str(), "/a", &["unix:uid:1"][..])).collect();
        let of_nobody = [("x", "/x", &[][..]), ("y", "/y", &["holdfast:part:vault"])];
        rows.extend(of_nobody);
        let registry = Registry::new(None, testing::snapshot(&rows));
        let near = nearest(&registry, &BTreeSet::new());
        let ids: Vec<_> = near.iter().map(|near| near.entry.id.as_str()).collect();
        assert_eq!(ids, ["50", "51", "52"]);
    }
}

//! Which identities a workload gets.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::entries::Parts;
use crate::{Entry, Selector, Snapshot};

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What it may go on otherwise meanwhile: clocks are kept right by small steps.
const STEP: Duration = Duration::from_secs(2);

/// What the server said last, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    /// What the server said.
    pub(super) snapshot: Arc<Snapshot>,
    /// The entries that each selector leads to: of an entry's selectors the one that led to the
    /// fewest when it came, so that a hundred thousand entries for one user cost nobody else anything.
    index: Parts<HashMap<Selector, Vec<Arc<Entry>>>>,
    /// How many entries ask for a program's hash, which takes reading the program.
    hashed: usize,
}

impl Registry {
    /// Makes a snapshot ready, beginning with one before it: what is the same in both costs nothing.
    pub(super) fn new(before: Option<&Self>, snapshot: Arc<Snapshot>) -> Self {
        let mut registry = match before {
            Some(before) => before.clone(),
            None => {
                let snapshot =
                    Arc::new(Snapshot { entries: Default::default(), ..(*snapshot).clone() });
                Self { snapshot, index: Parts::default(), hashed: 0 }
            }
        };
        let difference = snapshot.entries.since(&registry.snapshot.entries);
        difference.gone.iter().for_each(|entry| registry.remove(entry));
        difference.come.into_iter().for_each(|entry| registry.insert(entry));
        registry.snapshot = snapshot;
        registry
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        self.hashed += usize::from(wants_hash(&entry));
        let leads_to =
            |selector: &&Selector| self.index.of(*selector).get(*selector).map_or(0, Vec::len);
        // An entry without selectors is for nobody.
        let Some(rarest) = entry.selectors.iter().min_by_key(leads_to).cloned() else { return };
        self.index.of_mut(&rarest).entry(rarest).or_default().push(entry);
    }

    fn remove(&mut self, entry: &Arc<Entry>) {
        self.hashed -= usize::from(wants_hash(entry));
        for selector in &entry.selectors {
            let found = self.index.of(selector).get(selector);
            let Some(place) = found.and_then(|all| all.iter().position(|it| it.id == entry.id))
            else {
                continue;
            };
            let part = self.index.of_mut(selector);
            if let Some(all) = part.get_mut(selector) {
                all.swap_remove(place);
                if all.is_empty() {
                    part.remove(selector);
                }
            }
        }
    }

    /// The entries for a workload that shows these selectors, the oldest first.
    pub(super) fn matching(&self, seen: &BTreeSet<Selector>) -> Vec<Arc<Entry>> {
        let found = seen.iter().filter_map(|selector| self.index.of(selector).get(selector));
        let mut entries: Vec<_> =
            found.flatten().filter(|entry| entry.matches(seen)).cloned().collect();
        entries.sort_by(|a, b| a.age().cmp(&b.age()));
        entries
    }

    /// Whether a look at a process should include its program's hash.
    pub(super) fn wants_hash(&self) -> bool {
        self.hashed > 0
    }
}

fn wants_hash(entry: &Entry) -> bool {
    let is_hash =
        |selector: &Selector| selector.kind == "unix" && selector.value.starts_with("sha256:");
    entry.selectors.iter().any(is_hash)
}

/// Keeps a registry of what `snapshots` says, until that ends. Whoever watches it is woken where the clock
/// jumped as well: a machine slept, or its clock was set, and waits are of no use then.
pub(super) async fn follow(
    mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    registry: watch::Sender<Option<Arc<Registry>>>,
    clock: Arc<dyn Clock>,
) {
    let mut look = (clock.now(), Instant::now());
    let mut is_new = true;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if let Some(snapshot) = snapshot.filter(|_| is_new) {
            let before = registry.borrow().clone();
            // The first hundred thousand entries take a while.
            let make = move || Registry::new(before.as_deref(), snapshot);
            if let Ok(made) = tokio::task::spawn_blocking(make).await {
                registry.send_replace(Some(Arc::new(made)));
            }
        }
        is_new = tokio::select! {
            changed = snapshots.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            () = tokio::time::sleep(LOOK) => false,
        };
        let now = (clock.now(), Instant::now());
        if has_jumped(look, now) {
            tracing::info!(from = %look.0, to = %now.0, "the clock jumped");
            registry.send_modify(|_| ());
        }
        look = now;
    }
}

/// Whether the clock on the wall went on otherwise than time did, between two looks at both.
fn has_jumped(then: (Timestamp, Instant), now: (Timestamp, Instant)) -> bool {
    let milliseconds = now.0.as_millisecond().saturating_sub(then.0.as_millisecond());
    let expected = i64::try_from((now.1 - then.1).as_millis()).unwrap_or(i64::MAX);
    milliseconds.abs_diff(expected) > u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX)
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
        let registry = Registry::new(None, testing::snapshot(&entries));
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

    #[test]
    fn a_clock_that_jumps_is_told_from_one_that_goes() {
        let (at, begun) = (Timestamp::from_second(1_000_000).unwrap(), Instant::now());
        let hour = Duration::from_secs(3600);
        for (wall, time, want) in [(5, 5, false), (6, 5, false), (0, 5, true), (43_205, 5, true)] {
            let now = (at + Duration::from_secs(wall), begun + Duration::from_secs(time));
            assert_eq!(has_jumped((at, begun), now), want, "{wall} {time}");
        }
        assert!(has_jumped((at, begun), (at - hour, begun + LOOK)));
    }

    #[test]
    fn one_registry_follows_from_another_as_if_made_anew() {
        let old: Vec<(&str, &str, &[&str])> = vec![
            ("a", "/a", &["unix:uid:1", "unix:path:/x"]),
            ("b", "/b", &["unix:uid:1", "unix:sha256:00"]),
            ("c", "/c", &["unix:uid:2"]),
        ];
        let new: Vec<(&str, &str, &[&str])> = vec![
            ("a", "/a", &["unix:uid:1"]),
            ("d", "/d", &["unix:uid:1"]),
            ("c", "/c", &["unix:uid:3"]),
        ];
        let mut registry = Registry::new(None, testing::snapshot(&old));
        assert!(registry.wants_hash());
        for (rows, uids) in [(&new, [2, 0, 1]), (&old, [0, 1, 0]), (&vec![], [0, 0, 0])] {
            registry = Registry::new(Some(&registry), testing::snapshot(rows));
            let fresh = Registry::new(None, testing::snapshot(rows));
            assert_eq!(registry.wants_hash(), fresh.wants_hash());
            for (uid, want) in (1..).zip(uids) {
                let seen = BTreeSet::from([Selector::new("unix", format!("uid:{uid}"))]);
                let found = registry.matching(&seen);
                assert_eq!(found, fresh.matching(&seen));
                assert_eq!(found.len(), want, "{uid}");
            }
        }
    }
}

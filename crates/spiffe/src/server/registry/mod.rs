//! The entries of the trust domain, in memory, found by what asks for them.
//!
//! Pure: [`super::registrar`] stores what this holds.

mod check;
mod journal;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use holdfast_types::{SpiffeId, Timestamp, TrustDomain};

pub use check::InvalidEntry;
use check::SERVER_PATH;
pub(crate) use check::{check, check_workload};
use journal::{Journal, Step};

use crate::{Entry, Selector};

/// The entries and their indexes.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_id: BTreeMap<String, Arc<Entry>>,
    by_parent: HashMap<SpiffeId, BTreeSet<Place>>,
    by_spiffe_id: HashMap<SpiffeId, BTreeSet<Place>>,
    journal: Journal,
}

/// Sorts the entries by age: the oldest of a workload's identities is its default.
type Place = (Timestamp, String);

/// What a list is narrowed to; all that is given must hold.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) spiffe_id: Option<SpiffeId>,
    pub(crate) parent: Option<SpiffeId>,
    /// Every one of these among the entry's.
    pub(crate) selectors: BTreeSet<Selector>,
    pub(crate) hint: Option<String>,
}

impl Filter {
    fn admits(&self, entry: &Entry) -> bool {
        self.spiffe_id.as_ref().is_none_or(|id| *id == entry.spiffe_id)
            && self.parent.as_ref().is_none_or(|id| *id == entry.parent)
            && self.hint.as_ref().is_none_or(|hint| *hint == entry.hint)
            && self.selectors.is_subset(&entry.selectors)
    }
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.by_id.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_id.values()
    }

    /// Adds an entry, or replaces the one of its id.
    pub(crate) fn insert(&mut self, entry: Arc<Entry>) {
        let before = self.take(&entry.id);
        self.note(before.as_deref().into_iter().chain([&*entry]));
        let place = (entry.created, entry.id.clone());
        self.by_parent.entry(entry.parent.clone()).or_default().insert(place.clone());
        self.by_spiffe_id.entry(entry.spiffe_id.clone()).or_default().insert(place);
        self.by_id.insert(entry.id.clone(), entry);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<Entry>> {
        let entry = self.take(id)?;
        self.note([&*entry]);
        Some(entry)
    }

    /// Counts the changes so far.
    pub(crate) fn position(&self) -> u64 {
        self.journal.position()
    }

    /// The ids of the entries that changed since `position`, where no others can have come to an
    /// agent or left it. None where that is not known: everything has to be looked at.
    pub(crate) fn changed_since(&self, position: u64) -> Option<BTreeSet<&str>> {
        self.journal.since(position)
    }

    /// Notes a change of one entry, in these versions. Where entries stand below it, an agent may
    /// serve them now, or serve them no more.
    fn note<'e>(&mut self, versions: impl IntoIterator<Item = &'e Entry>) {
        let mut id = None;
        for entry in versions {
            if self.by_parent.contains_key(&entry.spiffe_id) {
                return self.journal.add(Step::Tree);
            }
            id = Some(entry.id.clone());
        }
        self.journal.add(id.map_or(Step::Tree, Step::Entry));
    }

    fn take(&mut self, id: &str) -> Option<Arc<Entry>> {
        let entry = self.by_id.remove(id)?;
        let place = (entry.created, entry.id.clone());
        for (index, key) in
            [(&mut self.by_parent, &entry.parent), (&mut self.by_spiffe_id, &entry.spiffe_id)]
        {
            if let Some(places) = index.get_mut(key) {
                places.remove(&place);
                if places.is_empty() {
                    index.remove(key);
                }
            }
        }
        Some(entry)
    }

    /// An entry that gives the same identity to the same workloads below the same parent.
    pub(crate) fn similar(&self, entry: &Entry) -> Option<&Arc<Entry>> {
        self.named(&entry.spiffe_id)
            .find(|known| known.parent == entry.parent && known.selectors == entry.selectors)
    }

    /// At most `limit` entries whose ids follow `after`.
    pub(crate) fn list(&self, filter: &Filter, after: &str, limit: usize) -> Vec<Arc<Entry>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let following = self.by_id.range::<str, _>((Excluded(after), Unbounded));
        let entries = following.map(|(_, entry)| entry).filter(|entry| filter.admits(entry));
        entries.take(limit).cloned().collect()
    }

    /// The entries that an agent serves: those under its id, under an alias that its node has, and
    /// under any of these again. The oldest first.
    pub(crate) fn served_by(&self, node: &NodeFacts) -> Vec<Arc<Entry>> {
        let roots = std::iter::once(&node.agent).chain(self.aliases(node));
        // Several entries may give a node the same alias.
        let mut seen: HashSet<SpiffeId> = roots.cloned().collect();
        let mut parents: Vec<SpiffeId> = seen.iter().cloned().collect();
        let mut found: Vec<Arc<Entry>> = Vec::new();
        while let Some(parent) = parents.pop() {
            for entry in self.children(&parent) {
                found.push(entry.clone());
                if seen.insert(entry.spiffe_id.clone()) {
                    parents.push(entry.spiffe_id.clone());
                }
            }
        }
        found.sort_by(|a, b| a.age().cmp(&b.age()));
        found
    }

    /// Whether the agent serves the entry of this id, found from the entry upwards.
    pub(crate) fn serves(&self, node: &NodeFacts, id: &str) -> Option<&Arc<Entry>> {
        let entry = self.get(id)?;
        let mut upwards = vec![&entry.parent];
        let mut seen = HashSet::new();
        while let Some(parent) = upwards.pop() {
            if *parent == node.agent || self.aliases(node).any(|alias| alias == parent) {
                return Some(entry);
            }
            if seen.insert(parent) {
                upwards.extend(self.named(parent).map(|entry| &entry.parent));
            }
        }
        None
    }

    /// The aliases of a node: identities whose parent is the server, by what the node showed.
    fn aliases<'r>(&'r self, node: &'r NodeFacts) -> impl Iterator<Item = &'r SpiffeId> {
        let entries = self.children(&node.server).filter(|entry| entry.matches(&node.selectors));
        entries.map(|entry| &entry.spiffe_id)
    }

    fn children(&self, parent: &SpiffeId) -> impl Iterator<Item = &Arc<Entry>> {
        self.at(self.by_parent.get(parent))
    }

    fn named(&self, id: &SpiffeId) -> impl Iterator<Item = &Arc<Entry>> {
        self.at(self.by_spiffe_id.get(id))
    }

    fn at<'r>(
        &'r self,
        places: Option<&'r BTreeSet<Place>>,
    ) -> impl Iterator<Item = &'r Arc<Entry>> {
        places.into_iter().flatten().filter_map(|(_, id)| self.by_id.get(id))
    }
}

/// A node, as it was attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    /// The agent's own id.
    pub(crate) agent: SpiffeId,
    /// The server's, which is the parent of aliases.
    pub(crate) server: SpiffeId,
    /// What attestation saw.
    pub(crate) selectors: BTreeSet<Selector>,
}

impl NodeFacts {
    /// The agent on the server's own machine, which needs no proof but the kernel's word.
    pub(crate) fn local(trust_domain: &TrustDomain) -> Option<Self> {
        Some(Self {
            agent: local_agent(trust_domain)?,
            server: server_id(trust_domain)?,
            selectors: BTreeSet::from([Selector::new("unix", "local")]),
        })
    }
}

/// The id of the agent on the server's own machine.
pub fn local_agent(trust_domain: &TrustDomain) -> Option<SpiffeId> {
    trust_domain.member("/spire/agent/local").ok()
}

/// The id of the server.
pub fn server_id(trust_domain: &TrustDomain) -> Option<SpiffeId> {
    trust_domain.member(SERVER_PATH).ok()
}

#[cfg(test)]
mod tests;

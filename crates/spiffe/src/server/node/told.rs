//! What one agent was told, and what it is to be told next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use holdfast_types::TrustDomain;
use prost::Message as _;

use crate::entries::{Difference, Entries};
use crate::proto::node as wire;
use crate::server::registry::{NodeFacts, Registry};
use crate::wire::{bundle_to_wire, entry_to_wire};
use crate::{Bundle, Entry};

/// An update is sent once it has so many bytes, and goes on in the next one.
const PAGE: usize = 256 << 10;

/// What an agent was told on the stream that it has open.
#[derive(Default)]
pub(super) struct Told {
    /// How many updates.
    number: u64,
    entries: Entries,
    /// Up to which change of the registry.
    position: Option<u64>,
    /// How many of the entries federate with whom.
    federates: BTreeMap<TrustDomain, usize>,
    bundle: Option<Arc<Bundle>>,
    federated: BTreeMap<TrustDomain, Arc<Bundle>>,
}

/// What is yet to be told; it is made ready for the wire a page at a time.
#[derive(Default)]
pub(super) struct Untold {
    come: VecDeque<Arc<Entry>>,
    removed: Vec<String>,
    bundle: Option<Arc<Bundle>>,
    federated: Option<Vec<Arc<Bundle>>>,
}

impl Told {
    /// What is to be told of the registry as it is now; none for nothing.
    pub(super) fn catch_up(
        &mut self,
        registry: &Registry,
        node: &NodeFacts,
        bundle: &Arc<Bundle>,
        federated: &BTreeMap<TrustDomain, Arc<Bundle>>,
    ) -> Option<Untold> {
        let Difference { gone, come } = self.entries_since(registry, node);
        for domain in come.iter().flat_map(|entry| &entry.federates_with) {
            *self.federates.entry(domain.clone()).or_default() += 1;
        }
        for domain in gone.iter().flat_map(|entry| &entry.federates_with) {
            let left = self.federates.get(domain).map_or(0, |count| count - 1);
            match left {
                0 => _ = self.federates.remove(domain),
                _ => _ = self.federates.insert(domain.clone(), left),
            }
        }
        let removed = gone.into_iter().filter(|entry| self.entries.get(&entry.id).is_none());
        let removed: Vec<_> = removed.map(|entry| entry.id.clone()).collect();
        let wanted = self.federates.keys();
        let federated: BTreeMap<_, _> = wanted
            .filter_map(|domain| Some((domain.clone(), federated.get(domain)?.clone())))
            .collect();
        let mut untold = Untold { come: come.into(), removed, ..Untold::default() };
        if self.bundle.as_ref() != Some(bundle) {
            untold.bundle = Some(bundle.clone());
            self.bundle = Some(bundle.clone());
        }
        if self.federated != federated {
            untold.federated = Some(federated.values().cloned().collect());
            self.federated = federated;
        }
        (!untold.is_empty()).then_some(untold)
    }

    fn entries_since(&mut self, registry: &Registry, node: &NodeFacts) -> Difference {
        let changed = self.position.and_then(|position| registry.changed_since(position));
        self.position = Some(registry.position());
        let now = match changed {
            Some(ids) => {
                let mut now = self.entries.clone();
                for id in ids {
                    match registry.serves(node, id) {
                        Some(entry) => now.insert(entry.clone()),
                        None => _ = now.remove(id),
                    }
                }
                now
            }
            None => registry.served_by(node).into_iter().collect(),
        };
        let difference = now.since(&self.entries);
        self.entries = now;
        difference
    }

    /// The next page of it for the wire; none once all is told.
    pub(super) fn page(&mut self, untold: &mut Untold) -> Option<wire::Update> {
        if untold.is_empty() {
            return None;
        }
        self.number += 1;
        let removed = std::mem::take(&mut untold.removed);
        let (mut entries, mut size) = (Vec::new(), 0);
        while size < PAGE
            && let Some(entry) = untold.come.pop_front()
        {
            let entry = entry_to_wire(&entry);
            size += entry.encoded_len();
            entries.push(entry);
        }
        let bundles = untold.federated.take();
        let bundles = bundles.map(|bundles| wire::FederatedBundles {
            bundles: bundles.iter().map(|bundle| bundle_to_wire(bundle)).collect(),
        });
        Some(wire::Update {
            number: self.number,
            removed,
            entries,
            bundle: untold.bundle.take().map(|bundle| bundle_to_wire(&bundle)),
            federated: bundles,
            continues: !untold.is_empty(),
        })
    }
}

impl Untold {
    fn is_empty(&self) -> bool {
        self.come.is_empty()
            && self.removed.is_empty()
            && self.bundle.is_none()
            && self.federated.is_none()
    }
}

#[cfg(test)]
mod tests;

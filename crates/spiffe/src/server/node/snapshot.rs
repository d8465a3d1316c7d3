//! What one agent must know, again whenever it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_types::TrustDomain;
use tokio::sync::watch;

use super::NodeError;
use crate::server::Shared;
use crate::server::registry::NodeFacts;
use crate::{Bundle, Snapshot};

pub(super) struct Snapshots {
    shared: Arc<Shared>,
    node: NodeFacts,
    entries: watch::Receiver<u64>,
    nodes: watch::Receiver<u64>,
    bundle: watch::Receiver<Arc<Bundle>>,
    federated: watch::Receiver<BTreeMap<TrustDomain, Arc<Bundle>>>,
    last: Option<Snapshot>,
}

impl Snapshots {
    pub(super) fn new(shared: Arc<Shared>, node: NodeFacts) -> Self {
        Self {
            entries: shared.registrar.changes(),
            nodes: shared.nodes.changes(),
            bundle: shared.authorities.bundle(),
            federated: shared.federation.bundles(),
            shared,
            node,
            last: None,
        }
    }

    /// The next snapshot: the first at once, each later one when it differs from the one before.
    ///
    /// # Errors
    /// The agent is none any more.
    pub(super) async fn next(&mut self) -> Result<Snapshot, NodeError> {
        loop {
            // Marked as seen before it is read: what changes meanwhile is seen again.
            self.entries.mark_unchanged();
            self.nodes.mark_unchanged();
            let bundle = self.bundle.borrow_and_update().clone();
            let federated = self.federated.borrow_and_update().clone();
            self.shared.nodes.check(&self.node)?;
            let entries = self.shared.registrar.registry().served_by(&self.node);
            let wanted: BTreeSet<&TrustDomain> =
                entries.iter().flat_map(|entry| &entry.federates_with).collect();
            let federated =
                federated.into_iter().filter(|(domain, _)| wanted.contains(domain)).collect();
            let trust_domain = self.shared.settings.trust_domain.clone();
            let next = Snapshot { trust_domain, entries, bundle, federated };
            if self.last.as_ref() != Some(&next) {
                self.last = Some(next.clone());
                return Ok(next);
            }
            let gone = tokio::select! {
                () = self.shared.ending.cancelled() => true,
                changed = self.entries.changed() => changed.is_err(),
                changed = self.nodes.changed() => changed.is_err(),
                changed = self.bundle.changed() => changed.is_err(),
                changed = self.federated.changed() => changed.is_err(),
            };
            if gone {
                return Err(NodeError::Stopped);
            }
        }
    }
}

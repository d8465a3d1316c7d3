//! What one agent must know: all of it first, and from then on what changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_types::TrustDomain;
use tokio::sync::watch;

use super::NodeError;
use super::told::{Told, Untold};
use crate::Bundle;
use crate::proto::node as wire;
use crate::server::Shared;
use crate::server::registry::NodeFacts;

pub(super) struct Updates {
    shared: Arc<Shared>,
    node: NodeFacts,
    entries: watch::Receiver<u64>,
    nodes: watch::Receiver<u64>,
    bundle: watch::Receiver<Arc<Bundle>>,
    federated: watch::Receiver<BTreeMap<TrustDomain, Arc<Bundle>>>,
    told: Told,
    untold: Untold,
}

impl Updates {
    pub(super) fn new(shared: Arc<Shared>, node: NodeFacts) -> Self {
        Self {
            entries: shared.registrar.changes(),
            nodes: shared.nodes.changes(),
            bundle: shared.authorities.bundle(),
            federated: shared.federation.bundles(),
            shared,
            node,
            told: Told::default(),
            untold: Untold::default(),
        }
    }

    /// The next update: the first at once, each later one when there is something to tell. What
    /// changes while the agent reads is told together, so nobody who is slow makes a queue grow.
    ///
    /// # Errors
    /// The agent is none any more.
    pub(super) async fn next(&mut self) -> Result<wire::Update, NodeError> {
        loop {
            self.shared.nodes.check(&self.node)?;
            if let Some(update) = self.told.page(&mut self.untold) {
                return Ok(update);
            }
            // Marked as seen before it is read: what changes meanwhile is seen again.
            self.entries.mark_unchanged();
            self.nodes.mark_unchanged();
            let bundle = self.bundle.borrow_and_update().clone();
            let federated = self.federated.borrow_and_update().clone();
            let untold = {
                let registry = self.shared.registrar.registry();
                self.told.catch_up(&registry, &self.node, &bundle, &federated)
            };
            if let Some(untold) = untold {
                self.untold = untold;
                continue;
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

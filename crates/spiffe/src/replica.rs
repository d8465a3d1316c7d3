//! What an agent knows, brought up to date by what its server sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_types::TrustDomain;

use crate::entries::Entries;
use crate::proto::node as wire;
use crate::wire::{WireError, bundle_from_wire, entry_from_wire};
use crate::{Bundle, Snapshot};

/// Why an update cannot be taken. The stream is of no use from then on; another one begins with
/// everything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    /// It makes no sense.
    #[error("an update from the server makes no sense")]
    Wire(#[from] WireError),
    /// One is missing.
    #[error("update {got} came from the server where {want} was due")]
    Gap { want: u64, got: u64 },
}

/// What one stream of updates said so far.
pub(crate) struct Replica {
    /// The last one that was taken.
    number: u64,
    entries: Entries,
    bundle: Option<Arc<Bundle>>,
    federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    /// What was known before the stream began: what is the same stays where it is in memory.
    before: Entries,
}

impl Replica {
    /// At the beginning of a stream.
    pub(crate) fn new(before: Option<&Snapshot>) -> Self {
        Self {
            number: 0,
            entries: Entries::default(),
            bundle: None,
            federated: BTreeMap::new(),
            before: before.map(|snapshot| snapshot.entries.clone()).unwrap_or_default(),
        }
    }

    /// Takes an update; gives what is in force from now on, where another does not belong to it.
    ///
    /// # Errors
    /// See [`UpdateError`].
    pub(crate) fn take(&mut self, update: wire::Update) -> Result<Option<Snapshot>, UpdateError> {
        let want = self.number + 1;
        if update.number != want {
            return Err(UpdateError::Gap { want, got: update.number });
        }
        self.number = want;
        for id in &update.removed {
            self.entries.remove(id);
        }
        for entry in update.entries {
            let entry = entry_from_wire(entry)?;
            self.entries.insert(match self.before.get(&entry.id) {
                Some(known) if **known == entry => known.clone(),
                _ => Arc::new(entry),
            });
        }
        if let Some(bundle) = update.bundle {
            self.bundle = Some(Arc::new(bundle_from_wire(bundle)?));
        }
        if let Some(federated) = update.federated {
            let bundles = federated.bundles.into_iter().map(|bundle| {
                let bundle = bundle_from_wire(bundle)?;
                Ok((bundle.trust_domain.clone(), Arc::new(bundle)))
            });
            self.federated = bundles.collect::<Result<_, WireError>>()?;
        }
        if update.continues {
            return Ok(None);
        }
        self.before = Entries::default();
        let bundle = self.bundle.clone().ok_or(WireError::Missing("the bundle"))?;
        Ok(Some(Snapshot {
            trust_domain: bundle.trust_domain.clone(),
            entries: self.entries.clone(),
            bundle,
            federated: self.federated.clone(),
        }))
    }
}

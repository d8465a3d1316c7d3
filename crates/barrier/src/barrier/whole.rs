//! Whether all entries are there.
//!
//! Each entry that is read proves itself. What is missing does not: so the keys are counted before
//! anybody hears that something is not there. In a small store all of them are counted before it is
//! unsealed. In a large one only the core is, and its keys are remembered; whoever misses one of
//! them, or finds nothing in a folder that grows, or lists one, waits until all keys are counted and
//! the medium is checked.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::Bound;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Barrier, UnsealError};
use crate::growth::{growing_folder, may_grow_below};
use crate::key_set::KeyMarker;
use crate::physical::{KeySet, Keys};
use crate::{EntryError, KeySetSum, Physical};

/// What is known of the entries of an open store.
pub(super) struct Whole {
    state: watch::Sender<State>,
    /// The core's keys at unsealing, while the others are counted.
    core: Mutex<BTreeSet<String>>,
}

/// How far counting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All keys are there, or nothing is unsealed yet.
    Whole,
    Counting,
    /// Something is missing, or broken.
    Damaged,
}

/// Which keys are still to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// None.
    Nothing,
    /// Those that do not belong to the core, while others are read.
    Beside,
}

/// What counting found.
struct Counted {
    all: KeySetSum,
    core: KeySetSum,
    /// All that were counted, if they are those of the core.
    keys: BTreeSet<String>,
    found: usize,
}

impl Whole {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::new(State::Whole), core: Mutex::default() }
    }

    /// After a read that found nothing at `key`: waits until it is known that nothing is there.
    pub(super) async fn absent(&self, key: &str) -> Result<(), EntryError> {
        if self.is_known() || (growing_folder(key).is_none() && !self.core().contains(key)) {
            return Ok(());
        }
        self.known().await
    }

    /// Waits until it is known that nothing is missing.
    pub(super) async fn known(&self) -> Result<(), EntryError> {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| *state != State::Counting).await.as_deref() {
            Ok(State::Whole) => Ok(()),
            _ => Err(EntryError::Storage("entries of the store are missing or damaged".into())),
        }
    }

    fn is_known(&self) -> bool {
        *self.state.borrow() == State::Whole
    }

    /// Whether the core had a key below `prefix` that is not among `rests`, sorted, without it.
    fn lacks(&self, prefix: &str, rests: &[String]) -> bool {
        let core = self.core();
        let below = core.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let mut below = below.map_while(|key| key.strip_prefix(prefix));
        below.any(|rest| rests.binary_search_by(|found| found.as_str().cmp(rest)).is_err())
    }

    fn set(&self, state: State, core: BTreeSet<String>) {
        *self.core() = core;
        self.state.send_replace(state);
    }

    fn core(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Barrier {
    /// Waits until damage is found in a store that is being served. The barrier has sealed itself
    /// then, and the next start checks before it serves.
    pub async fn found_damaged(&self) {
        let mut state = self.whole.state.subscribe();
        if state.wait_for(|state| *state == State::Damaged).await.is_err() {
            // Its sender is a part of `self`.
            std::future::pending::<()>().await;
        }
    }

    /// While keys are counted: those below `prefix`, if all of them belong to the core and none is
    /// missing. None: ask the storage, all is known.
    pub(super) async fn core_below(&self, prefix: &str) -> Result<Option<Vec<String>>, EntryError> {
        if self.whole.is_known() {
            return Ok(None);
        }
        if !may_grow_below(prefix) {
            let found = self.physical.scan(prefix).await?;
            if !self.whole.lacks(prefix, &found) {
                return Ok(Some(found));
            }
        }
        self.whole.known().await.map(|()| None)
    }

    /// Counts the keys that `marker` marks, before the barrier is unsealed: all of them, or those of
    /// the core.
    pub(super) async fn count_keys(&self, marker: &KeyMarker) -> Result<Rest, UnsealError> {
        let is_large = self.physical.is_checked_beside();
        let core = match is_large {
            true => compare(&self.physical, KeySet::Core, marker.clone()).await?,
            false => None,
        };
        match core {
            None => self.count_all(marker.clone()).await.map(|()| Rest::Nothing),
            Some((counted, kept)) if counted.core == kept => {
                self.whole.set(State::Counting, counted.keys);
                Ok(Rest::Beside)
            }
            Some((Counted { found, .. }, _)) => Err(UnsealError::KeySet { found }),
        }
    }

    /// Counts all keys while the barrier is open. Seals it if any is missing.
    pub(super) fn count_beside(&self, marker: KeyMarker) {
        let (physical, unlocked) = (self.physical.clone(), self.unlocked.clone());
        let whole = self.whole.clone();
        tokio::spawn(async move {
            let checked = check_all(&physical, marker).await;
            if let Err(error) = &checked {
                unlocked.store(None);
                let found = chain(error);
                tracing::error!(found, "sealed: the store is damaged");
                physical.distrust(&found);
            }
            let state = if checked.is_ok() { State::Whole } else { State::Damaged };
            whole.set(state, BTreeSet::new());
        });
    }

    /// Counts all keys. A sum of the core's keys that an older format did not keep is kept from now
    /// on.
    async fn count_all(&self, marker: KeyMarker) -> Result<(), UnsealError> {
        let Some((counted, kept)) = compare(&self.physical, KeySet::All, marker).await? else {
            return Err(UnsealError::KeySet { found: 0 });
        };
        if counted.all != kept {
            return Err(UnsealError::KeySet { found: counted.found });
        }
        self.physical.keep_core_sum(counted.core).await.map_err(EntryError::from)?;
        Ok(())
    }
}

/// An error and all that caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    line
}

async fn check_all(physical: &Arc<dyn Physical>, marker: KeyMarker) -> Result<(), UnsealError> {
    match compare(physical, KeySet::All, marker).await? {
        Some((counted, kept)) if counted.all == kept => {}
        Some((Counted { found, .. }, _)) => return Err(UnsealError::KeySet { found }),
        None => return Err(UnsealError::KeySet { found: 0 }),
    }
    Ok(physical.checked().await.map_err(EntryError::from)?)
}

/// Counts the keys that are there, and gives with them the sum that was kept. One thread reads them,
/// another one adds them up.
async fn compare(
    physical: &Arc<dyn Physical>,
    which: KeySet,
    marker: KeyMarker,
) -> Result<Option<(Counted, KeySetSum)>, EntryError> {
    let (sender, receiver) = sync_channel::<Keys>(4);
    let counting = tokio::task::spawn_blocking(move || {
        let none = KeySetSum::default();
        let mut counted = Counted { all: none, core: none, keys: BTreeSet::new(), found: 0 };
        for keys in receiver {
            for key in keys.iter() {
                let mark = marker.mark(key);
                counted.all += mark;
                if growing_folder(key).is_none() {
                    counted.core += mark;
                }
                if which == KeySet::Core {
                    counted.keys.insert(key.to_owned());
                }
            }
            counted.found += keys.len();
        }
        counted
    });
    let kept = physical.key_set(which, sender).await?;
    let counted = counting.await.map_err(|failed| EntryError::Storage(Box::new(failed)))?;
    Ok(kept.map(|kept| (counted, kept)))
}

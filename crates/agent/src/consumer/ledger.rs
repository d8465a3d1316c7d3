//! Which generation each consumer is on. It outlives the agent: one that ends between the flip and
//! telling a consumer tells it when it is back.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;

use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::generation::{Folder, Owner};

/// The file's name.
const FILE: &str = "consumers.json";

/// A consumer, as far as its place in time goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// The last generation that it took up, 0 before the first.
    pub generation: u64,
    /// When it did.
    pub since: Option<Timestamp>,
    /// The generation that last changed something for it.
    #[serde(skip)]
    pub wanted: u64,
    /// Why it has not taken that up.
    #[serde(skip)]
    pub problem: Option<String>,
    /// It is being told.
    #[serde(skip)]
    pub busy: bool,
}

impl Consumer {
    /// Whether it works with what is no longer current.
    pub fn is_stale(&self) -> bool {
        self.generation < self.wanted
    }
}

/// All consumers, by name.
#[derive(Debug)]
pub struct Ledger {
    folder: Folder,
    consumers: BTreeMap<String, Consumer>,
}

impl Ledger {
    /// Reads what is known of `names` from `folder`, and keeps it there. Others are forgotten.
    pub(crate) fn open(folder: Folder, names: impl IntoIterator<Item = String>) -> Self {
        let known = folder.read(FILE).ok();
        let known = known.and_then(|text| serde_json::from_slice(&text).ok());
        let mut known: BTreeMap<String, Consumer> = known.unwrap_or_default();
        let consumers = names
            .into_iter()
            .map(|name| {
                let consumer = known.remove(&name).unwrap_or_default();
                (name, consumer)
            })
            .collect();
        Self { folder, consumers }
    }

    /// The consumers, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Consumer)> {
        self.consumers.iter().map(|(name, consumer)| (name.as_str(), consumer))
    }

    /// Generation `generation` is the last that changed something for `name`. Gives whether it has
    /// to be told.
    pub fn wants(&mut self, name: &str, generation: u64) -> bool {
        let Some(consumer) = self.consumers.get_mut(name) else { return false };
        consumer.wanted = consumer.wanted.max(generation);
        consumer.is_stale() && !consumer.busy
    }

    /// Somebody is telling it now.
    pub fn set_busy(&mut self, name: &str, busy: bool) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.busy = busy;
        }
    }

    /// Writes down what came of telling `name` of `generation`.
    ///
    /// # Errors
    /// It cannot be written; it holds all the same, until the agent ends.
    pub fn told(
        &mut self,
        name: &str,
        generation: u64,
        outcome: Result<(), String>,
        now: Timestamp,
    ) -> io::Result<()> {
        let Some(consumer) = self.consumers.get_mut(name) else { return Ok(()) };
        consumer.busy = false;
        match outcome {
            Ok(()) => {
                consumer.problem = None;
                consumer.generation = consumer.generation.max(generation);
                consumer.since = Some(now);
            }
            Err(problem) => consumer.problem = Some(problem),
        }
        let text = serde_json::to_vec(&self.consumers).unwrap_or_default();
        let write = |name: &OsStr| self.folder.write(name, &text, 0o600, Owner::default());
        self.folder.replace(OsStr::new(FILE), write)
    }

    /// The oldest generation that any consumer may still use; `current` where all are past it.
    pub fn floor(&self, current: u64) -> u64 {
        let stale = self.consumers.values().filter(|consumer| consumer.is_stale());
        stale.map(|consumer| consumer.generation).filter(|on| *on > 0).min().unwrap_or(current)
    }

    /// Whether `name` has taken up a generation after `last`, or what is current is the same to it.
    pub fn is_past(&self, name: &str, last: u64) -> bool {
        let consumer = self.consumers.get(name);
        consumer.is_some_and(|consumer| !consumer.is_stale() || consumer.generation > last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_stale_until_it_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let open = || {
            Ledger::open(
                Folder::open(folder.path()).unwrap(),
                ["web".to_owned(), "worker".to_owned()],
            )
        };
        let mut ledger = open();
        assert_eq!(ledger.floor(9), 9, "nobody uses anything yet");
        for name in ["web", "worker"] {
            assert!(ledger.wants(name, 3));
            ledger.told(name, 3, Ok(()), now).unwrap();
            assert!(!ledger.wants(name, 3), "it is told once");
        }
        assert!(ledger.wants("web", 5) && ledger.wants("worker", 4));
        ledger.set_busy("web", true);
        assert!(!ledger.wants("web", 5), "it is being told");
        ledger.told("worker", 4, Ok(()), now).unwrap();
        ledger.told("web", 5, Err("exit status: 1".into()), now).unwrap();
        assert_eq!(
            (ledger.floor(5), ledger.is_past("web", 3), ledger.is_past("web", 2)),
            (3, false, true)
        );
        assert!(ledger.is_past("worker", 4) && !ledger.is_past("nobody", 1));

        // The next agent knows, and tells it again.
        let mut ledger = open();
        assert!(ledger.wants("web", 5) && !ledger.wants("worker", 4));
        ledger.told("web", 5, Ok(()), now).unwrap();
        assert_eq!((ledger.floor(5), ledger.is_past("web", 4)), (5, true));
        let stale: Vec<_> = ledger.all().filter(|(_, one)| one.is_stale()).collect();
        assert_eq!(stale, []);
    }
}

//! When a credential that was replaced is given back. Its life is tied to what was published: it
//! stands as long as any file, or the process, may still have it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use tracing::debug;

use super::unit::Target;
use super::{Delivery, Finished};
use crate::config::RestartOn;
use crate::store::{RetiredLease, fetch};

/// Where leases were delivered to, and those of them that were replaced.
#[derive(Debug, Default)]
pub(super) struct Leases {
    delivered: HashMap<String, Delivered>,
    replaced: Vec<RetiredLease>,
}

/// Where one lease was delivered to.
#[derive(Debug, Default)]
struct Delivered {
    /// Files, each with the last generation that has it.
    files: BTreeMap<PathBuf, u64>,
    /// The last revision of the variables that has it.
    revision: Option<u64>,
    /// A file beside those of generations may have it, of which nobody says when it was taken up.
    beside: bool,
}

/// Whether a lease may be given back.
#[derive(Debug, PartialEq, Eq)]
enum Use {
    /// Somebody may have it.
    Possible,
    /// Somebody may have it, who does not say when that is over: it ends by itself.
    Untold,
    /// Nobody has it.
    Over,
}

impl Leases {
    /// Notes that a template which writes other files was rendered with these.
    pub(super) fn beside(&mut self, leases: &[String]) {
        for id in leases {
            self.delivered.entry(id.clone()).or_default().beside = true;
        }
    }
}

impl Delivery {
    /// Notes which leases are in the files and variables of now.
    pub(super) fn note_leases(&mut self) {
        let delivered = &mut self.leases.delivered;
        if let Some(manifest) = self.publisher.manifest() {
            for file in &manifest.files {
                for id in &file.leases {
                    let files = &mut delivered.entry(id.clone()).or_default().files;
                    files.insert(file.destination.clone(), manifest.generation);
                }
            }
        }
        let variables = self.units.iter().filter(|unit| matches!(unit.target, Target::Variable(_)));
        for id in variables.flat_map(|unit| &unit.leases) {
            delivered.entry(id.clone()).or_default().revision = Some(self.revision);
        }
    }

    /// Gives back the credentials that were replaced and that nobody has any more.
    pub(super) fn retire_leases(&mut self) {
        let retired = self.core.take_retired();
        self.leases.replaced.extend(retired);
        let Some((_, client)) = self.client.clone() else { return };
        for lease in std::mem::take(&mut self.leases.replaced) {
            match self.use_of(&lease) {
                Use::Possible => {
                    self.leases.replaced.push(lease);
                    continue;
                }
                Use::Untold => {
                    debug!(path = lease.path, "the credential before ends by itself");
                    self.leases.delivered.remove(&lease.id);
                }
                Use::Over => {
                    self.leases.delivered.remove(&lease.id);
                    let client = client.clone();
                    self.tasks.spawn(async move {
                        let outcome = fetch::revoke(&client, &lease.id).await;
                        Finished::Revoked(lease, outcome)
                    });
                }
            }
        }
    }

    fn use_of(&self, lease: &RetiredLease) -> Use {
        let Some(delivered) = self.leases.delivered.get(&lease.id) else { return Use::Over };
        if lease.ends.is_some_and(|ends| ends <= self.clock.now()) {
            return Use::Untold;
        }
        let files = delivered.files.iter().map(|(path, last)| self.use_by_file(lease, path, *last));
        let variables = delivered.revision.map(|last| self.use_by_process(lease, last));
        let beside = delivered.beside.then_some(Use::Untold);
        let all: Vec<Use> = files.chain(variables).chain(beside).collect();
        // What is in a file is looked at until it is not: only then it is known who had it.
        [Use::Possible, Use::Untold].into_iter().find(|one| all.contains(one)).unwrap_or(Use::Over)
    }

    /// Whether a file, or somebody who has read it, may have a lease that was last in generation
    /// `last`.
    fn use_by_file(&self, lease: &RetiredLease, path: &Path, last: u64) -> Use {
        let Some(index) = self.publisher.index_of(path) else { return Use::Untold };
        let has = self.publisher.file(index).is_some_and(|file| file.leases.contains(&lease.id));
        // Where the place of the file is not as it should be, what was there before may still be.
        if has || self.publisher.placement(index).is_none() {
            return Use::Possible;
        }
        let mut users = self.consumers.kinds().filter(|(_, kind)| kind.files.contains(&index));
        let Some(first) = users.next() else { return Use::Untold };
        let users: Vec<_> = std::iter::once(first).chain(users).collect();
        if users.iter().any(|(_, kind)| !kind.acknowledges()) {
            return Use::Untold;
        }
        let ledger = &self.consumers.ledger;
        match users.iter().all(|(name, _)| ledger.is_past(name, last)) {
            true => Use::Over,
            false => Use::Possible,
        }
    }

    /// The same for the process, whose variables last had it in revision `last`.
    fn use_by_process(&self, lease: &RetiredLease, last: u64) -> Use {
        if self.units.iter().any(|unit| unit.leases.contains(&lease.id)) {
            return Use::Possible;
        }
        let restarts = self.config.exec.as_ref().map(|exec| exec.restart_on_secret_changes);
        match (restarts, self.consumers.process()) {
            (Some(RestartOn::Always), Some(process)) if process.acknowledged > last => Use::Over,
            (Some(RestartOn::Always), Some(_)) => Use::Possible,
            _ => Use::Untold,
        }
    }
}

//! The entries as they are kept: each change is on disk, then in force, then pushed.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use holdfast_barrier::{Batch, EntryError, View};
use holdfast_types::{Clock, Random, Timestamp, TrustDomain};
use tokio::sync::{oneshot, watch};

use super::registry::{InvalidEntry, Registry, check};
use crate::Entry;

/// No more entries than this are kept.
pub(super) const MAX_ENTRIES: usize = 1_000_000;
/// No more entries than this are made in one commit.
const MAX_AT_ONCE: usize = 512;

/// Why an entry was not made or removed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    /// The entry breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidEntry),
    /// Another entry says the same.
    #[error("similar entry already exists: {}", .0.id)]
    Similar(Box<Entry>),
    /// There is no such entry.
    #[error("entry {0:?} not found")]
    NotFound(String),
    /// A file made it: it would be back at the next look.
    #[error("entry {id:?} is declared in {origin}: change it there")]
    Declared {
        /// The entry.
        id: String,
        /// What made it.
        origin: String,
    },
    /// They would federate with a trust domain that nobody knows.
    #[error("cannot delete bundle of {name}; federated with {count} registration entries")]
    Federates {
        /// How many.
        count: usize,
        /// With whom.
        name: TrustDomain,
    },
    /// Entries are full.
    #[error("there are {MAX_ENTRIES} entries already")]
    Full,
    /// The store failed; nothing has changed.
    #[error("keep the entry")]
    Store(#[source] Arc<EntryError>),
    /// The server ends; whether the entry was made is not known.
    #[error("the server is ending")]
    Ending,
}

impl From<EntryError> for RegistrarError {
    fn from(error: EntryError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// What becomes of entries that federate with a trust domain whose bundle goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The bundle stays where there are some.
    Restrict,
    /// They go, too.
    Delete,
    /// They federate with it no more.
    Dissociate,
}

/// What is done to the entries that files declare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// New ones.
    pub created: usize,
    /// Changed ones.
    pub updated: usize,
    /// Those that no file declares any more.
    pub deleted: usize,
}

/// The entries and their store.
#[derive(Clone)]
pub struct Registrar(Arc<Kept>);

struct Kept {
    trust_domain: TrustDomain,
    store: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    registry: RwLock<Registry>,
    /// To be made.
    wanted: Mutex<Vec<Wanted>>,
    /// Held by whoever changes entries, from the check to the store.
    changing: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
}

/// An entry to be made, and whoever waits for it.
struct Wanted {
    entry: Entry,
    answer: oneshot::Sender<Result<Arc<Entry>, RegistrarError>>,
}

impl Registrar {
    /// Reads the entries that are stored.
    ///
    /// # Errors
    /// The store fails, or holds what is no entry.
    pub async fn open(
        store: View,
        trust_domain: TrustDomain,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, EntryError> {
        let mut registry = Registry::default();
        for id in store.scan("").await? {
            if let Some(entry) = store.get_json::<Entry>(&id).await? {
                registry.insert(Arc::new(entry));
            }
        }
        Ok(Self(Arc::new(Kept {
            trust_domain,
            store,
            clock,
            random,
            registry: RwLock::new(registry),
            wanted: Mutex::default(),
            changing: tokio::sync::Mutex::new(()),
            changes: watch::Sender::new(0),
        })))
    }

    /// Tells of every change, once it is in force.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(crate) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.0.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an entry. Its id, its age and its revision are set here; an id that is given is kept.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn create(&self, entry: Entry) -> Result<Arc<Entry>, RegistrarError> {
        let (answer, made) = oneshot::channel();
        self.0.wanted().push(Wanted { entry, answer });
        // Of those who come while a commit is under way, one makes the entries of all in the next one.
        // It is a task of its own, for whoever asked may go away in the middle of it.
        let registrar = self.clone();
        tokio::spawn(async move { registrar.create_wanted().await });
        made.await.unwrap_or(Err(RegistrarError::Ending))
    }

    async fn create_wanted(&self) {
        let _changing = self.0.changing.lock().await;
        loop {
            let mut batch = Batch::new();
            let (mut made, mut names) = (Vec::new(), HashSet::new());
            // Two of one commit might say the same: in it each identity is made once, and whoever
            // brings an id of their own comes first.
            let wanted: Vec<Wanted> = {
                let mut wanted = self.0.wanted();
                let is_new = |one: &&Wanted| {
                    names.insert(one.entry.spiffe_id.clone())
                        && (one.entry.id.is_empty() || names.len() == 1)
                };
                let count = wanted.iter().take(MAX_AT_ONCE).take_while(is_new).count();
                wanted.drain(..count).collect()
            };
            if wanted.is_empty() {
                return;
            }
            for Wanted { entry, answer } in wanted {
                match self.prepare(entry, made.len(), &mut batch) {
                    Ok(entry) => made.push((entry, answer)),
                    Err(error) => _ = answer.send(Err(error)),
                }
            }
            if made.is_empty() {
                continue;
            }
            let kept = self.0.store.commit(batch).await.map_err(Arc::new);
            if kept.is_ok() {
                self.write(|registry| {
                    made.iter().for_each(|(entry, _)| registry.insert(entry.clone()));
                });
            }
            for (entry, answer) in made {
                let outcome = kept.clone().map(|()| entry).map_err(RegistrarError::Store);
                let _ = answer.send(outcome);
            }
        }
    }

    /// Checks an entry and adds it to `batch`, in which `before` others are already.
    fn prepare(
        &self,
        mut entry: Entry,
        before: usize,
        batch: &mut Batch,
    ) -> Result<Arc<Entry>, RegistrarError> {
        entry.created = self.now();
        entry.revision = 0;
        if entry.id.is_empty() {
            entry.id = self.0.random.uuid();
        }
        check(&entry, &self.0.trust_domain)?;
        {
            let registry = self.registry();
            if let Some(known) = registry.similar(&entry).or_else(|| registry.get(&entry.id)) {
                return Err(RegistrarError::Similar(Box::new(Entry::clone(known))));
            }
            if registry.len() + before >= MAX_ENTRIES {
                return Err(RegistrarError::Full);
            }
        }
        self.0.store.batch_json(batch, &entry.id, &entry)?;
        Ok(Arc::new(entry))
    }

    /// Makes an operator's entry what `entry` says. It keeps its id and its age, so that a workload's
    /// default identity stays what it was, and is in force without a gap.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn update(&self, mut entry: Entry) -> Result<Arc<Entry>, RegistrarError> {
        let _changing = self.0.changing.lock().await;
        let known = self.operators(&entry.id)?;
        (entry.created, entry.revision) = (known.created, known.revision + 1);
        check(&entry, &self.0.trust_domain)?;
        let similar = self.registry().similar(&entry).cloned();
        if let Some(other) = similar.filter(|other| other.id != entry.id) {
            return Err(RegistrarError::Similar(Box::new(Entry::clone(&other))));
        }
        let mut batch = Batch::new();
        self.0.store.batch_json(&mut batch, &entry.id, &entry)?;
        self.0.store.commit(batch).await?;
        let entry = Arc::new(entry);
        self.write(|registry| registry.insert(entry.clone()));
        Ok(entry)
    }

    /// The entry of that id, if it is an operator's to change.
    fn operators(&self, id: &str) -> Result<Arc<Entry>, RegistrarError> {
        let known = self.registry().get(id).cloned();
        let entry = known.ok_or_else(|| RegistrarError::NotFound(id.to_owned()))?;
        if !entry.origin.is_empty() {
            let origin = entry.origin.clone();
            return Err(RegistrarError::Declared { id: id.to_owned(), origin });
        }
        Ok(entry)
    }

    /// Removes an entry that an operator made.
    ///
    /// # Errors
    /// See [`RegistrarError`].
    pub async fn delete(&self, id: &str) -> Result<Arc<Entry>, RegistrarError> {
        let _changing = self.0.changing.lock().await;
        let entry = self.operators(id)?;
        self.0.store.delete(id).await?;
        self.write(|registry| registry.remove(id));
        Ok(entry)
    }

    /// Makes the declared entries what `wanted` says, in one commit; those of operators stay. An
    /// entry keeps its age and its id as long as its origin is the same.
    ///
    /// # Errors
    /// See [`RegistrarError`]; nothing has changed then.
    pub async fn reconcile(&self, wanted: Vec<Entry>) -> Result<Reconciled, RegistrarError> {
        let _changing = self.0.changing.lock().await;
        let now = self.now();
        let mut before: BTreeMap<String, Arc<Entry>> = {
            let registry = self.registry();
            let declared = registry.iter().filter(|entry| !entry.origin.is_empty());
            declared.map(|entry| (entry.id.clone(), entry.clone())).collect()
        };
        let mut done = Reconciled::default();
        let mut batch = Batch::new();
        let mut changed = Vec::new();
        for mut entry in wanted {
            check(&entry, &self.0.trust_domain)?;
            let similar = self.registry().similar(&entry).cloned();
            if let Some(known) = similar.filter(|known| known.origin.is_empty()) {
                return Err(RegistrarError::Similar(Box::new(Entry::clone(&known))));
            }
            match before.remove(&entry.id) {
                Some(known) => {
                    entry.created = known.created;
                    entry.revision = known.revision;
                    if entry == *known {
                        continue;
                    }
                    entry.revision += 1;
                    done.updated += 1;
                }
                None => {
                    entry.created = now;
                    done.created += 1;
                }
            }
            self.0.store.batch_json(&mut batch, &entry.id, &entry)?;
            changed.push(Arc::new(entry));
        }
        for id in before.keys() {
            batch.delete(id.as_str());
            done.deleted += 1;
        }
        if batch.is_empty() {
            return Ok(done);
        }
        self.0.store.commit(batch).await?;
        self.write(|registry| {
            before.keys().for_each(|id| drop(registry.remove(id)));
            changed.into_iter().for_each(|entry| registry.insert(entry));
        });
        Ok(done)
    }

    /// Sees to the entries that federate with `name`, whose bundle is about to go.
    ///
    /// # Errors
    /// There are some, and `mode` lets them be; or one of them is declared in a file. See
    /// [`RegistrarError`]; nothing has changed then.
    pub(crate) async fn part_with(
        &self,
        name: &TrustDomain,
        mode: Parting,
    ) -> Result<usize, RegistrarError> {
        let _changing = self.0.changing.lock().await;
        let concerned: Vec<Arc<Entry>> = {
            let registry = self.registry();
            let with = registry.iter().filter(|entry| entry.federates_with.contains(name));
            with.cloned().collect()
        };
        let Some(first) = concerned.first() else { return Ok(0) };
        if mode == Parting::Restrict {
            return Err(RegistrarError::Federates { count: concerned.len(), name: name.clone() });
        }
        if let Some(declared) = concerned.iter().find(|entry| !entry.origin.is_empty()) {
            let (id, origin) = (declared.id.clone(), declared.origin.clone());
            return Err(RegistrarError::Declared { id, origin });
        }
        tracing::info!(
            first = first.id,
            count = concerned.len(),
            "entries part with a trust domain"
        );
        let mut batch = Batch::new();
        let mut changed = Vec::new();
        for entry in &concerned {
            if mode == Parting::Delete {
                batch.delete(entry.id.as_str());
                continue;
            }
            let mut entry = Entry::clone(entry);
            entry.federates_with.remove(name);
            entry.revision += 1;
            self.0.store.batch_json(&mut batch, &entry.id, &entry)?;
            changed.push(Arc::new(entry));
        }
        self.0.store.commit(batch).await?;
        self.write(|registry| {
            concerned.iter().for_each(|entry| drop(registry.remove(&entry.id)));
            changed.into_iter().for_each(|entry| registry.insert(entry));
        });
        Ok(concerned.len())
    }

    /// Removes the entries whose time is over.
    ///
    /// # Errors
    /// The store's.
    pub async fn expire(&self) -> Result<usize, RegistrarError> {
        let _changing = self.0.changing.lock().await;
        let now = self.now();
        let ended: Vec<String> = {
            let registry = self.registry();
            let ended = registry.iter().filter(|entry| entry.expires.is_some_and(|at| at <= now));
            ended.map(|entry| entry.id.clone()).collect()
        };
        if ended.is_empty() {
            return Ok(0);
        }
        let mut batch = Batch::new();
        ended.iter().for_each(|id| batch.delete(id.as_str()));
        self.0.store.commit(batch).await?;
        self.write(|registry| ended.iter().for_each(|id| drop(registry.remove(id))));
        Ok(ended.len())
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Changes what is in force, and tells of it.
    fn write<T>(&self, change: impl FnOnce(&mut Registry) -> T) {
        change(&mut self.0.registry.write().unwrap_or_else(PoisonError::into_inner));
        self.0.changes.send_modify(|count| *count += 1);
    }
}

impl Kept {
    fn wanted(&self) -> MutexGuard<'_, Vec<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

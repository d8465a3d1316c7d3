//! Who is behind a token: entities, their names in login methods, and groups of them.
//!
//! Under `sys/identity/`; names are kept as hashes, see [`keys`]:
//!
//! | key | value |
//! |---|---|
//! | `entity/<id>`, `group/<id>` | the records |
//! | `entity-name/<name>`, `group-name/<name>` | the id: names are unique, without regard to case |
//! | `entity-alias/<accessor>/<name>`, `group-alias/...` | the id of whom a login means |
//! | `entity-alias-id/<id>`, `group-alias-id/<id>` | the id of whose alias it is |
//! | `groups-of/<entity>/<group>`, `members/<group>/<entity>` | empty: who is in what |
//! | `children/<group>/<group>` | empty: what groups are in a group |
//! | `merged/<entity>` | the entity that it was merged into |
//!
//! `oidc/` holds identity tokens, see [`oidc`].
//!
//! No request and no login looks at more than the entity, its groups and the groups above those;
//! lists do.
//!
//! **Invariant**: all changes go through [`change::Change`], one at a time, each in one batch with
//! its indexes; what is kept in memory of it is forgotten before the change is answered. So a
//! disabled entity, a left group or another policy holds with the next request.

mod aliases;
mod change;
mod entities;
mod group_aliases;
mod groups;
mod keys;
mod login;
mod merge;
mod metadata;
mod oidc;
mod paths;
mod record;
mod routes;
#[cfg(test)]
mod tests;
mod who;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_barrier::{EntryError, View};
use holdfast_types::{Clock, Random};
use tokio::sync::RwLock;

pub(crate) use self::login::{LoginName, no_metadata};
pub(crate) use self::oidc::Oidc;
pub(crate) use self::paths::{exists, handle, special_paths};
use self::record::{EntityRecord, GroupRecord};
pub(crate) use self::routes::ROUTES;
pub(crate) use self::who::Who;

/// Entities, and names, that are kept in memory.
const KEPT: u64 = 8192;

/// All entities and groups.
pub(crate) struct Identity {
    store: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Held alone over each change, and shared while something is read to be kept.
    lock: RwLock<()>,
    /// By the id that tokens carry.
    known: moka::sync::Cache<String, Arc<Who>>,
    /// From `<mount's accessor>/<name>` to the ids of entities: a hint, checked against `known`.
    aliases: moka::sync::Cache<String, String>,
    /// From `<mount's accessor>/<name>` to the ids of groups, as of an epoch.
    group_names: moka::sync::Cache<String, (u64, Option<String>)>,
    /// Grows when what a group grants changes.
    epoch: AtomicU64,
    serial: AtomicU64,
    nobody: Arc<Who>,
    pub(crate) oidc: Oidc,
}

impl Identity {
    pub(crate) fn new(
        root: &View,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        api_addr: &str,
    ) -> Self {
        let store = root.sub("sys/identity/");
        Self {
            oidc: Oidc::new(&store, clock.clone(), random.clone(), api_addr),
            store,
            clock,
            random,
            lock: RwLock::new(()),
            known: moka::sync::Cache::new(KEPT),
            aliases: moka::sync::Cache::new(KEPT),
            group_names: moka::sync::Cache::new(KEPT),
            epoch: AtomicU64::new(0),
            serial: AtomicU64::new(1),
            nobody: who::nobody(),
        }
    }

    async fn entity(&self, id: &str) -> Result<Option<EntityRecord>, EntryError> {
        self.store.get_json(&keys::entity(id)).await
    }

    async fn group(&self, id: &str) -> Result<Option<GroupRecord>, EntryError> {
        self.store.get_json(&keys::group(id)).await
    }

    /// The ids of all entities.
    pub(crate) async fn ids(&self) -> Result<Vec<String>, EntryError> {
        self.store.list("entity/").await
    }

    /// What an index says.
    async fn id_at(&self, key: &str) -> Result<Option<String>, EntryError> {
        self.store.get_json(key).await
    }

    async fn members(&self, group: &str) -> Result<Vec<String>, EntryError> {
        self.store.list(&keys::members(group)).await
    }

    async fn children(&self, group: &str) -> Result<Vec<String>, EntryError> {
        self.store.list(&keys::children(group)).await
    }

    /// The group that a name at a mount stands for. A login method may find a hundred names of
    /// which few are known here, so that the unknown are kept too.
    async fn group_of_alias(
        &self,
        accessor: &str,
        name: &str,
    ) -> Result<Option<String>, EntryError> {
        let short = format!("{accessor}/{}", record::folded(name));
        let epoch = self.epoch.load(Ordering::SeqCst);
        if let Some((at, id)) = self.group_names.get(&short)
            && at == epoch
        {
            return Ok(id);
        }
        let id = self.id_at(&keys::group_alias(accessor, name)).await?;
        // Under the epoch from before the reading: a change in between makes it stale, not wrong.
        self.group_names.insert(short, (epoch, id.clone()));
        Ok(id)
    }

    /// `entity_1a2b3c4d.root`, as OpenBao names what nobody named.
    fn made_name(&self, kind: &str) -> String {
        format!("{kind}_{}.root", &self.random.uuid()[..8])
    }

    fn new_entity(&self) -> EntityRecord {
        let now = self.clock.now();
        EntityRecord {
            id: self.random.uuid(),
            name: self.made_name("entity"),
            created: now,
            updated: now,
            metadata: Default::default(),
            aliases: Vec::new(),
            policies: Vec::new(),
            disabled: false,
            merged: Vec::new(),
        }
    }
}

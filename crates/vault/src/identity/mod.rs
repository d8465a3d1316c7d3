//! Who is behind a token: one entity for each alias, that is, for each name in a login method.
//!
//! Under `sys/identity/`: `entity/<id>` holds an [`EntityRecord`]; `alias/<mount's accessor>/<hash
//! of the name>` the entity's id; `name/<entity's name>` the same.
//!
//! Entities come to be by logging in. Joining and naming them by request is not there yet.

mod paths;
mod routes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use holdfast_barrier::{Batch, EntryError, View};
use holdfast_logical::{Error, MountInfo};
use holdfast_types::{Clock, Random, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

pub(crate) use self::paths::handle;
pub(crate) use self::routes::ROUTES;

/// Entities kept in memory.
const CACHE: u64 = 4096;

/// An entity as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct EntityRecord {
    id: String,
    name: String,
    created: Timestamp,
    updated: Timestamp,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    aliases: Vec<AliasRecord>,
}

/// One of its names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AliasRecord {
    id: String,
    mount_accessor: String,
    mount_path: String,
    mount_type: String,
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    created: Timestamp,
    updated: Timestamp,
}

/// All entities.
pub(crate) struct Identity {
    store: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    change: Mutex<()>,
    /// By their ids. Changed only under `change`, after the store.
    kept: moka::sync::Cache<String, Arc<EntityRecord>>,
    /// From `<mount's accessor>/<name>` to ids.
    aliases: moka::sync::Cache<String, String>,
    state: AtomicU64,
}

impl Identity {
    pub(crate) fn new(root: &View, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            store: root.sub("sys/identity/"),
            clock,
            random,
            change: Mutex::new(()),
            kept: moka::sync::Cache::new(CACHE),
            aliases: moka::sync::Cache::new(CACHE),
            state: AtomicU64::new(0),
        }
    }

    /// A number that changes when an entity that was there changes.
    pub(crate) fn state(&self) -> u64 {
        self.state.load(Ordering::SeqCst)
    }

    /// The id of the entity that `name` at `mount` stands for, made at the first login. Metadata
    /// of the alias is kept as the last login gave it.
    pub(crate) async fn of_alias(
        &self,
        mount: &MountInfo,
        name: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<String, Error> {
        let short = format!("{}/{name}", mount.accessor);
        if let Some(id) = self.aliases.get(&short)
            && let Some(entity) = self.entity(&id).await?
            && entity.aliases.iter().any(|alias| {
                alias.mount_accessor == mount.accessor
                    && alias.name == name
                    && alias.metadata == *metadata
            })
        {
            return Ok(id);
        }
        let _change = self.change.lock().await;
        let key = alias_key(&mount.accessor, name);
        let id = match self.store.get_json::<String>(&key).await? {
            Some(id) => {
                self.update_alias(&id, &mount.accessor, name, metadata).await?;
                id
            }
            None => self.create(mount, name, metadata).await?,
        };
        self.aliases.insert(short, id.clone());
        Ok(id)
    }

    /// What templates of a policy are filled with.
    pub(crate) async fn for_templates(
        &self,
        entity_id: &str,
    ) -> Result<holdfast_policy::Identity, EntryError> {
        if entity_id.is_empty() {
            return Ok(holdfast_policy::Identity::default());
        }
        let entity = self.entity(entity_id).await?.map(|record| holdfast_policy::Entity {
            id: record.id.clone(),
            name: record.name.clone(),
            metadata: record.metadata.clone(),
            aliases: record
                .aliases
                .iter()
                .map(|alias| holdfast_policy::Alias {
                    mount_accessor: alias.mount_accessor.clone(),
                    id: alias.id.clone(),
                    name: alias.name.clone(),
                    metadata: alias.metadata.clone(),
                    custom_metadata: BTreeMap::new(),
                })
                .collect(),
        });
        Ok(holdfast_policy::Identity { entity, groups: Vec::new() })
    }

    async fn entity(&self, id: &str) -> Result<Option<Arc<EntityRecord>>, EntryError> {
        if let Some(entity) = self.kept.get(id) {
            return Ok(Some(entity));
        }
        let Some(entity) = self.store.get_json(&format!("entity/{id}")).await? else {
            return Ok(None);
        };
        let entity = Arc::new(entity);
        // Not over what a change wrote meanwhile.
        Ok(Some(self.kept.entry(id.to_owned()).or_insert(entity).into_value()))
    }

    async fn by_name(&self, name: &str) -> Result<Option<Arc<EntityRecord>>, EntryError> {
        match self.store.get_json::<String>(&format!("name/{name}")).await? {
            Some(id) => self.entity(&id).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn ids(&self) -> Result<Vec<String>, EntryError> {
        self.store.list("entity/").await
    }

    async fn create(
        &self,
        mount: &MountInfo,
        name: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<String, Error> {
        let now = self.clock.now();
        let id = self.random.uuid();
        let entity = EntityRecord {
            name: format!("entity_{}", &self.random.uuid()[..8]),
            created: now,
            updated: now,
            metadata: BTreeMap::new(),
            aliases: vec![AliasRecord {
                id: self.random.uuid(),
                mount_accessor: mount.accessor.clone(),
                mount_path: mount.path.clone(),
                mount_type: mount.kind.clone(),
                name: name.to_owned(),
                metadata: metadata.clone(),
                created: now,
                updated: now,
            }],
            id: id.clone(),
        };
        let mut batch = Batch::new();
        self.store.batch_json(&mut batch, &format!("entity/{id}"), &entity)?;
        self.store.batch_json(&mut batch, &alias_key(&mount.accessor, name), &id)?;
        self.store.batch_json(&mut batch, &format!("name/{}", entity.name), &id)?;
        self.store.commit(batch).await?;
        self.kept.insert(id.clone(), Arc::new(entity));
        Ok(id)
    }

    async fn update_alias(
        &self,
        id: &str,
        accessor: &str,
        name: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let Some(entity) = self.entity(id).await? else { return Ok(()) };
        let mut entity = entity.as_ref().clone();
        let now = self.clock.now();
        let found = entity
            .aliases
            .iter_mut()
            .find(|alias| alias.mount_accessor == accessor && alias.name == name);
        let Some(alias) = found.filter(|alias| alias.metadata != *metadata) else { return Ok(()) };
        alias.metadata = metadata.clone();
        alias.updated = now;
        entity.updated = now;
        self.store.put_json(&format!("entity/{id}"), &entity).await?;
        self.kept.insert(id.to_owned(), Arc::new(entity));
        self.state.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Names hold anything, slashes too, so that they are hashed.
fn alias_key(accessor: &str, name: &str) -> String {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    format!("alias/{accessor}/{}", hex::encode(hash.as_ref()))
}

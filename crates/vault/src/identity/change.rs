//! One change of the identity store: what it writes, with all indexes, in one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use holdfast_barrier::Batch;
use holdfast_logical::Error;
use tokio::sync::RwLockWriteGuard;

use super::record::{AliasRecord, EntityRecord, GroupRecord, folded};
use super::{Identity, keys};

/// A change under way. Nobody else changes anything until it is committed or dropped; dropped, it
/// never was.
pub(super) struct Change<'i> {
    pub(super) identity: &'i Identity,
    _alone: RwLockWriteGuard<'i, ()>,
    batch: Batch,
    /// What this change wrote already. None: removed.
    entities: BTreeMap<String, Option<EntityRecord>>,
    groups: BTreeMap<String, Option<GroupRecord>>,
    /// Entities whose groups or merging changed.
    touched: BTreeSet<String>,
    /// Whether what groups grant changed, for whomever.
    regrouped: bool,
}

impl Identity {
    /// Begins a change.
    pub(super) async fn change(&self) -> Change<'_> {
        Change {
            identity: self,
            _alone: self.lock.write().await,
            batch: Batch::new(),
            entities: BTreeMap::new(),
            groups: BTreeMap::new(),
            touched: BTreeSet::new(),
            regrouped: false,
        }
    }
}

impl Change<'_> {
    /// The entity as this change has it.
    pub(super) async fn entity(&self, id: &str) -> Result<Option<EntityRecord>, Error> {
        match self.entities.get(id) {
            Some(written) => Ok(written.clone()),
            None => Ok(self.identity.store.get_json(&keys::entity(id)).await?),
        }
    }

    /// The group as this change has it.
    pub(super) async fn group(&self, id: &str) -> Result<Option<GroupRecord>, Error> {
        match self.groups.get(id) {
            Some(written) => Ok(written.clone()),
            None => Ok(self.identity.store.get_json(&keys::group(id)).await?),
        }
    }

    /// Writes an entity in place of `old`, with its names.
    pub(super) fn put_entity(
        &mut self,
        old: Option<&EntityRecord>,
        new: EntityRecord,
    ) -> Result<(), Error> {
        let old_name = old.map(|old| folded(&old.name));
        if old_name.as_ref() != Some(&folded(&new.name)) {
            if let Some(name) = &old_name {
                self.batch.delete(keys::entity_name(name));
            }
            self.index(&keys::entity_name(&new.name), &new.id)?;
        }
        let before = old.map(|old| old.aliases.as_slice()).unwrap_or_default();
        for gone in before.iter().filter(|alias| !has_key(&new.aliases, alias)) {
            self.drop_entity_alias(gone);
        }
        for alias in &new.aliases {
            // Written though it may be there: it may come from another entity in this very change.
            self.index(&keys::entity_alias(&alias.mount_accessor, &alias.name), &new.id)?;
            self.index(&keys::entity_alias_id(&alias.id), &new.id)?;
        }
        let store = &self.identity.store;
        store.batch_json(&mut self.batch, &keys::entity(&new.id), &new)?;
        self.touched.insert(new.id.clone());
        self.entities.insert(new.id.clone(), Some(new));
        Ok(())
    }

    /// Removes an entity with its names; not yet from its groups.
    pub(super) fn drop_entity(&mut self, old: &EntityRecord) {
        self.batch.delete(keys::entity(&old.id));
        self.batch.delete(keys::entity_name(&old.name));
        for alias in &old.aliases {
            self.drop_entity_alias(alias);
        }
        for merged in &old.merged {
            self.batch.delete(keys::merged(merged));
            self.touched.insert(merged.clone());
        }
        self.touched.insert(old.id.clone());
        self.entities.insert(old.id.clone(), None);
    }

    /// Makes the tokens of `from` those of `to`.
    pub(super) fn merge(&mut self, from: &str, to: &str) -> Result<(), Error> {
        self.touched.insert(from.to_owned());
        self.index(&keys::merged(from), to)
    }

    /// Writes a group in place of `old`, with its names and its place in other groups. Its times
    /// and its number of changes are set here.
    pub(super) fn put_group(
        &mut self,
        old: Option<&GroupRecord>,
        mut new: GroupRecord,
    ) -> Result<(), Error> {
        new.modify_index += 1;
        new.updated = self.identity.clock.now();
        let old_name = old.map(|old| folded(&old.name));
        if old_name.as_ref() != Some(&folded(&new.name)) {
            if let Some(name) = &old_name {
                self.batch.delete(keys::group_name(name));
            }
            self.index(&keys::group_name(&new.name), &new.id)?;
        }
        if let Some(alias) = old.and_then(|old| old.alias.as_ref()) {
            self.drop_group_alias(alias);
        }
        if let Some(alias) = &new.alias {
            self.index(&keys::group_alias(&alias.mount_accessor, &alias.name), &new.id)?;
            self.index(&keys::group_alias_id(&alias.id), &new.id)?;
        }
        for parent in old.map(GroupRecord::parents).unwrap_or_default() {
            self.batch.delete(format!("{}{}", keys::children(parent), new.id));
        }
        for parent in new.parents() {
            self.batch.put(format!("{}{}", keys::children(parent), new.id), Vec::new());
        }
        self.regrouped |= old.is_none_or(|old| {
            let same = |a: &GroupRecord, b: &GroupRecord| {
                (&a.name, &a.metadata, &a.policies, &a.parents, &a.alias)
                    == (&b.name, &b.metadata, &b.policies, &b.parents, &b.alias)
            };
            !same(old, &new)
        });
        let store = &self.identity.store;
        store.batch_json(&mut self.batch, &keys::group(&new.id), &new)?;
        self.groups.insert(new.id.clone(), Some(new));
        Ok(())
    }

    /// Removes a group with its names, its members' memberships and its place in other groups.
    /// The groups in it are the caller's to change.
    pub(super) async fn drop_group(&mut self, old: &GroupRecord) -> Result<(), Error> {
        self.batch.delete(keys::group(&old.id));
        self.batch.delete(keys::group_name(&old.name));
        if let Some(alias) = &old.alias {
            self.drop_group_alias(alias);
        }
        for parent in old.parents() {
            self.batch.delete(format!("{}{}", keys::children(parent), old.id));
        }
        for entity in self.identity.members(&old.id).await? {
            self.leave(&entity, &old.id);
        }
        self.regrouped = true;
        self.groups.insert(old.id.clone(), None);
        Ok(())
    }

    /// Puts an entity into a group. The group's own record is the caller's to write.
    pub(super) fn join(&mut self, entity: &str, group: &str) {
        self.batch.put(format!("{}{entity}", keys::members(group)), Vec::new());
        self.batch.put(format!("{}{group}", keys::groups_of(entity)), Vec::new());
        self.touched.insert(entity.to_owned());
    }

    /// Takes an entity out of a group. The group's own record is the caller's to write.
    pub(super) fn leave(&mut self, entity: &str, group: &str) {
        self.batch.delete(format!("{}{entity}", keys::members(group)));
        self.batch.delete(format!("{}{group}", keys::groups_of(entity)));
        self.touched.insert(entity.to_owned());
    }

    /// Writes everything, and lets it be seen.
    pub(super) async fn commit(self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let identity = self.identity;
        let done = identity.store.commit(self.batch).await;
        // Also where it failed: whether it is on disk is not known then.
        for id in &self.touched {
            identity.known.invalidate(id);
        }
        if self.regrouped {
            identity.epoch.fetch_add(1, Ordering::SeqCst);
        }
        Ok(done?)
    }

    fn index(&mut self, key: &str, id: &str) -> Result<(), Error> {
        Ok(self.identity.store.batch_json(&mut self.batch, key, id)?)
    }

    fn drop_entity_alias(&mut self, alias: &AliasRecord) {
        self.batch.delete(keys::entity_alias(&alias.mount_accessor, &alias.name));
        self.batch.delete(keys::entity_alias_id(&alias.id));
    }

    fn drop_group_alias(&mut self, alias: &AliasRecord) {
        self.batch.delete(keys::group_alias(&alias.mount_accessor, &alias.name));
        self.batch.delete(keys::group_alias_id(&alias.id));
    }
}

/// Whether an alias of the same id and the same key is among `aliases`.
fn has_key(aliases: &[AliasRecord], alias: &AliasRecord) -> bool {
    aliases.iter().any(|other| other.id == alias.id && other.is(&alias.mount_accessor, &alias.name))
}

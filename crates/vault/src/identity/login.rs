//! What a login changes: its entity is made at the first one, its alias's metadata kept as the
//! last one gave it, and the external groups it is in set to those that the method found.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_logical::{Error, MountInfo};

use super::record::{AliasRecord, EntityRecord, GroupKind, Metadata, folded};
use super::{Identity, keys};
use crate::identity::change::Change;

/// Who logged in, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginName<'a> {
    pub mount: &'a MountInfo,
    /// Whether the mount is one that is not replicated.
    pub local: bool,
    pub name: &'a str,
    pub metadata: &'a Metadata,
    /// The names of the groups that the method found.
    pub groups: &'a [String],
}

impl Identity {
    /// The id of the entity that logs in. What this changes is written in one batch; a login like
    /// the last one writes nothing, and reads nothing that is not in memory.
    ///
    /// # Errors
    /// 403 where the entity is disabled: nothing was changed then.
    pub(crate) async fn log_in(&self, login: LoginName<'_>) -> Result<String, Error> {
        let LoginName { mount, name, .. } = login;
        let short = format!("{}/{}", mount.accessor, folded(name));
        if let Some(id) = self.aliases.get(&short) {
            let who = self.who(&id).await?;
            if let Some(entity) = &who.entity
                && entity
                    .aliases
                    .iter()
                    .any(|alias| alias.is(&mount.accessor, name) && !is_news(alias, &login))
                && self.external(&login).await? == who.external(&mount.accessor)
            {
                return if who.is_good() { Ok(entity.id.clone()) } else { Err(Error::Denied) };
            }
        }
        let mut change = self.change().await;
        let key = keys::entity_alias(&mount.accessor, name);
        let known = self.store.get_json::<String>(&key).await?;
        let known = match &known {
            Some(id) => change.entity(id).await?,
            None => None,
        };
        let id = match known {
            Some(entity) if entity.disabled => return Err(Error::Denied),
            Some(entity) => {
                note_metadata(&mut change, &entity, &login)?;
                entity.id
            }
            None => self.first_login(&mut change, &login).await?,
        };
        self.set_external(&mut change, &id, &login).await?;
        change.commit().await?;
        self.aliases.insert(short, id.clone());
        Ok(id)
    }

    /// Sets the external groups of `entity` to those that a renewal still finds.
    pub(crate) async fn renew_groups(
        &self,
        entity: &str,
        mount: &MountInfo,
        groups: &[String],
    ) -> Result<(), Error> {
        let metadata = Metadata::new();
        let login = LoginName { mount, local: false, name: "", metadata: &metadata, groups };
        let who = self.who(entity).await?;
        let Some(record) = &who.entity else { return Ok(()) };
        if self.external(&login).await? == who.external(&mount.accessor) {
            return Ok(());
        }
        let mut change = self.change().await;
        self.set_external(&mut change, &record.id, &login).await?;
        change.commit().await
    }

    /// The ids of the external groups that the names a login found stand for.
    async fn external(&self, login: &LoginName<'_>) -> Result<BTreeSet<String>, Error> {
        let mut ids = BTreeSet::new();
        for name in login.groups {
            ids.extend(self.group_of_alias(&login.mount.accessor, name).await?);
        }
        Ok(ids)
    }

    async fn first_login(
        &self,
        change: &mut Change<'_>,
        login: &LoginName<'_>,
    ) -> Result<String, Error> {
        let now = self.clock.now();
        let alias = AliasRecord {
            id: self.random.uuid(),
            mount_accessor: login.mount.accessor.clone(),
            name: login.name.to_owned(),
            metadata: login.metadata.clone(),
            custom_metadata: None,
            created: now,
            updated: now,
            local: login.local,
            merged_from: Vec::new(),
        };
        let entity = EntityRecord { aliases: vec![alias], ..self.new_entity() };
        let id = entity.id.clone();
        change.put_entity(None, entity)?;
        Ok(id)
    }

    async fn set_external(
        &self,
        change: &mut Change<'_>,
        entity: &str,
        login: &LoginName<'_>,
    ) -> Result<(), Error> {
        let accessor = &login.mount.accessor;
        let wanted = self.external(login).await?;
        for group in self.store.list(&keys::groups_of(entity)).await? {
            let Some(record) = change.group(&group).await? else { continue };
            // One of another mount is that mount's to say; one that lost its alias is nobody's.
            let elsewhere = record.alias.as_ref().is_some_and(|a| a.mount_accessor != *accessor);
            if record.kind == GroupKind::External && !elsewhere && !wanted.contains(&group) {
                change.leave(entity, &group);
                change.put_group(Some(&record.clone()), record)?;
            }
        }
        for group in wanted {
            let member = format!("{}{group}", keys::groups_of(entity));
            if self.store.get(&member).await?.is_some() {
                continue;
            }
            let Some(mut record) = change.group(&group).await? else { continue };
            let old = record.clone();
            record.had_members = true;
            change.join(entity, &group);
            change.put_group(Some(&old), record)?;
        }
        Ok(())
    }
}

impl super::Who {
    /// The external groups that logins at a mount are to set: its own, and those without an alias.
    fn external(&self, accessor: &str) -> BTreeSet<String> {
        let own = |alias: Option<&AliasRecord>| alias.is_none_or(|a| a.mount_accessor == accessor);
        let external = self.direct.iter().filter(|(_, group)| group.kind == GroupKind::External);
        external.filter(|(_, group)| own(group.alias.as_ref())).map(|(id, _)| id.clone()).collect()
    }
}

/// Whether a login has other metadata than the alias. One whose name differs by case alone has
/// nothing to say of it, as in OpenBao.
fn is_news(alias: &AliasRecord, login: &LoginName<'_>) -> bool {
    alias.name == login.name && alias.metadata != *login.metadata
}

/// Keeps the alias's metadata as this login gives it.
fn note_metadata(
    change: &mut Change<'_>,
    entity: &EntityRecord,
    login: &LoginName<'_>,
) -> Result<(), Error> {
    let mut new = entity.clone();
    let now = change.identity.clock.now();
    let found = new.aliases.iter_mut().find(|a| a.is(&login.mount.accessor, login.name));
    let Some(alias) = found.filter(|alias| is_news(alias, login)) else {
        return Ok(());
    };
    alias.metadata = login.metadata.clone();
    alias.updated = now;
    new.updated = now;
    change.put_entity(Some(entity), new)
}

/// No metadata at all.
pub(crate) fn no_metadata() -> &'static BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    &NONE
}

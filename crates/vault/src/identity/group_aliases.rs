//! Group aliases by request: by what name a login method knows an external group.

use holdfast_logical::{Error, Response};
use serde_json::{Map, json};

use super::aliases::no_mount;
use super::change::Change;
use super::entities::listed;
use super::keys;
use super::paths::{Ask, alias_in_list, show_alias};
use super::record::{AliasRecord, GroupKind, GroupRecord, Metadata};
use crate::core::answer::Answer;

/// `POST group-alias` and `group-alias/id/<id>`.
pub(super) async fn write(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let mut change = identity.change().await;
    let mut from = None;
    if ask.fields().has("id") {
        let id = ask.text("id")?;
        if id.is_empty() {
            return Err(Error::invalid("empty group alias ID"));
        }
        let found = find(&change, &id).await?;
        from = Some(found.ok_or_else(|| Error::invalid("invalid group alias ID"))?);
    }
    let name = ask.text("name")?;
    if name.is_empty() {
        return Err(Error::invalid("missing alias name"));
    }
    let accessor = ask.text("mount_accessor")?;
    if accessor.is_empty() {
        return Err(Error::invalid("missing mount_accessor"));
    }
    let canonical = ask.text("canonical_id")?;
    if let Some((group, alias)) = &from
        && alias.name == name
        && alias.mount_accessor == accessor
        && (canonical.is_empty() || canonical == group.id)
    {
        return Ok(Answer::none());
    }
    let mut to = None;
    if !canonical.is_empty() {
        let group = change.group(&canonical).await?;
        let group =
            group.ok_or_else(|| Error::invalid("invalid group ID given in 'canonical_id'"))?;
        if group.kind != GroupKind::External {
            return Err(Error::invalid("alias can't be set on an internal group"));
        }
        to = Some(group);
    }
    match ask.mount_is_local(&accessor) {
        None => return Err(no_mount(&accessor)),
        Some(true) => {
            return Err(Error::invalid(format!("mount accessor {accessor:?} is a local mount")));
        }
        Some(false) => {}
    }
    let taken = identity.id_at(&keys::group_alias(&accessor, &name)).await?.is_some();
    let own = |alias: &AliasRecord| alias.is(&accessor, &name);
    if taken && !from.as_ref().is_some_and(|(_, alias)| own(alias)) {
        return Err(Error::invalid("combination of mount and group alias name is already in use"));
    }
    let now = identity.clock.now();
    let alias = match &from {
        Some((_, alias)) => {
            AliasRecord { name, mount_accessor: accessor, updated: now, ..alias.clone() }
        }
        None => AliasRecord {
            id: identity.random.uuid(),
            mount_accessor: accessor,
            name,
            metadata: Metadata::new(),
            custom_metadata: None,
            created: now,
            updated: now,
            local: false,
            merged_from: Vec::new(),
        },
    };
    let id = alias.id.clone();
    let from = from.map(|(group, _)| group);
    let old = match (to, from) {
        (Some(to), Some(from)) if to.id != from.id => {
            change.put_group(Some(&from), GroupRecord { alias: None, ..from.clone() })?;
            Some(to)
        }
        (Some(group), _) | (None, Some(group)) => Some(group),
        (None, None) => None,
    };
    let group = old.clone().unwrap_or_else(|| identity.new_group(GroupKind::External));
    let made = json!({ "id": id, "canonical_id": group.id });
    change.put_group(old.as_ref(), GroupRecord { alias: Some(alias), ..group })?;
    change.commit().await?;
    Ok(Response::data(made).into())
}

/// The group that has the alias of that id, and the alias.
async fn find(change: &Change<'_>, id: &str) -> Result<Option<(GroupRecord, AliasRecord)>, Error> {
    let Some(group) = change.identity.id_at(&keys::group_alias_id(id)).await? else {
        return Ok(None);
    };
    let Some(group) = change.group(&group).await? else { return Ok(None) };
    Ok(group.alias.clone().filter(|alias| alias.id == id).map(|alias| (group, alias)))
}

/// `GET group-alias/id/<id>`.
pub(super) async fn read(ask: &Ask<'_>, id: &str) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let Some(group) = identity.id_at(&keys::group_alias_id(id)).await? else {
        return Ok(Answer::none());
    };
    let group = identity.group(&group).await?;
    let mounts = ask.vault.mounts.by_accessor();
    Ok(group
        .and_then(|group| Some((group.alias?, group.id)))
        .map(|(alias, group)| {
            let mut shown = show_alias(&alias, &group, &mounts);
            shown["namespace_id"] = json!("root");
            Response::data(shown)
        })
        .into())
}

/// `DELETE group-alias/id/<id>`. One that is not there is no error.
pub(super) async fn delete(ask: &Ask<'_>, id: &str) -> Result<Answer, Error> {
    let mut change = ask.vault.identity.change().await;
    if let Some((group, _)) = find(&change, id).await? {
        change.put_group(Some(&group), GroupRecord { alias: None, ..group.clone() })?;
        change.commit().await?;
    }
    Ok(Answer::none())
}

/// `LIST group-alias/id`.
pub(super) async fn list(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let mounts = ask.vault.mounts.by_accessor();
    let mut ids = Vec::new();
    let mut info = Map::new();
    for id in identity.store.list("group-alias-id/").await? {
        let Some(group) = identity.id_at(&keys::group_alias_id(&id)).await? else { continue };
        let Some(record) = identity.group(&group).await? else { continue };
        let Some(alias) = record.alias else { continue };
        info.insert(id.clone(), alias_in_list(&alias, &group, &mounts));
        ids.push(id);
    }
    Ok(listed(ids, info))
}

//! Groups by request.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_logical::{Error, Response};
use serde_json::{Map, json};

use super::change::Change;
use super::entities::{Query, checked_policies, listed};
use super::paths::{Ask, show_alias, show_group};
use super::record::{GroupKind, GroupRecord, Metadata};
use super::{Identity, keys, metadata};
use crate::core::answer::{Answer, one_error};

/// `POST group`, `group/id/<id>` and `group/name/<name>`: makes a group, or changes the one that
/// the id or the name says.
pub(super) async fn write(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let fields = ask.fields();
    let (id, name) = (ask.text("id")?, ask.text("name")?);
    let mut change = identity.change().await;
    let old = if fields.has("id") {
        if id.is_empty() {
            return Err(Error::invalid("empty group ID"));
        }
        let found = change.group(&id).await?;
        Some(found.ok_or_else(|| Error::invalid("invalid group ID"))?)
    } else if fields.has("name") {
        if name.is_empty() {
            return Err(Error::invalid("empty group name"));
        }
        match identity.id_at(&keys::group_name(&name)).await? {
            Some(id) => change.group(&id).await?,
            None => None,
        }
    } else {
        None
    };
    let mut group = old.clone().unwrap_or_else(|| identity.new_group(GroupKind::Internal));
    if let Some(policies) = fields.strings("policies")? {
        group.policies = Some(checked_policies(&policies)?);
    }
    if let Some(kind) = fields.string("type")? {
        let wanted = match kind.as_str() {
            "internal" => Some(GroupKind::Internal),
            "external" => Some(GroupKind::External),
            _ => None,
        };
        if old.as_ref().is_some_and(|old| Some(old.kind) != wanted) {
            return Err(Error::invalid("group type cannot be changed"));
        }
        if let Some(wanted) = wanted {
            group.kind = wanted;
        } else if !kind.is_empty() {
            return Err(Error::invalid(format!("invalid group type {kind:?}")));
        }
    }
    if !name.is_empty() {
        let named = identity.id_at(&keys::group_name(&name)).await?;
        if named.is_some_and(|named| named != group.id) {
            return Err(Error::invalid("group name is already in use"));
        }
        group.name = name;
    }
    if let Some(new) = fields.string_map("metadata")? {
        group.metadata = new;
    }
    let entities = fields.strings("member_entity_ids")?;
    let groups = fields.strings("member_group_ids")?;
    if group.kind == GroupKind::External {
        if entities.is_some() {
            return Err(Error::invalid(
                "member entities can't be set manually for external groups",
            ));
        }
        if groups.is_some() {
            return Err(Error::invalid("member groups can't be set for external groups"));
        }
    }
    metadata::check("group", &group.metadata)?;
    if let Some(entities) = entities {
        group.had_members = true;
        set_members(&mut change, &group.id, entities).await?;
    }
    if let Some(groups) = groups {
        set_children(&mut change, &group, groups).await?;
    }
    let made = json!({ "id": group.id, "name": group.name });
    // What setting its children wrote of it comes first.
    change.put_group(old.as_ref(), group)?;
    change.commit().await?;
    Ok(if old.is_none() { Response::data(made).into() } else { Answer::none() })
}

impl Identity {
    pub(super) fn new_group(&self, kind: GroupKind) -> GroupRecord {
        let now = self.clock.now();
        GroupRecord {
            id: self.random.uuid(),
            name: self.made_name("group"),
            kind,
            created: now,
            updated: now,
            metadata: Metadata::new(),
            policies: None,
            parents: None,
            had_members: false,
            alias: None,
            modify_index: 0,
        }
    }
}

async fn set_members(
    change: &mut Change<'_>,
    group: &str,
    wanted: Vec<String>,
) -> Result<(), Error> {
    let present: BTreeSet<_> = change.identity.members(group).await?.into_iter().collect();
    let wanted: BTreeSet<_> = wanted.into_iter().collect();
    for id in wanted.difference(&present) {
        if change.entity(id).await?.is_none() {
            return Err(one_error(400, &format!("invalid entity ID {id:?}")));
        }
        change.join(id, group);
    }
    for id in present.difference(&wanted) {
        change.leave(id, group);
    }
    Ok(())
}

async fn set_children(
    change: &mut Change<'_>,
    group: &GroupRecord,
    wanted: Vec<String>,
) -> Result<(), Error> {
    let present: BTreeSet<_> = change.identity.children(&group.id).await?.into_iter().collect();
    let wanted: BTreeSet<_> = wanted.into_iter().collect();
    let above = above(change, group).await?;
    for id in wanted.difference(&present) {
        let child = change.group(id).await?;
        if *id == group.id {
            return Err(one_error(
                400,
                &format!("member group ID {id:?} is same as the ID of the group"),
            ));
        }
        let old =
            child.ok_or_else(|| one_error(400, &format!("invalid member group ID {id:?}")))?;
        if above.contains(id) {
            return Err(Error::invalid(format!(
                "cyclic relationship detected for member group ID {id:?}"
            )));
        }
        let mut new = old.clone();
        new.parents.get_or_insert_default().push(group.id.clone());
        change.put_group(Some(&old), new)?;
    }
    for id in present.difference(&wanted) {
        orphan(change, id, &group.id).await?;
    }
    Ok(())
}

/// Takes the group `id` out of the group `parent`.
async fn orphan(change: &mut Change<'_>, id: &str, parent: &str) -> Result<(), Error> {
    let Some(old) = change.group(id).await? else { return Ok(()) };
    let mut new = old.clone();
    new.parents.get_or_insert_default().retain(|other| other != parent);
    change.put_group(Some(&old), new)
}

/// The ids of all groups that `group` is in, directly or not.
async fn above(change: &Change<'_>, group: &GroupRecord) -> Result<BTreeSet<String>, Error> {
    let mut above = BTreeSet::new();
    let mut ahead = group.parents().to_vec();
    while let Some(id) = ahead.pop() {
        if let Some(parent) = change.group(&id).await?
            && above.insert(id)
        {
            ahead.extend(parent.parents().iter().cloned());
        }
    }
    Ok(above)
}

/// `GET group/id/<id>` and `group/name/<name>`.
pub(super) async fn read(ask: &Ask<'_>, id: Option<String>) -> Result<Answer, Error> {
    let Some(id) = id else { return Ok(Answer::none()) };
    let identity = &ask.vault.identity;
    let Some(group) = identity.group(&id).await? else { return Ok(Answer::none()) };
    let members = identity.members(&id).await?;
    let children = identity.children(&id).await?;
    let mounts = ask.vault.mounts.by_accessor();
    Ok(Response::data(show_group(&group, &members, &children, &mounts)).into())
}

/// `DELETE group/id/<id>` and `group/name/<name>`. One that is not there is no error.
pub(super) async fn delete(ask: &Ask<'_>, id: Option<String>) -> Result<Answer, Error> {
    let Some(id) = id else { return Ok(Answer::none()) };
    let mut change = ask.vault.identity.change().await;
    let Some(group) = change.group(&id).await? else { return Ok(Answer::none()) };
    for child in ask.vault.identity.children(&id).await? {
        orphan(&mut change, &child, &id).await?;
    }
    change.drop_group(&group).await?;
    change.commit().await?;
    Ok(Answer::none())
}

/// `LIST group/id` and `group/name`.
pub(super) async fn list(ask: &Ask<'_>, by_name: bool) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let mounts = ask.vault.mounts.by_accessor();
    let mut keys = Vec::new();
    let mut info = Map::new();
    for id in identity.store.list("group/").await? {
        let Some(group) = identity.group(&id).await? else { continue };
        if by_name {
            keys.push(group.name);
            continue;
        }
        let mut shown = BTreeMap::from([
            ("name", json!(group.name)),
            ("num_member_entities", json!(identity.members(&id).await?.len())),
            ("num_parent_groups", json!(group.parents().len())),
        ]);
        if let Some(alias) = &group.alias {
            let whole = show_alias(alias, &id, &mounts);
            let parts = ["id", "name", "mount_accessor", "mount_path", "mount_type"];
            let parts = parts.iter().filter_map(|part| Some((*part, whole.get(*part)?)));
            shown.insert("alias", json!(parts.collect::<BTreeMap<_, _>>()));
        }
        info.insert(id.clone(), json!(shown));
        keys.push(id);
    }
    Ok(listed(keys, info))
}

/// `POST lookup/group`: by its id, its name, or its alias.
pub(super) async fn look_up(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let id = match ask.query()? {
        Query::Id(id) => Some(id),
        Query::Name(name) => identity.id_at(&keys::group_name(&name)).await?,
        Query::AliasId(id) => identity.id_at(&keys::group_alias_id(&id)).await?,
        Query::Alias(accessor, name) => {
            identity.id_at(&keys::group_alias(&accessor, &name)).await?
        }
    };
    read(ask, id).await
}

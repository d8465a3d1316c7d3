//! Entity aliases by request.

use holdfast_logical::{Error, Response};
use serde_json::{Map, json};

use super::entities::listed;
use super::paths::{Ask, alias_in_list, show_alias};
use super::record::{AliasRecord, EntityRecord, Metadata};
use super::{Identity, keys, metadata};
use crate::core::answer::Answer;

/// What is asked of an alias.
struct Wanted {
    name: String,
    accessor: String,
    /// The entity that is to have it; empty: the one that does, or a new one.
    entity: String,
    custom: Option<Metadata>,
}

/// `POST entity-alias` and `entity-alias/id/<id>`.
pub(super) async fn write(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let id = ask.text("id")?;
    let mut entity = ask.text("canonical_id")?;
    if entity.is_empty() {
        entity = ask.text("entity_id")?;
    }
    let mut wanted = Wanted {
        name: ask.text("name")?,
        accessor: ask.text("mount_accessor")?,
        entity,
        custom: ask.fields().string_map("custom_metadata")?,
    };
    metadata::check_custom(wanted.custom.as_ref().unwrap_or(&Metadata::new()))?;
    if !id.is_empty() {
        let found = find(identity, &keys::entity_alias_id(&id), |alias| alias.id == id).await?;
        let (owner, alias) = found.ok_or_else(|| Error::invalid("invalid alias ID provided"))?;
        if wanted.accessor.is_empty()
            && wanted.name.is_empty()
            && wanted.entity.is_empty()
            && wanted.custom.is_none()
        {
            return Ok(Answer::none());
        }
        if wanted.name.is_empty() {
            wanted.name.clone_from(&alias.name);
        }
        if wanted.accessor.is_empty() {
            wanted.accessor.clone_from(&alias.mount_accessor);
        }
        let custom = wanted.custom.take();
        wanted.custom = custom.or_else(|| alias.custom_metadata.clone());
        return update(ask, owner, alias, wanted).await;
    }
    if wanted.accessor.is_empty() || wanted.name.is_empty() {
        return Err(Error::invalid("'id' or 'mount_accessor' and 'name' must be provided"));
    }
    let Some(local) = ask.mount_is_local(&wanted.accessor) else {
        return Err(no_mount(&wanted.accessor));
    };
    let key = keys::entity_alias(&wanted.accessor, &wanted.name);
    let (accessor, name) = (wanted.accessor.clone(), wanted.name.clone());
    match find(identity, &key, |alias| alias.is(&accessor, &name)).await? {
        Some((owner, alias)) => update(ask, owner, alias, wanted).await,
        None => create(ask, wanted, local).await,
    }
}

pub(super) fn no_mount(accessor: &str) -> Error {
    Error::invalid(format!("invalid mount accessor {accessor:?}"))
}

/// The alias that an index leads to, and the entity that has it.
async fn find(
    identity: &Identity,
    key: &str,
    is_it: impl Fn(&AliasRecord) -> bool,
) -> Result<Option<(EntityRecord, AliasRecord)>, Error> {
    let Some(id) = identity.id_at(key).await? else { return Ok(None) };
    let Some(entity) = identity.entity(&id).await? else { return Ok(None) };
    let alias = entity.aliases.iter().find(|alias| is_it(alias)).cloned();
    Ok(alias.map(|alias| (entity, alias)))
}

async fn create(ask: &Ask<'_>, wanted: Wanted, local: bool) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let mut change = identity.change().await;
    // Looked for again, now that nobody else makes it.
    if identity.id_at(&keys::entity_alias(&wanted.accessor, &wanted.name)).await?.is_some() {
        return Err(taken());
    }
    let old = match wanted.entity.as_str() {
        "" => None,
        id => {
            let found = change.entity(id).await?;
            Some(found.ok_or_else(|| Error::invalid("invalid canonical ID"))?)
        }
    };
    let mut entity = old.clone().unwrap_or_else(|| identity.new_entity());
    if entity.aliases.iter().any(|alias| alias.mount_accessor == wanted.accessor) {
        return Err(Error::invalid("Alias already exists for requested entity and mount accessor"));
    }
    let now = identity.clock.now();
    let alias = AliasRecord {
        id: identity.random.uuid(),
        mount_accessor: wanted.accessor,
        name: wanted.name,
        metadata: Metadata::new(),
        custom_metadata: Some(wanted.custom.unwrap_or_default()),
        created: now,
        updated: now,
        local,
        merged_from: Vec::new(),
    };
    let made = json!({ "id": alias.id, "canonical_id": entity.id });
    entity.aliases.push(alias);
    change.put_entity(old.as_ref(), entity)?;
    change.commit().await?;
    Ok(Response::data(made).into())
}

fn taken() -> Error {
    Error::invalid("alias with combination of mount accessor and name already exists")
}

async fn update(
    ask: &Ask<'_>,
    owner: EntityRecord,
    alias: AliasRecord,
    wanted: Wanted,
) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let moves = !wanted.entity.is_empty() && wanted.entity != owner.id;
    let custom = wanted.custom.unwrap_or_default();
    let same_place = wanted.accessor == alias.mount_accessor;
    let same_custom = custom == alias.custom_metadata.clone().unwrap_or_default();
    if wanted.name == alias.name && same_place && !moves && same_custom {
        return Ok(Answer::none());
    }
    let mut change = identity.change().await;
    // What was found may have changed before this change began.
    let Some(mut from) = change.entity(&owner.id).await? else {
        return Err(Error::invalid("given alias is not associated with an entity"));
    };
    let old_from = from.clone();
    let Some(at) = from.aliases.iter().position(|other| other.id == alias.id) else {
        return Err(Error::invalid("given alias is not associated with an entity"));
    };
    let has_one = |entity: &EntityRecord| {
        let mut others = entity.aliases.iter().filter(|other| other.id != alias.id);
        others.any(|other| other.mount_accessor == wanted.accessor)
    };
    if !same_place && !moves && has_one(&from) {
        return Err(Error::invalid(
            "Alias cannot be updated as the entity already has an alias for the given \
             'mount_accessor' ",
        ));
    }
    let local = ask.mount_is_local(&wanted.accessor).ok_or_else(|| no_mount(&wanted.accessor))?;
    let key = keys::entity_alias(&wanted.accessor, &wanted.name);
    if identity.id_at(&key).await?.is_some() && !alias.is(&wanted.accessor, &wanted.name) {
        return Err(taken());
    }
    let now = identity.clock.now();
    let mut new = from.aliases.remove(at);
    new.name = wanted.name;
    new.mount_accessor.clone_from(&wanted.accessor);
    new.custom_metadata = Some(custom);
    new.local = local;
    new.updated = now;
    let id = new.id.clone();
    let canonical = if moves {
        if local {
            return Err(Error::invalid("local aliases can't be moved between entities"));
        }
        let Some(to) = change.entity(&wanted.entity).await? else {
            return Err(Error::invalid("given 'canonical_id' is not associated with an entity"));
        };
        if has_one(&to) {
            return Err(Error::invalid(
                "Alias cannot be updated as the given entity already has an alias for this mount ",
            ));
        }
        change.put_entity(Some(&old_from), from)?;
        let mut new_to = to.clone();
        new_to.aliases.push(new);
        change.put_entity(Some(&to), new_to)?;
        to.id
    } else {
        from.aliases.insert(at, new);
        change.put_entity(Some(&old_from), from)?;
        owner.id
    };
    change.commit().await?;
    Ok(Response::data(json!({ "id": id, "canonical_id": canonical })).into())
}

/// `GET entity-alias/id/<id>`.
pub(super) async fn read(ask: &Ask<'_>, id: &str) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let found = find(identity, &keys::entity_alias_id(id), |alias| alias.id == id).await?;
    let mounts = ask.vault.mounts.by_accessor();
    Ok(found
        .map(|(entity, alias)| {
            let mut shown = show_alias(&alias, &entity.id, &mounts);
            shown["custom_metadata"] = json!(alias.custom_metadata);
            shown["namespace_id"] = json!("root");
            Response::data(shown)
        })
        .into())
}

/// `DELETE entity-alias/id/<id>`. One that is not there is no error.
pub(super) async fn delete(ask: &Ask<'_>, id: &str) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let mut change = identity.change().await;
    let found = find(identity, &keys::entity_alias_id(id), |alias| alias.id == id).await?;
    if let Some((entity, _)) = found {
        let mut new = entity.clone();
        new.aliases.retain(|alias| alias.id != id);
        new.updated = identity.clock.now();
        change.put_entity(Some(&entity), new)?;
        change.commit().await?;
    }
    Ok(Answer::none())
}

/// `LIST entity-alias/id`.
pub(super) async fn list(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let mounts = ask.vault.mounts.by_accessor();
    let mut ids = Vec::new();
    let mut info = Map::new();
    for id in identity.store.list("entity-alias-id/").await? {
        let key = keys::entity_alias_id(&id);
        let found = find(identity, &key, |alias| alias.id == id).await?;
        let Some((entity, alias)) = found else { continue };
        info.insert(id.clone(), alias_in_list(&alias, &entity.id, &mounts));
        ids.push(id);
    }
    Ok(listed(ids, info))
}

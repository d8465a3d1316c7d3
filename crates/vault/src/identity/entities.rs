//! Entities by request.

use std::collections::BTreeMap;

use holdfast_logical::{Error, Response};
use serde_json::{Value, json};

use super::change::Change;
use super::paths::{Ask, aliases_in_list, show_entity};
use super::record::EntityRecord;
use super::{Identity, keys, metadata};
use crate::core::answer::Answer;
use crate::tokens::params::sanitize_policies;

/// `POST entity`, `entity/id/<id>` and `entity/name/<name>`: makes an entity, or changes the one
/// that the id or the name says.
pub(super) async fn write(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let fields = ask.fields();
    let id = ask.text("id")?;
    let name = ask.text("name")?;
    let policies = fields.strings("policies")?;
    let disabled = fields.bool("disabled")?;
    let metadata = fields.string_map("metadata")?;

    let mut change = identity.change().await;
    let mut old = None;
    if !id.is_empty() {
        let found = change.entity(&id).await?;
        old = Some(found.ok_or_else(|| Error::invalid("entity not found from id"))?);
    }
    if !name.is_empty()
        && let Some(named) = identity.id_at(&keys::entity_name(&name)).await?
    {
        match &old {
            None => old = change.entity(&named).await?,
            Some(old) if old.id == named => {}
            Some(_) => return Err(Error::invalid("entity name is already in use")),
        }
    }
    let is_new = old.is_none();
    let mut entity = old.clone().unwrap_or_else(|| identity.new_entity());
    if !name.is_empty() {
        entity.name = name;
    }
    if let Some(policies) = policies {
        entity.policies = checked_policies(&policies)?;
    }
    if let Some(disabled) = disabled {
        entity.disabled = disabled;
    }
    if let Some(new) = metadata {
        metadata::check("entity", &new)?;
        entity.metadata = new;
    }
    entity.updated = identity.clock.now();
    let made = json!({ "id": entity.id, "name": entity.name, "aliases": null });
    change.put_entity(old.as_ref(), entity)?;
    change.commit().await?;
    Ok(if is_new { Response::data(made).into() } else { Answer::none() })
}

/// Names of policies as they are stored.
///
/// # Errors
/// 400 where `root` is among them.
pub(super) fn checked_policies(policies: &[String]) -> Result<Vec<String>, Error> {
    let policies = sanitize_policies(policies, false);
    match policies.iter().any(|policy| policy == "root") {
        true => Err(Error::invalid("policies cannot contain root")),
        false => Ok(policies),
    }
}

/// `GET entity/id/<id>` and `entity/name/<name>`.
pub(super) async fn read(ask: &Ask<'_>, id: Option<String>) -> Result<Answer, Error> {
    let Some(id) = id else { return Ok(Answer::none()) };
    let who = ask.vault.identity.who(&id).await?;
    let entity = who.entity.as_ref().filter(|entity| entity.id == id);
    let mounts = ask.vault.mounts.by_accessor();
    Ok(entity.map(|entity| Response::data(show_entity(entity, &who, &mounts))).into())
}

/// `DELETE entity/id/<id>` and `entity/name/<name>`. One that is not there is no error.
pub(super) async fn delete(ask: &Ask<'_>, id: Option<String>) -> Result<Answer, Error> {
    let Some(id) = id else { return Ok(Answer::none()) };
    delete_all(&ask.vault.identity, &[id]).await?;
    Ok(Answer::none())
}

/// `POST entity/batch-delete`: all of them, or none.
pub(super) async fn batch_delete(ask: &Ask<'_>) -> Result<Answer, Error> {
    let ids = ask.fields().strings("entity_ids")?.unwrap_or_default();
    if ids.is_empty() {
        return Err(Error::invalid("missing entity ids to delete"));
    }
    delete_all(&ask.vault.identity, &ids).await?;
    Ok(Answer::none())
}

async fn delete_all(identity: &Identity, ids: &[String]) -> Result<(), Error> {
    let mut change = identity.change().await;
    for id in ids {
        let Some(entity) = change.entity(id).await? else { continue };
        leave_all(&mut change, &entity).await?;
        change.drop_entity(&entity);
    }
    change.commit().await
}

/// Takes an entity out of all its groups. Gives back the groups as they are then.
pub(super) async fn leave_all(
    change: &mut Change<'_>,
    entity: &EntityRecord,
) -> Result<Vec<String>, Error> {
    let groups = change.identity.store.list(&keys::groups_of(&entity.id)).await?;
    for id in &groups {
        change.leave(&entity.id, id);
        if let Some(group) = change.group(id).await? {
            change.put_group(Some(&group.clone()), group)?;
        }
    }
    Ok(groups)
}

/// `LIST entity/id` and `entity/name`.
pub(super) async fn list(ask: &Ask<'_>, by_name: bool) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let mounts = ask.vault.mounts.by_accessor();
    let mut keys = Vec::new();
    let mut info = serde_json::Map::new();
    for id in identity.ids().await? {
        let Some(entity) = identity.entity(&id).await? else { continue };
        if by_name {
            keys.push(entity.name);
            continue;
        }
        let mut shown = BTreeMap::from([("name", json!(entity.name))]);
        if !entity.aliases.is_empty() {
            shown.insert("aliases", aliases_in_list(&entity.aliases, &mounts));
        }
        info.insert(id.clone(), json!(shown));
        keys.push(id);
    }
    Ok(listed(keys, info))
}

/// The answer to a list, with what is said of each key; none where there is nothing.
pub(super) fn listed(keys: Vec<String>, info: serde_json::Map<String, Value>) -> Answer {
    let Some(mut response) = Response::list(keys) else { return Answer::none() };
    if let Some(data) = response.data.as_mut().filter(|_| !info.is_empty()) {
        data.insert("key_info".to_owned(), Value::Object(info));
    }
    response.into()
}

/// `POST lookup/entity`: by its id, its name, or an alias.
pub(super) async fn look_up(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let id = match ask.query()? {
        Query::Id(id) => Some(id),
        Query::Name(name) => identity.id_at(&keys::entity_name(&name)).await?,
        Query::AliasId(id) => identity.id_at(&keys::entity_alias_id(&id)).await?,
        Query::Alias(accessor, name) => {
            identity.id_at(&keys::entity_alias(&accessor, &name)).await?
        }
    };
    read(ask, id).await
}

/// What a lookup goes by.
pub(super) enum Query {
    Id(String),
    Name(String),
    AliasId(String),
    /// The mount's accessor, and the name.
    Alias(String, String),
}

impl Ask<'_> {
    /// What a lookup is asked for.
    ///
    /// # Errors
    /// 400 where that is nothing, two things, or half an alias.
    pub(super) fn query(&self) -> Result<Query, Error> {
        let (accessor, alias) = (self.text("alias_mount_accessor")?, self.text("alias_name")?);
        let mut asked: Vec<Query> = Vec::new();
        for (name, query) in [
            ("name", Query::Name as fn(String) -> Query),
            ("id", Query::Id),
            ("alias_id", Query::AliasId),
        ] {
            let text = self.text(name)?;
            if !text.is_empty() {
                asked.push(query(text));
            }
        }
        match (asked.pop(), asked.is_empty(), accessor.is_empty() && alias.is_empty()) {
            (Some(query), true, true) => Ok(query),
            (None, _, true) => Err(Error::invalid("query parameter not supplied")),
            (None, _, false) if accessor.is_empty() || alias.is_empty() => {
                Err(Error::invalid("both 'alias_name' and 'alias_mount_accessor' needs to be set"))
            }
            (None, _, false) => Ok(Query::Alias(accessor, alias)),
            _ => Err(Error::invalid(
                "query parameter conflict; please supply distinct set of query parameters",
            )),
        }
    }
}

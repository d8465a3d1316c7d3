//! Making several entities one.

use std::collections::BTreeSet;

use holdfast_logical::{Error, RawBody, Response};
use serde_json::{Value, json};

use super::entities::leave_all;
use super::paths::Ask;
use super::record::{AliasRecord, EntityRecord};
use crate::core::answer::Answer;
use crate::mounts::ByAccessor;

/// `POST entity/merge`: aliases, groups and tokens of some entities become another's; their
/// policies and metadata do not.
pub(super) async fn merge(ask: &Ask<'_>) -> Result<Answer, Error> {
    let identity = &ask.vault.identity;
    let fields = ask.fields();
    let to = ask.text("to_entity_id")?;
    if to.is_empty() {
        return Err(Error::invalid("missing entity id to merge to"));
    }
    let from = fields.strings("from_entity_ids")?.unwrap_or_default();
    let keep = fields.strings("conflicting_alias_ids_to_keep")?.unwrap_or_default();
    fields.bool("force")?;
    if from.is_empty() {
        return Err(Error::invalid("missing entity ids to merge from"));
    }
    let mut change = identity.change().await;
    let old = change.entity(&to).await?;
    let old = old.ok_or_else(|| Error::invalid("entity id to merge to is invalid"))?;
    if from.len() > 1 && keep.len() > 1 {
        return Err(Error::invalid(
            "aliases conflicts cannot be resolved with multiple from entity ids - merge one \
             entity at a time",
        ));
    }
    let mut others = Vec::new();
    for id in from.into_iter().collect::<BTreeSet<_>>() {
        if id == old.id {
            return Err(Error::invalid("to_entity_id should not be present in from_entity_ids"));
        }
        let other = change.entity(&id).await?;
        others.push(other.ok_or_else(|| Error::invalid("entity id to merge from is invalid"))?);
    }
    if keep.is_empty()
        && let Some(clash) = clashes(&old, &others, &ask.vault.mounts.by_accessor())?
    {
        return Ok(clash);
    }
    let now = identity.clock.now();
    let mut new = old.clone();
    for other in others {
        for group in leave_all(&mut change, &other).await? {
            change.join(&new.id, &group);
            if let Some(record) = change.group(&group).await? {
                change.put_group(Some(&record.clone()), record)?;
            }
        }
        change.drop_entity(&other);
        for alias in &other.aliases {
            take_alias(&mut new.aliases, alias, &other.id, &keep)?;
        }
        for alias in &mut new.aliases {
            // An empty one is not told from none any more.
            alias.custom_metadata =
                alias.custom_metadata.take().filter(|custom| !custom.is_empty());
            alias.updated = now;
        }
        for merged in other.merged.into_iter().chain([other.id]) {
            change.merge(&merged, &new.id)?;
            new.merged.push(merged);
        }
    }
    new.updated = now;
    change.put_entity(Some(&old), new)?;
    change.commit().await?;
    Ok(Answer::none())
}

/// Adds `alias`, unless one of the same mount is there: then the one that is to be kept stays.
fn take_alias(
    aliases: &mut Vec<AliasRecord>,
    alias: &AliasRecord,
    from: &str,
    keep: &[String],
) -> Result<(), Error> {
    let at = aliases.iter().position(|other| other.mount_accessor == alias.mount_accessor);
    if let Some(at) = at {
        let mine = &aliases[at].id;
        if keep.contains(mine) {
            return Ok(());
        }
        if !keep.contains(&alias.id) {
            return Err(Error::invalid(format!(
                "conflicting mount accessors in following alias IDs and neither were present in \
                 conflicting_alias_ids_to_keep: {}, {mine}",
                alias.id,
            )));
        }
        aliases.remove(at);
    }
    let mut alias = alias.clone();
    alias.merged_from.push(from.to_owned());
    aliases.push(alias);
    Ok(())
}

/// The refusal where two aliases of one mount would meet.
fn clashes(
    to: &EntityRecord,
    others: &[EntityRecord],
    mounts: &ByAccessor,
) -> Result<Option<Answer>, Error> {
    let mut words = Vec::new();
    let mut involved = Vec::new();
    let mut seen = BTreeSet::new();
    for other in others {
        for alias in &other.aliases {
            let accessor = &alias.mount_accessor;
            if !seen.insert(accessor) {
                return Err(Error::invalid(format!(
                    "mount accessor {accessor} found in multiple fromEntities, merge should be \
                     done with one fromEntity at a time"
                )));
            }
            let Some(mine) = to.aliases.iter().find(|mine| mine.mount_accessor == *accessor) else {
                continue;
            };
            words.push(format!(
                "mountAccessor: {accessor}, toEntity ID: {}, fromEntity ID: {}, conflicting \
                 toEntity alias ID: {}, conflicting fromEntity alias ID: {}",
                to.id, other.id, mine.id, alias.id,
            ));
            involved.push(clash(to, mine, mounts));
            involved.push(clash(other, alias, mounts));
        }
    }
    if words.is_empty() {
        return Ok(None);
    }
    words.insert(
        0,
        "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat \
         the merge request specifying exactly one fromEntity, clashes: "
            .to_owned(),
    );
    let lines: String = words.iter().map(|line| format!("\t* {line}\n")).collect();
    let error = format!("{} errors occurred:\n{lines}\n", words.len());
    // As OpenBao does it: the names that clash stand beside the errors.
    let body = json!({ "errors": [error], "data": involved }).to_string().into_bytes();
    let raw = RawBody { content_type: "application/json".to_owned(), body };
    Ok(Some(Response { status: Some(400), raw: Some(raw), ..Response::default() }.into()))
}

fn clash(entity: &EntityRecord, alias: &AliasRecord, mounts: &ByAccessor) -> Value {
    let mount = mounts.get(&alias.mount_accessor);
    json!({
        "alias": alias.name,
        "entity": entity.name,
        "entity_id": entity.id,
        "mount": mount.map(|mount| mount.kind.as_str()).unwrap_or_default(),
        "mount_path": mount.map(|mount| mount.path.as_str()).unwrap_or_default(),
    })
}

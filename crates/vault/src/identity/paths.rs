//! What can be read of `identity/`.

use holdfast_logical::{Error, Operation, Response};
use holdfast_types::rfc3339;
use serde_json::{Value, json};

use super::{AliasRecord, EntityRecord};
use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

/// Answers a request to `identity/`.
///
/// # Errors
/// 404 and 405 for what is not there.
pub(crate) async fn handle(vault: &Vault, invocation: &Invocation) -> Result<Answer, Error> {
    use Operation::{List, Read};
    let request = &invocation.request;
    let identity = &vault.identity;
    let path = match request.operation {
        List | Operation::Scan => request.path.trim_end_matches('/'),
        _ => request.path.as_str(),
    };
    let segments: Vec<_> = path.split('/').collect();
    match (segments.as_slice(), request.operation) {
        (["entity", "id"], List) => {
            let ids = identity.ids().await?;
            let mut info = serde_json::Map::new();
            for id in &ids {
                let Some(entity) = identity.entity(id).await? else { continue };
                let aliases: Vec<_> = entity.aliases.iter().map(short_alias).collect();
                info.insert(id.clone(), json!({ "aliases": aliases, "name": entity.name }));
            }
            if ids.is_empty() {
                return Ok(Answer::none());
            }
            Ok(Response::data(json!({ "keys": ids, "key_info": info })).into())
        }
        (["entity", "id" | "name", ""], _) => Err(Error::UnsupportedOperation),
        (["entity", "id", id], Read) => {
            Ok(identity.entity(id).await?.map(|entity| show(&entity)).into())
        }
        (["entity", "name", name], Read) => {
            Ok(identity.by_name(name).await?.map(|entity| show(&entity)).into())
        }
        (["entity", "id" | "name"] | ["entity", "id" | "name", _], _) => {
            Err(Error::UnsupportedOperation)
        }
        _ => Err(Error::UnsupportedPath),
    }
}

fn short_alias(alias: &AliasRecord) -> Value {
    json!({
        "id": alias.id,
        "mount_accessor": alias.mount_accessor,
        "mount_path": alias.mount_path,
        "mount_type": alias.mount_type,
        "name": alias.name,
    })
}

fn show(entity: &EntityRecord) -> Response {
    let aliases: Vec<_> = entity
        .aliases
        .iter()
        .map(|alias| {
            let mut shown = short_alias(alias);
            shown["canonical_id"] = json!(entity.id);
            shown["creation_time"] = json!(rfc3339(alias.created));
            shown["last_update_time"] = json!(rfc3339(alias.updated));
            shown["custom_metadata"] = Value::Null;
            shown["merged_from_canonical_ids"] = Value::Null;
            shown["local"] = json!(false);
            shown["metadata"] = match alias.metadata.is_empty() {
                true => Value::Null,
                false => json!(alias.metadata),
            };
            shown
        })
        .collect();
    Response::data(json!({
        "aliases": aliases,
        "creation_time": rfc3339(entity.created),
        "direct_group_ids": [],
        "disabled": false,
        "group_ids": [],
        "id": entity.id,
        "inherited_group_ids": [],
        "last_update_time": rfc3339(entity.updated),
        "merged_entity_ids": null,
        "metadata": if entity.metadata.is_empty() { Value::Null } else { json!(entity.metadata) },
        "name": entity.name,
        "namespace_id": "root",
        "policies": [],
    }))
}

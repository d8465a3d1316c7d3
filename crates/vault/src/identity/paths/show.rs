//! Entities, groups and aliases as requests show them.

use holdfast_types::rfc3339;
use serde_json::{Value, json};

use crate::identity::Who;
use crate::identity::record::{AliasRecord, EntityRecord, GroupRecord, Metadata};
use crate::mounts::ByAccessor;

fn metadata(metadata: &Metadata) -> Value {
    if metadata.is_empty() { Value::Null } else { json!(metadata) }
}

fn or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

/// An alias of the entity, or the group, of that id.
pub(in crate::identity) fn show_alias(
    alias: &AliasRecord,
    owner: &str,
    mounts: &ByAccessor,
) -> Value {
    let mut shown = json!({
        "canonical_id": owner,
        "creation_time": rfc3339(alias.created),
        "custom_metadata": metadata(alias.custom_metadata.as_ref().unwrap_or(&Metadata::new())),
        "id": alias.id,
        "last_update_time": rfc3339(alias.updated),
        "local": alias.local,
        "merged_from_canonical_ids": or_null(&alias.merged_from),
        "metadata": metadata(&alias.metadata),
        "mount_accessor": alias.mount_accessor,
        "name": alias.name,
    });
    add_mount(&mut shown, alias, mounts);
    shown
}

/// Where the mount is: only while it is there.
fn add_mount(shown: &mut Value, alias: &AliasRecord, mounts: &ByAccessor) {
    if let Some(mount) = mounts.get(&alias.mount_accessor) {
        shown["mount_path"] = json!(mount.path);
        shown["mount_type"] = json!(mount.kind);
    }
}

/// An alias in a list of aliases.
pub(in crate::identity) fn alias_in_list(
    alias: &AliasRecord,
    owner: &str,
    mounts: &ByAccessor,
) -> Value {
    let mut shown = json!({
        "canonical_id": owner,
        "custom_metadata": metadata(alias.custom_metadata.as_ref().unwrap_or(&Metadata::new())),
        "local": alias.local,
        "metadata": metadata(&alias.metadata),
        "mount_accessor": alias.mount_accessor,
        "name": alias.name,
    });
    add_mount(&mut shown, alias, mounts);
    shown
}

/// The aliases of an entity in a list of entities.
pub(in crate::identity) fn aliases_in_list(aliases: &[AliasRecord], mounts: &ByAccessor) -> Value {
    let shown = aliases.iter().map(|alias| {
        let mut shown = json!({
            "id": alias.id,
            "mount_accessor": alias.mount_accessor,
            "name": alias.name,
        });
        add_mount(&mut shown, alias, mounts);
        shown
    });
    shown.collect()
}

/// An entity with its groups.
pub(in crate::identity) fn show_entity(
    entity: &EntityRecord,
    who: &Who,
    mounts: &ByAccessor,
) -> Value {
    let aliases = entity.aliases.iter().map(|alias| show_alias(alias, &entity.id, mounts));
    let direct: Vec<_> = who.direct.keys().collect();
    let inherited: Vec<_> = who.inherited.keys().collect();
    let all: Vec<_> = direct.iter().chain(&inherited).collect();
    json!({
        "aliases": aliases.collect::<Vec<_>>(),
        "creation_time": rfc3339(entity.created),
        "direct_group_ids": direct,
        "disabled": entity.disabled,
        "group_ids": all,
        "id": entity.id,
        "inherited_group_ids": inherited,
        "last_update_time": rfc3339(entity.updated),
        "merged_entity_ids": or_null(&entity.merged),
        "metadata": metadata(&entity.metadata),
        "name": entity.name,
        "namespace_id": "root",
        "policies": entity.policies,
    })
}

/// A group with its members.
pub(in crate::identity) fn show_group(
    group: &GroupRecord,
    members: &[String],
    children: &[String],
    mounts: &ByAccessor,
) -> Value {
    let mut alias = json!({});
    if let Some(record) = &group.alias {
        alias = show_alias(record, &group.id, mounts);
        if let Some(alias) = alias.as_object_mut() {
            alias.remove("custom_metadata");
            alias.remove("local");
        }
    }
    json!({
        "alias": alias,
        "creation_time": rfc3339(group.created),
        "id": group.id,
        "last_update_time": rfc3339(group.updated),
        "member_entity_ids": if group.had_members { json!(members) } else { Value::Null },
        "member_group_ids": or_null(children),
        "metadata": metadata(&group.metadata),
        "modify_index": group.modify_index,
        "name": group.name,
        "namespace_id": "root",
        "parent_group_ids": group.parents,
        "policies": group.policies,
        "type": group.kind.as_str(),
    })
}

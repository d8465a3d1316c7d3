//! Where things lie under `sys/identity/`. Names hold anything, slashes too, so that keys hold
//! their hashes.

use aws_lc_rs::digest;

use super::record::folded;

/// An [`super::record::EntityRecord`].
pub(super) fn entity(id: &str) -> String {
    format!("entity/{id}")
}

/// A [`super::record::GroupRecord`].
pub(super) fn group(id: &str) -> String {
    format!("group/{id}")
}

/// The id of the entity, or of the group, of that name.
pub(super) fn entity_name(name: &str) -> String {
    format!("entity-name/{}", hash(name))
}

/// See [`entity_name`].
pub(super) fn group_name(name: &str) -> String {
    format!("group-name/{}", hash(name))
}

/// The id of the entity that a name at a mount stands for.
pub(super) fn entity_alias(accessor: &str, name: &str) -> String {
    format!("entity-alias/{accessor}/{}", hash(name))
}

/// The id of the group that a name at a mount stands for.
pub(super) fn group_alias(accessor: &str, name: &str) -> String {
    format!("group-alias/{accessor}/{}", hash(name))
}

/// The id of the entity that has the alias of that id.
pub(super) fn entity_alias_id(id: &str) -> String {
    format!("entity-alias-id/{id}")
}

/// The id of the group that has the alias of that id.
pub(super) fn group_alias_id(id: &str) -> String {
    format!("group-alias-id/{id}")
}

/// The id of the entity that another was merged into.
pub(super) fn merged(id: &str) -> String {
    format!("merged/{id}")
}

/// The folder of the ids of an entity's groups.
pub(super) fn groups_of(entity: &str) -> String {
    format!("groups-of/{entity}/")
}

/// The folder of the ids of a group's entities.
pub(super) fn members(group: &str) -> String {
    format!("members/{group}/")
}

/// The folder of the ids of the groups in a group.
pub(super) fn children(group: &str) -> String {
    format!("children/{group}/")
}

fn hash(name: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, folded(name).as_bytes()))
}

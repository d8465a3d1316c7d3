//! The paths of `identity/`.

mod show;

use std::sync::Arc;

use holdfast_logical::{Error, Fields, Operation, SpecialPaths};
use serde_json::{Map, Value};

pub(super) use self::show::{alias_in_list, aliases_in_list, show_alias, show_entity, show_group};
use super::{aliases, entities, group_aliases, groups, keys, merge, oidc};
use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

/// What is asked, with what the path says in place of what the body does.
pub(super) struct Ask<'a> {
    pub(super) vault: &'a Arc<Vault>,
    data: Map<String, Value>,
}

impl Ask<'_> {
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.data)
    }

    /// A text; empty where it is missing.
    pub(super) fn text(&self, name: &str) -> Result<String, Error> {
        Ok(self.fields().string(name)?.unwrap_or_default())
    }

    /// Whether the mount with that accessor is a local one. None: there is no such mount.
    pub(super) fn mount_is_local(&self, accessor: &str) -> Option<bool> {
        let mounts = self.vault.mounts.all();
        let found = mounts.iter().find(|mount| mount.info.accessor == accessor);
        found.map(|mount| mount.entry.local)
    }
}

/// Answers a request to `identity/`.
///
/// # Errors
/// OpenBao's for each path; 404 and 405 for what is not there.
pub(crate) async fn handle(vault: &Arc<Vault>, invocation: &Invocation) -> Result<Answer, Error> {
    let request = &invocation.request;
    let path = match request.operation {
        Operation::List | Operation::Scan => request.path.trim_end_matches('/'),
        _ => request.path.as_str(),
    };
    let ask = |name: &'static str, value: &str| {
        let mut data = request.data.clone();
        if !name.is_empty() {
            data.insert(name.to_owned(), value.into());
        }
        Ask { vault, data }
    };
    let (head, rest) = path.split_once('/').unwrap_or((path, ""));
    let answer = match head {
        "entity" | "group" => by_id_or_name(head, rest, path, request.operation, ask).await,
        "entity-alias" | "group-alias" => alias(head, rest, path, request.operation, ask).await,
        "lookup" => match (rest, request.operation.is_write()) {
            ("entity", true) => entities::look_up(&ask("", "")).await,
            ("group", true) => groups::look_up(&ask("", "")).await,
            ("entity" | "group", false) => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        },
        "oidc" => oidc::handle(vault, request, rest).await,
        "mfa" if matches!(request.operation, Operation::List) => Ok(Answer::none()),
        "mfa" => Err(Error::invalid("login MFA is not supported by this server")),
        _ => Err(Error::UnsupportedPath),
    };
    match request.operation {
        // Only where a path knows creating from changing does OpenBao leave these words out.
        Operation::Create => answer,
        _ => answer.map_err(Error::field_validation),
    }
}

/// Paths with rules of their own: what everybody may know of identity tokens.
pub(crate) fn special_paths() -> SpecialPaths {
    let open = ["oidc/.well-known/*", "oidc/provider/+/.well-known/*"].map(str::to_owned);
    SpecialPaths { unauthenticated: open.to_vec(), sudo: Vec::new() }
}

/// Whether what a write names is there; none where the path knows no such difference.
pub(crate) async fn exists(vault: &Vault, path: &str) -> Result<Option<bool>, Error> {
    let found = match path.split('/').collect::<Vec<_>>().as_slice() {
        [
            "oidc",
            kind @ ("key" | "role" | "provider" | "scope" | "assignment" | "client"),
            name,
        ] => vault.identity.oidc.exists(kind, name).await?,
        _ => return Ok(None),
    };
    Ok(Some(found))
}

async fn by_id_or_name<'a>(
    head: &str,
    rest: &str,
    path: &str,
    operation: Operation,
    ask: impl Fn(&'static str, &str) -> Ask<'a>,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let is_entity = head == "entity";
    let plain = ask("", "");
    if rest.is_empty() {
        return match (operation, path == head) {
            (Create | Update, true) if is_entity => entities::write(&plain).await,
            (Create | Update, true) => groups::write(&plain).await,
            (List, _) | (_, false) => Err(Error::UnsupportedPath),
            _ => Err(Error::UnsupportedOperation),
        };
    }
    match (rest, operation) {
        ("merge", Create | Update) if is_entity => return merge::merge(&plain).await,
        ("batch-delete", Create | Update) if is_entity => {
            return entities::batch_delete(&plain).await;
        }
        ("merge" | "merge/" | "batch-delete", _) if is_entity => {
            return Err(Error::UnsupportedOperation);
        }
        ("id" | "name", List) if is_entity => {
            return entities::list(&plain, rest == "name").await;
        }
        ("id" | "name", List) => return groups::list(&plain, rest == "name").await,
        ("id" | "name" | "id/" | "name/", _) => return Err(Error::UnsupportedOperation),
        _ => {}
    }
    let (by, value) = rest.split_once('/').ok_or(Error::UnsupportedPath)?;
    let identity = &plain.vault.identity;
    let (name, id) = match by {
        "id" if is_id(value) => ("id", Some(value.to_owned())),
        "name" if is_entity => ("name", identity.id_at(&keys::entity_name(value)).await?),
        "name" => ("name", identity.id_at(&keys::group_name(value)).await?),
        _ => return Err(Error::UnsupportedPath),
    };
    match (operation, is_entity) {
        (Create | Update, true) => entities::write(&ask(name, value)).await,
        (Create | Update, false) => groups::write(&ask(name, value)).await,
        (Read, true) => entities::read(&plain, id).await,
        (Read, false) => groups::read(&plain, id).await,
        (Delete, true) => entities::delete(&plain, id).await,
        (Delete, false) => groups::delete(&plain, id).await,
        _ => Err(Error::UnsupportedOperation),
    }
}

async fn alias<'a>(
    head: &str,
    rest: &str,
    path: &str,
    operation: Operation,
    ask: impl Fn(&'static str, &str) -> Ask<'a>,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let of_entity = head == "entity-alias";
    let plain = ask("", "");
    match (rest, operation) {
        ("", Create | Update) if of_entity => return aliases::write(&plain).await,
        ("", Create | Update) => return group_aliases::write(&plain).await,
        ("", List) => return Err(Error::UnsupportedPath),
        ("", _) if path == head => return Err(Error::UnsupportedOperation),
        ("id", List) if of_entity => return aliases::list(&plain).await,
        ("id", List) => return group_aliases::list(&plain).await,
        ("id" | "id/", _) => return Err(Error::UnsupportedOperation),
        _ => {}
    }
    let id = rest.strip_prefix("id/").filter(|id| is_id(id)).ok_or(Error::UnsupportedPath)?;
    match (operation, of_entity) {
        (Create | Update, true) => aliases::write(&ask("id", id)).await,
        (Create | Update, false) => group_aliases::write(&ask("id", id)).await,
        (Read, true) => aliases::read(&plain, id).await,
        (Read, false) => group_aliases::read(&plain, id).await,
        (Delete, true) => aliases::delete(&plain, id).await,
        (Delete, false) => group_aliases::delete(&plain, id).await,
        _ => Err(Error::UnsupportedOperation),
    }
}

/// Whether a part of a path may be an id, or the name of a role: letters, digits and `_`, with `-`
/// and `.` between them.
pub(super) fn is_id(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word)
        && text.ends_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '-' | '.'))
}

//! `sys/locked-users`: who failed to log in too often.

use holdfast_logical::{Error, Operation, Reply, Response};
use serde_json::{Value, json};

use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

/// Answers a request to `sys/locked-users`; `rest` is what follows.
pub(super) fn handle(vault: &Vault, invocation: &Invocation, rest: &str) -> Reply {
    use Operation::{Create, Read, Update};
    let request = &invocation.request;
    match (&rest.split('/').collect::<Vec<_>>()[..], request.operation) {
        ([""], Read) => {
            let accessor = request.fields().string("mount_accessor")?;
            Ok(Some(list(vault, accessor.filter(|accessor| !accessor.is_empty()))))
        }
        ([accessor, "unlock", name], Create | Update) if !name.is_empty() => {
            vault.lockouts.forget(accessor, name);
            Ok(None)
        }
        (_, Operation::List | Operation::Scan) => Err(Error::UnsupportedPath),
        ([""] | [_, "unlock", _], _) => Err(Error::UnsupportedOperation),
        _ => Err(Error::UnsupportedPath),
    }
}

/// The locked names by mount, or those of one mount.
fn list(vault: &Vault, accessor: Option<String>) -> Response {
    let mut locked = vault.lockouts.locked(vault.clock.now());
    if let Some(accessor) = accessor {
        locked = [(accessor.clone(), locked.remove(&accessor).unwrap_or_default())].into();
    }
    let total: usize = locked.values().map(Vec::len).sum();
    let mounts = locked.iter().map(|(accessor, names)| {
        let shown = if names.is_empty() { Value::Null } else { json!(names) };
        json!({ "mount_accessor": accessor, "counts": names.len(), "alias_identifiers": shown })
    });
    let root = json!({
        "namespace_id": "root",
        "namespace_path": "",
        "counts": total,
        "mount_accessors": mounts.collect::<Vec<_>>(),
    });
    Response::data(json!({ "by_namespace": [root], "total": total }))
}

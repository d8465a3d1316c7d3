//! What a change of a mount of version 2 is called.
//!
//! Names and metadata are Vault's, as its documentation of events lists them.

use holdfast_logical::Operation::{Create, Delete, Patch, Update};
use holdfast_logical::{Event, Request, Response};
use serde_json::Value;

/// The event that a successful request is; none for one that changes nothing.
pub(super) fn of(request: &Request, response: Option<&Response>) -> Option<Event> {
    // A patch of what is not there is no error here, and no change.
    if response.is_some_and(|response| response.status.is_some_and(|status| status >= 400)) {
        return None;
    }
    if request.path == "config" {
        let is_write = matches!(request.operation, Create | Update);
        return is_write.then(|| Event::new("kv-v2/config-write", "config"));
    }
    let (section, key) = request.path.split_once('/')?;
    let (kind, operation) = match (section, request.operation) {
        ("data", Create | Update) => ("kv-v2/data-write", "data-write"),
        ("data", Patch) => ("kv-v2/data-patch", "data-patch"),
        ("data", Delete) => ("kv-v2/data-delete", "data-delete"),
        ("delete", Create | Update) => ("kv-v2/delete", "delete"),
        ("undelete", Create | Update) => ("kv-v2/undelete", "undelete"),
        ("destroy", Create | Update) => ("kv-v2/destroy", "destroy"),
        ("metadata", Create | Update) => ("kv-v2/metadata-write", "metadata-write"),
        ("metadata", Patch) => ("kv-v2/metadata-patch", "metadata-patch"),
        ("metadata", Delete) => ("kv-v2/metadata-delete", "metadata-delete"),
        _ => return None,
    };
    let mut event = Event::new(kind, format!("data/{key}")).with("operation", operation);
    let data = response.and_then(|response| response.data.as_ref());
    if let Some(version) = data.and_then(|data| data.get("version")).and_then(Value::as_u64) {
        event = event.with("current_version", version.to_string());
    }
    if let Some(versions) = request.data.get("versions") {
        event = event.with("versions", versions.to_string());
    }
    Some(event)
}

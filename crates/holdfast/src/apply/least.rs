//! The least policy under which this directory can be planned and applied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Desired, Record};

/// A policy in HCL for the token that `apply` uses on a shared engine: exactly the directory's
/// paths, and of those that `record` says were applied before, their removal. Nothing that was made
/// by others.
///
/// `sudo` is where OpenBao 2.7.2 asks for it: everything about login methods and audit devices.
pub(crate) fn least_policy(desired: &Desired, record: Option<&Record>) -> String {
    let mut rules: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut grant = |path: String, capabilities: &[&'static str]| {
        rules.entry(path).or_default().extend(capabilities);
    };
    for object in &desired.0 {
        let path = &object.path;
        if path.starts_with("sys/audit/") {
            // Devices are read by their list; none can be changed.
            grant("sys/audit".to_owned(), &["read", "sudo"]);
            grant(path.clone(), &["update", "delete", "sudo"]);
        } else if path.starts_with("sys/auth/") {
            grant(path.clone(), &["read", "update", "delete", "sudo"]);
            grant(format!("{path}/tune"), &["update", "sudo"]);
        } else if path.starts_with("sys/mounts/") {
            grant(path.clone(), &["read", "update", "delete"]);
            grant(format!("{path}/tune"), &["update"]);
        } else if path.starts_with("sys/") {
            grant(path.clone(), &["read", "update", "delete"]);
        } else {
            grant(path.clone(), &["create", "read", "update", "delete"]);
            // A connection is opened anew to see whether it leads anywhere, and its first password
            // is rotated away once the database is known.
            let connection = object.fields.contains_key("plugin_name");
            if let Some((mount, name)) = path.split_once("/config/").filter(|_| connection) {
                grant(format!("{mount}/reset/{name}"), &["update"]);
                grant(format!("{mount}/rotate-root/{name}"), &["update"]);
            }
        }
    }
    for path in record.into_iter().flat_map(|record| record.objects.keys()) {
        let guarded = path.starts_with("sys/auth/") || path.starts_with("sys/audit/");
        grant(path.clone(), if guarded { &["delete", "sudo"] } else { &["delete"] });
    }
    let mut text = String::new();
    for (path, capabilities) in rules {
        let list: Vec<_> = capabilities.iter().map(|name| format!("{name:?}")).collect();
        let _ = writeln!(text, "path {path:?} {{\n  capabilities = [{}]\n}}\n", list.join(", "));
    }
    text
}

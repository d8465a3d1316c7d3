//! The least policy under which this directory can be planned and applied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Desired;

/// A policy in HCL for the token that `apply` uses on a shared engine: exactly the directory's
/// paths, nothing that was made by others.
pub(crate) fn least_policy(desired: &Desired) -> String {
    let mut rules: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut grant = |path: String, capabilities: &[&'static str]| {
        rules.entry(path).or_default().extend(capabilities);
    };
    for object in &desired.0 {
        let path = &object.path;
        if path.starts_with("sys/audit/") {
            grant("sys/audit".to_owned(), &["read", "sudo"]);
            grant(path.clone(), &["create", "update", "delete", "sudo"]);
        } else if path.starts_with("sys/auth/") {
            grant(path.clone(), &["create", "read", "update", "delete", "sudo"]);
            grant(format!("{path}/tune"), &["create", "read", "update", "sudo"]);
        } else if path.starts_with("sys/mounts/") {
            grant(path.clone(), &["create", "read", "update", "delete"]);
            grant(format!("{path}/tune"), &["create", "read", "update"]);
        } else {
            grant(path.clone(), &["create", "read", "update", "delete"]);
            // The administrator's first password is rotated away once the database is known.
            if let Some((mount, name)) = path.split_once("/config/") {
                grant(format!("{mount}/rotate-root/{name}"), &["create", "update"]);
            }
        }
    }
    let mut text = String::new();
    for (path, capabilities) in rules {
        let list: Vec<_> = capabilities.iter().map(|name| format!("{name:?}")).collect();
        let _ = writeln!(text, "path {path:?} {{\n  capabilities = [{}]\n}}\n", list.join(", "));
    }
    text
}

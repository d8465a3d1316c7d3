//! The rules by their names.

use anyhow::bail;
use holdfast_types::closest;

/// What the agent would not start with.
pub(super) const CONFIG: &str = "config";
/// A template that is none.
pub(super) const TEMPLATE: &str = "template";
/// A path that a template asks for and the agent's policies deny.
pub(super) const DENIED: &str = "denied";
/// A secret id that has ended when the agent has to log in again.
pub(super) const SECRET_ID: &str = "secret-id-ends-first";
/// A secret that a shell would read as more than a word.
pub(super) const SHELL: &str = "shell-quoting";
/// A key that may be missing, and would be written as `<no value>`.
pub(super) const MISSING_KEY: &str = "missing-key";
/// A file that more can read than its owner and its group.
pub(super) const WIDE_PERMS: &str = "wide-perms";
/// A file of secrets that outlives the machine.
pub(super) const ON_DISK: &str = "on-disk";
/// A password that is changed where it is kept, and not where it is checked.
pub(super) const ROTATION: &str = "rotation-without-database";
/// A comment that allows what is no rule.
pub(super) const UNKNOWN: &str = "unknown-rule";

/// All of them, those of `holdfast policy lint` at the end.
pub(super) const ALL: [&str; 25] = [
    CONFIG,
    TEMPLATE,
    DENIED,
    SECRET_ID,
    SHELL,
    MISSING_KEY,
    WIDE_PERMS,
    ON_DISK,
    ROTATION,
    UNKNOWN,
    "no-policy",
    "never-decides",
    "star-inside",
    "plus-inside",
    "double-slash",
    "leading-slash",
    "deny-with-others",
    "grants-nothing",
    "sudo-missing",
    "sudo-alone",
    "kv2-without-data",
    "useless-list",
    "useless-capabilities",
    "unused-policy",
    "missing-policy",
];

/// Passes where there is such a rule.
pub(super) fn check(name: &str) -> anyhow::Result<()> {
    if ALL.contains(&name) {
        return Ok(());
    }
    bail!("there is no rule {name:?}{}", meant(name))
}

/// The rule that was perhaps meant.
pub(super) fn meant(name: &str) -> String {
    closest(name, ALL).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

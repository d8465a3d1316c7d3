//! What is wrong with a policy as it is written, beside what a server would refuse.

use holdfast_hcl::{Body, Item, Position, ValueKind};

use crate::pattern::Kind;
use crate::{Capability, Pattern, Policy, PolicyError, Rule, is_root_protected};

/// A mount that policies may be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenMount {
    /// Such as `kv/`.
    pub path: String,
    /// Whether it is a KV store of version 2.
    pub kv2: bool,
}

/// Something wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind in a word.
    pub code: &'static str,
    /// Where the rule starts.
    pub line: u32,
    /// Where the rule starts.
    pub column: u32,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// What follows the mount in a KV store of version 2.
const PARTS: [&str; 7] = ["data", "metadata", "delete", "undelete", "destroy", "subkeys", "config"];

/// All that is wrong with a policy, in the order it is written. Without `mounts`, nothing is said
/// about KV.
///
/// # Errors
/// The policy is one that no server takes.
pub fn lint(name: &str, text: &str, mounts: &[SeenMount]) -> Result<Vec<Finding>, PolicyError> {
    let policy = Policy::parse(name, text)?;
    let body = holdfast_hcl::parse(text).map_err(|error| PolicyError::from(error.to_string()))?;
    let items: Vec<&Item> = body.items.iter().filter(|item| item.name() == "path").collect();
    let mut findings = Vec::new();
    for (index, rule) in policy.rules().iter().enumerate() {
        let mut report = |code, message: String, fix: String| {
            let (line, column) = (rule.line, rule.column);
            findings.push(Finding { code, line, column, message, fix });
        };
        pattern(rule, &mut report);
        capabilities(rule, items.get(index).and_then(|item| item.value.as_object()), &mut report);
        for mount in mounts.iter().filter(|mount| mount.kv2) {
            kv2(rule, mount, &mut report);
        }
        if let Some(other) = overruled(rule, policy.rules()) {
            report(
                "never-decides",
                format!(
                    "{} never decides: {} on line {} covers all of it and is preferred",
                    rule.path, other.path, other.line
                ),
                format!("remove it, or write its capabilities to {}", other.path),
            );
        }
    }
    Ok(findings)
}

type Report<'r> = dyn FnMut(&'static str, String, String) + 'r;

fn pattern(rule: &Rule, report: &mut Report<'_>) {
    let path = &rule.path;
    // Within templates, braces and dots alone stand.
    let body = path.strip_suffix('*').unwrap_or(path);
    if body.contains('*') {
        report(
            "star-inside",
            format!("the * within {path} means itself: only at the end is it a wildcard"),
            format!("write + for each whole segment: {}", body.replace('*', "+")),
        );
    }
    let segments = body.split('/').filter(|segment| *segment != "+");
    if segments.into_iter().any(|segment| segment.contains('+')) {
        report(
            "plus-inside",
            format!(
                "the + within a segment of {path} means itself: alone between slashes it is a wildcard"
            ),
            "let + be a whole segment, or end the path in *".to_owned(),
        );
    }
    if path.contains("//") {
        report(
            "double-slash",
            format!("{path} never matches: no request has // in its path"),
            format!("write {}", path.replace("//", "/")),
        );
    }
    if let Some(rest) = path.strip_prefix('/') {
        report(
            "leading-slash",
            format!("{path} begins with a slash, which is dropped"),
            format!("write {rest}"),
        );
    }
}

fn capabilities(rule: &Rule, written: Option<&Body>, report: &mut Report<'_>) {
    let path = &rule.path;
    let granted = rule.capabilities;
    let names = written.map(written_capabilities).unwrap_or_default();
    if granted.contains(Capability::Deny) {
        let others: Vec<_> = names.iter().filter(|name| *name != "deny").cloned().collect();
        if !others.is_empty() {
            report(
                "deny-with-others",
                format!(
                    "deny stands alone: {} beside it on {path} grant nothing",
                    others.join(", ")
                ),
                "remove deny, or the others".to_owned(),
            );
        }
        return;
    }
    let count = granted.iter().count();
    if count == 0 {
        report(
            "grants-nothing",
            format!(
                "{path} grants nothing, and decides nonetheless: what other rules grant there is lost"
            ),
            "remove it, or write \"deny\" where that is meant".to_owned(),
        );
    }
    let protected = match path.strip_suffix('*') {
        // What is covered in part may be covered on purpose.
        Some(start) => is_root_protected(start) || is_root_protected(&format!("{start}x")),
        None => is_root_protected(path),
    };
    let sudo = granted.contains(Capability::Sudo);
    if protected && !sudo && count > 0 {
        report(
            "sudo-missing",
            format!("{path} is protected: without sudo the rule allows nothing there"),
            "add \"sudo\" to its capabilities".to_owned(),
        );
    }
    if sudo && count == 1 {
        report(
            "sudo-alone",
            format!("sudo permits nothing by itself on {path}"),
            "add the capability for the operation, such as \"read\"".to_owned(),
        );
    }
}

/// The capabilities as they are written, also where one of them makes the others void.
fn written_capabilities(body: &Body) -> Vec<String> {
    let items = body.items.iter().filter(|item| item.name() == "capabilities");
    let lists = items.filter_map(|item| match &item.value.kind {
        ValueKind::List(elements) => Some(elements),
        _ => None,
    });
    lists.flatten().filter_map(|element| element.as_text()).map(str::to_owned).collect()
}

fn kv2(rule: &Rule, mount: &SeenMount, report: &mut Report<'_>) {
    let path = rule.path.trim_start_matches('/');
    let Some(below) = path.strip_prefix(mount.path.as_str()) else { return };
    let (part, rest) = below.split_once('/').unwrap_or((below, ""));
    let listing = [Capability::List, Capability::Scan];
    let lists = listing.into_iter().any(|capability| rule.capabilities.contains(capability));
    if part.is_empty() || part.contains(['*', '+', '{']) {
        return;
    }
    let denies = rule.capabilities.contains(Capability::Deny);
    if !PARTS.contains(&part) {
        let only_lists = rule.capabilities.iter().all(|capability| listing.contains(&capability));
        let part = if only_lists && lists { "metadata" } else { "data" };
        report(
            "kv2-without-data",
            format!("{path} never matches: {} is a KV store of version 2", mount.path),
            format!("write {}{part}/{below}", mount.path),
        );
        return;
    }
    if part == "data" && lists {
        report(
            "useless-list",
            format!(
                "list on {path} grants nothing: in KV version 2 names are listed below metadata/"
            ),
            format!("write a rule on {}metadata/{rest} with \"list\"", mount.path),
        );
    }
    let writes = [Capability::Update, Capability::Create];
    let useful = writes.into_iter().any(|capability| rule.capabilities.contains(capability));
    if matches!(part, "delete" | "undelete" | "destroy") && !useful && !denies {
        report(
            "useless-capabilities",
            format!("{path} is asked by writes alone: nothing else can be granted there"),
            "write capabilities = [\"update\"]".to_owned(),
        );
    }
}

/// The rule that decides in place of `rule` wherever it matches.
fn overruled<'r>(rule: &Rule, all: &'r [Rule]) -> Option<&'r Rule> {
    let own = rule.pattern.as_ref()?;
    all.iter().find(|other| {
        other.pattern.as_ref().is_some_and(|pattern| {
            pattern != own && pattern.specificity(own).is_gt() && includes(pattern, own)
        })
    })
}

/// Whether `wide` surely matches everything that `narrow` matches, both with wildcards.
fn includes(wide: &Pattern, narrow: &Pattern) -> bool {
    let is_prefix = |pattern: &Pattern| {
        matches!(pattern.kind(), Kind::Prefix | Kind::Segments { prefix: true })
    };
    if wide.kind() == Kind::Exact || narrow.kind() == Kind::Exact {
        return false;
    }
    if is_prefix(narrow) && !is_prefix(wide) {
        return false;
    }
    let (mine, theirs): (Vec<_>, Vec<_>) =
        (wide.text().split('/').collect(), narrow.text().split('/').collect());
    let last = mine.len() - 1;
    if theirs.len() < mine.len() || (!is_prefix(wide) && theirs.len() != mine.len()) {
        return false;
    }
    mine.iter().enumerate().all(|(index, segment)| {
        // What ends here in the middle of a segment covers all that goes on so.
        let begins = index == last && is_prefix(wide);
        match theirs[index] {
            "+" => *segment == "+" && !begins || (begins && segment.is_empty()),
            other if begins => other.starts_with(segment),
            // The narrow one's last segment is only a beginning.
            other if is_prefix(narrow) && index + 1 == theirs.len() => begins && other == *segment,
            other => *segment == "+" || *segment == other,
        }
    })
}

/// Where a text is wrong that is no policy, if the message says so: `At 3:1: ...`.
pub fn position_of(error: &PolicyError) -> Option<Position> {
    let (_, rest) = error.message.split_once("At ")?;
    let (line, rest) = rest.split_once(':')?;
    let column: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(Position { line: line.parse().ok()?, column: column.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_found() {
        let mounts = [
            SeenMount { path: "kv/".to_owned(), kv2: true },
            SeenMount { path: "old/".to_owned(), kv2: false },
        ];
        for (text, want) in [
            (r#"path "kv/data/app/*" { capabilities = ["read"] }"#, &[][..]),
            (r#"path "kv/app/*" { capabilities = ["read"] }"#, &["kv2-without-data"]),
            (r#"path "kv/*" { capabilities = ["read", "list"] }"#, &[]),
            (r#"path "kv/+/app" { capabilities = ["read"] }"#, &[]),
            (r#"path "kv/config" { capabilities = ["read"] }"#, &[]),
            (r#"path "old/app/*" { capabilities = ["read"] }"#, &[]),
            (r#"path "kv/data/*" { capabilities = ["read", "list"] }"#, &["useless-list"]),
            (r#"path "kv/destroy/*" { capabilities = ["delete"] }"#, &["useless-capabilities"]),
            (r#"path "old/*/x" { capabilities = ["read"] }"#, &["star-inside"]),
            (r#"path "old/a+/x" { capabilities = ["read"] }"#, &["plus-inside"]),
            (r#"path "old//x" { capabilities = ["read"] }"#, &["double-slash"]),
            (r#"path "/old/x" { capabilities = ["read"] }"#, &["leading-slash"]),
            (r#"path "old/x" { capabilities = ["deny", "read"] }"#, &["deny-with-others"]),
            (r#"path "old/x" { capabilities = ["deny"] }"#, &[]),
            (r#"path "old/x" { capabilities = [] }"#, &["grants-nothing"]),
            (r#"path "sys/audit" { capabilities = ["read"] }"#, &["sudo-missing"]),
            (r#"path "sys/audit/*" { capabilities = ["read"] }"#, &["sudo-missing"]),
            (r#"path "sys/audit" { capabilities = ["read", "sudo"] }"#, &[]),
            (r#"path "sys/*" { capabilities = ["read"] }"#, &[]),
            (r#"path "sys/audit" { capabilities = ["sudo"] }"#, &["sudo-alone"]),
            (
                r#"path "old/+/*" { capabilities = ["update"] } path "old/*" { capabilities = ["read"] }"#,
                &["never-decides"],
            ),
            (
                r#"path "old/a/*" { capabilities = ["update"] } path "old/*" { capabilities = ["read"] }"#,
                &[],
            ),
            (r#"path "kv/data/{{identity.entity.name}}/*" { capabilities = ["read"] }"#, &[]),
        ] {
            let findings = lint("p", text, &mounts).unwrap();
            let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
            assert_eq!(codes, want, "{text}");
        }
    }

    #[test]
    fn the_place_of_a_mistake_is_read_from_the_message() {
        let error = lint("p", "path \"a\" {\n  capabilities = [\"read\"\n}", &[]).unwrap_err();
        assert_eq!(position_of(&error).map(|at| at.line), Some(3), "{error}");
    }
}

/// A rule that never decides really never does, for random policies.
#[cfg(all(test, feature = "testing"))]
mod properties {
    use std::sync::Arc;

    use super::*;
    use crate::Acl;
    use crate::testing::Generator;

    #[test]
    fn a_rule_said_never_to_decide_never_decides() {
        let mut generator = Generator::new(41);
        let mut found = 0;
        for _ in 0..20_000 {
            let case = generator.case();
            for text in &case.policies {
                let policy = Policy::parse("p", text).unwrap();
                let void = policy.rules().iter().filter(|r| overruled(r, policy.rules()).is_some());
                let void: Vec<_> = void.filter_map(|rule| rule.pattern.clone()).collect();
                if void.is_empty() {
                    continue;
                }
                found += void.len();
                let acl = Acl::new([Arc::new(policy)], holdfast_types::Timestamp::UNIX_EPOCH);
                for path in &case.paths {
                    let decides = acl.find(path, false).map(|found| found.pattern().clone());
                    assert!(
                        decides.is_none_or(|pattern| !void.contains(&pattern)),
                        "{path} {text}"
                    );
                }
            }
        }
        assert!(found > 100, "{found}");
    }
}

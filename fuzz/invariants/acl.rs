//! What holds for any patterns and paths: the index finds what a look at all patterns finds.

use std::sync::Arc;

use holdfast_policy::{Acl, Capabilities, Capability, Policy};
use holdfast_types::Timestamp;

/// Makes a policy of the patterns, one capability each in turn, and asks it about the paths.
/// Patterns that no policy may hold are left out.
pub(crate) fn check(patterns: &[&str], paths: &[&str]) {
    let rule = |(index, pattern): (usize, &&str)| {
        let quoted: String = pattern.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        let capability = Capability::ALL[index % Capability::ALL.len()].as_str();
        let text = format!("path \"{quoted}\" {{ capabilities = [\"{capability}\"] }}\n");
        Policy::parse("p", &text).is_ok_and(|policy| !policy.is_templated()).then_some(text)
    };
    let text: String = patterns.iter().enumerate().filter_map(rule).collect();
    // Too long a text is refused as a whole.
    if let Ok(policy) = Policy::parse("p", &text) {
        agrees_with_scan(&[Arc::new(policy)], paths);
    }
}

/// Whether the compiled policies decide as a plain scan over their rules does.
pub(crate) fn agrees_with_scan(policies: &[Arc<Policy>], paths: &[&str]) {
    let acl = Acl::new(policies.iter().cloned(), Timestamp::UNIX_EPOCH);
    let rules: Vec<(String, Capabilities)> = policies
        .iter()
        .flat_map(|policy| policy.rules())
        .filter_map(|rule| Some((rule.pattern.as_ref()?.to_string(), rule.capabilities)))
        .collect();
    for path in paths {
        for list in [false, true] {
            let found = acl.find(path, list);
            let want = scan(&rules, path, list);
            let got = found.map(|found| found.pattern().to_string());
            assert_eq!(got, want, "{path:?} list {list} among {rules:?}");
            let (Some(found), Some(pattern)) = (found, want) else { continue };
            let same = rules.iter().filter(|(other, _)| *other == pattern);
            let granted = same.fold(Capabilities::NONE, |all, (_, some)| all.union(*some));
            if granted.contains(Capability::Deny) {
                assert!(found.capabilities().contains(Capability::Deny), "{pattern}");
            } else {
                assert_eq!(found.capabilities(), granted, "{pattern}");
            }
        }
    }
}

/// The deciding pattern, by looking at all of them.
fn scan(rules: &[(String, Capabilities)], path: &str, list: bool) -> Option<String> {
    let path = path.trim_start_matches('/');
    let folder = path.strip_suffix('/').filter(|_| list);
    let exact = |path: &str| {
        let mut patterns = rules.iter().map(|(pattern, _)| pattern);
        patterns.find(|pattern| !is_wild(pattern) && pattern.as_str() == path).cloned()
    };
    let wild = |path: &str| {
        let patterns = rules.iter().map(|(pattern, _)| pattern);
        patterns
            .filter(|pattern| is_wild(pattern) && matches(pattern, path))
            .max_by_key(rank)
            .cloned()
    };
    exact(path).or_else(|| exact(folder?)).or_else(|| wild(path)).or_else(|| wild(folder?))
}

fn has_segments(pattern: &str) -> bool {
    pattern == "+" || pattern.starts_with("+/") || pattern.contains("/+")
}

fn is_wild(pattern: &str) -> bool {
    pattern.ends_with('*') || has_segments(pattern)
}

fn matches(pattern: &str, path: &str) -> bool {
    let (text, prefix) = match pattern.strip_suffix('*') {
        Some(text) => (text, true),
        None => (pattern, false),
    };
    if !has_segments(pattern) {
        return prefix && path.starts_with(text);
    }
    let (mine, theirs): (Vec<_>, Vec<_>) = (text.split('/').collect(), path.split('/').collect());
    let last = mine.len() - 1;
    if theirs.len() < mine.len() || (!prefix && theirs.len() != mine.len()) {
        return false;
    }
    mine.iter().enumerate().all(|(index, segment)| {
        *segment == "+"
            || *segment == theirs[index]
            || (prefix && index == last && theirs[index].starts_with(segment))
    })
}

type Rank = (usize, bool, isize, usize, String);

fn rank(pattern: &&String) -> Rank {
    let (text, prefix) = match pattern.strip_suffix('*') {
        Some(text) => (text, true),
        None => (pattern.as_str(), false),
    };
    let segments = has_segments(pattern);
    let first = if segments { text.find('+').unwrap_or_default() } else { text.len() };
    let wildcards = text.split('/').filter(|segment| segments && *segment == "+").count();
    (first, !prefix, -(wildcards as isize), text.len(), text.to_owned())
}

//! Which rule decides: held against the real server's answers and against a plain scan.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_policy::{Acl, Capabilities, Capability, Policy};
use proptest::prelude::*;

use crate::generator::Generator;

fn compile(policies: &[String]) -> Acl {
    let parse = |(index, text): (usize, &String)| {
        Arc::new(
            Policy::parse(&format!("p{index}"), text).unwrap_or_else(|e| panic!("{e}: {text}")),
        )
    };
    Acl::new(policies.iter().enumerate().map(parse), "2026-11-22T00:00:00Z".parse().unwrap())
}

/// `sys/capabilities` of OpenBao 2.7.2, recorded from it for cases of the generator.
#[test]
fn capabilities_are_the_real_servers() {
    #[derive(serde::Deserialize)]
    struct Recorded {
        policies: Vec<String>,
        capabilities: BTreeMap<String, Vec<String>>,
    }
    let mut pairs = 0;
    for line in include_str!("corpus/capabilities.jsonl").lines() {
        let recorded: Recorded = serde_json::from_str(line).unwrap();
        let acl = compile(&recorded.policies);
        for (path, want) in &recorded.capabilities {
            assert_eq!(
                &acl.capabilities(path),
                want,
                "{path:?} under {}",
                recorded.policies.concat()
            );
            pairs += 1;
        }
    }
    assert!(pairs >= 500, "{pairs}");
}

#[test]
fn the_index_finds_what_a_plain_scan_finds() {
    let mut generator = Generator::new(7);
    for _ in 0..400 {
        let case = generator.case();
        agrees_with_scan(&case.policies, &case.paths);
    }
}

proptest! {
    #[test]
    fn any_path_is_decided_as_by_a_plain_scan(
        patterns in prop::collection::vec("[ab+/]{0,8}\\*?", 1..8),
        paths in prop::collection::vec("\\PC{0,12}|[ab+/*]{0,10}", 1..8),
    ) {
        let rules = patterns.iter().filter(|pattern| !pattern.contains("+*"));
        let policy = rules.enumerate().map(|(index, pattern)| {
            let capability = Capability::ALL[index % Capability::ALL.len()].as_str();
            format!("path \"{pattern}\" {{ capabilities = [\"{capability}\"] }}\n")
        });
        agrees_with_scan(&[policy.collect()], &paths);
    }
}

fn agrees_with_scan(policies: &[String], paths: &[String]) {
    let acl = compile(policies);
    let policies = policies.iter().map(|text| Policy::parse("p", text).unwrap());
    let rules: Vec<(String, Capabilities)> = policies
        .flat_map(|policy| policy.rules().to_vec())
        .map(|rule| (rule.pattern.unwrap().to_string(), rule.capabilities))
        .collect();
    for path in paths {
        for list in [false, true] {
            let found = acl.find(path, list);
            let want = scan(&rules, path, list);
            let got = found.map(|found| found.pattern().to_string());
            assert_eq!(got, want, "{path:?} list {list} among {rules:?}");
            let Some(pattern) = want else { continue };
            let granted = rules.iter().filter(|(other, _)| *other == pattern).map(|(_, c)| *c);
            let granted = granted.reduce(Capabilities::union).unwrap();
            let got = found.unwrap().capabilities();
            assert_eq!(got.contains(Capability::Deny), granted.contains(Capability::Deny));
            if !got.contains(Capability::Deny) {
                assert_eq!(got, granted, "{pattern}");
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
    let first = if segments { text.find('+').unwrap() } else { text.len() };
    let wildcards = text.split('/').filter(|segment| segments && *segment == "+").count();
    (first, !prefix, -(wildcards as isize), text.len(), text.to_owned())
}

//! Which rule decides: held against the real server's answers and against a plain scan.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_policy::testing::Generator;
use holdfast_policy::{Acl, Policy};
use proptest::prelude::*;

use crate::invariants;

fn parse_all(policies: &[String]) -> Vec<Arc<Policy>> {
    let parse = |(index, text): (usize, &String)| {
        Arc::new(
            Policy::parse(&format!("p{index}"), text).unwrap_or_else(|e| panic!("{e}: {text}")),
        )
    };
    policies.iter().enumerate().map(parse).collect()
}

fn compile(policies: &[String]) -> Acl {
    Acl::new(parse_all(policies), "2026-11-22T00:00:00Z".parse().unwrap())
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
        let paths: Vec<&str> = case.paths.iter().map(String::as_str).collect();
        invariants::agrees_with_scan(&parse_all(&case.policies), &paths);
    }
}

proptest! {
    #[test]
    fn any_path_is_decided_as_by_a_plain_scan(
        patterns in prop::collection::vec("[ab+/]{0,8}\\*?|\\PC{0,8}", 1..8),
        paths in prop::collection::vec("\\PC{0,12}|[ab+/*]{0,10}", 1..8),
    ) {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        invariants::check(&patterns, &paths);
    }
}

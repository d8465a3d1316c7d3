//! The rule that is proposed allows the request and changes nothing else.

use std::sync::Arc;

use holdfast_policy::testing::Generator;
use holdfast_policy::{
    AccessRequest, Acl, Cause, Explanation, Facts, Fix, MountFacts, Operation, Policy, Question,
    Target, explain,
};
use holdfast_types::Timestamp;

const OPERATIONS: [Operation; 7] = [
    Operation::Read,
    Operation::List,
    Operation::Scan,
    Operation::Create,
    Operation::Update,
    Operation::Patch,
    Operation::Delete,
];

fn parse_all(texts: &[String]) -> Vec<Arc<Policy>> {
    let parse = |(index, text): (usize, &String)| {
        Arc::new(
            Policy::parse(&format!("p{index}"), text).unwrap_or_else(|e| panic!("{e}: {text}")),
        )
    };
    texts.iter().enumerate().map(parse).collect()
}

fn compile(policies: &[Arc<Policy>]) -> Acl {
    Acl::new(policies.iter().cloned(), Timestamp::UNIX_EPOCH)
}

fn ask(policies: &[Arc<Policy>], operation: Operation, path: &str) -> Explanation {
    let acl = compile(policies);
    let question = Question { operation, path, parameters: &[], wrap_ttl: None, verdict: None };
    let target = if operation == Operation::Create { Target::Absent } else { Target::Present };
    let facts = Facts { target, ..Facts::unknown(Timestamp::UNIX_EPOCH) };
    explain(&acl, policies, &question, &facts)
}

/// The policies' texts once the fix is made; none where there is nothing to write.
fn apply(policies: &[Arc<Policy>], fix: &Fix) -> Option<Vec<String>> {
    let written = |policy: &Policy| -> Vec<(u32, String)> {
        policy.rules().iter().map(|rule| (rule.line, rule.to_hcl())).collect()
    };
    let mut texts: Vec<_> = policies.iter().map(|policy| written(policy)).collect();
    let at = |name: &str| policies.iter().position(|policy| policy.name() == name).unwrap();
    match fix {
        Fix::Add { policy, hcl, .. } => {
            texts[policy.as_deref().map_or(0, at)].push((0, hcl.clone()));
        }
        Fix::Change { policy, line, hcl, .. } => {
            let mut changed = 0;
            for (_, text) in texts[at(policy)].iter_mut().filter(|(at, _)| at == line) {
                text.clone_from(hcl);
                changed += 1;
            }
            assert_eq!(changed, 1, "line {line} of {policy}");
        }
        Fix::Advice(_) | Fix::None => return None,
    }
    let join = |rules: Vec<(u32, String)>| rules.into_iter().map(|(_, text)| text).collect();
    Some(texts.into_iter().map(join).collect())
}

fn is_allowed(acl: &Acl, operation: Operation, path: &str) -> bool {
    acl.check(&AccessRequest::new(operation, path)).allowed
}

/// The path as rules are held against it.
fn canonical(operation: Operation, path: &str) -> String {
    let path = path.trim_start_matches('/');
    match operation.is_list() && !path.ends_with('/') {
        true => format!("{path}/"),
        false => path.to_owned(),
    }
}

#[test]
fn a_proposed_rule_allows_the_request_and_nothing_else() {
    let mut generator = Generator::new(23);
    let (mut rules, mut together) = (0, 0);
    for _ in 0..60 {
        let case = generator.case();
        let policies = parse_all(&case.policies);
        let before = compile(&policies);
        let mut paths: Vec<String> = case.paths.clone();
        for path in &case.paths {
            paths.extend([format!("{path}/"), path.trim_end_matches('/').to_owned()]);
            paths.push(format!("{path}/a"));
        }
        // No server takes these, and rules have odd ways with them.
        paths.retain(|path| !path.contains("//"));
        for path in case.paths.iter().filter(|path| !path.contains("//")) {
            for operation in OPERATIONS {
                let explained = ask(&policies, operation, path);
                let allowed = is_allowed(&before, operation, path);
                assert_eq!(explained.cause == Cause::Allowed, allowed);
                let Some(texts) = apply(&policies, &explained.fix) else {
                    // Paths with wildcards in them have no such rule, nor have denials that hide
                    // what other rules on the same path grant.
                    if let Fix::Advice(advice) = &explained.fix {
                        let hidden = advice.starts_with("change the rules on this path together");
                        assert!(hidden || path.contains(['+', '*']), "{path}: {advice}");
                        together += usize::from(hidden);
                    }
                    continue;
                };
                assert!(!allowed);
                rules += 1;
                let after = compile(&parse_all(&texts));
                let said =
                    || format!("{operation:?} {path:?} {:?} {:?}", case.policies, explained.fix);
                assert!(is_allowed(&after, operation, path), "not allowed: {}", said());
                let asked = canonical(operation, path);
                for other in &paths {
                    for doing in OPERATIONS {
                        let path = canonical(doing, other);
                        if doing == operation && path == asked {
                            continue;
                        }
                        assert_eq!(
                            is_allowed(&after, doing, other),
                            is_allowed(&before, doing, other),
                            "{doing:?} {other:?} changed: {}",
                            said()
                        );
                    }
                }
            }
        }
    }
    assert!(rules > 2000 && together * 50 < rules, "{rules} rules, {together} without one");
}

#[test]
fn nothing_is_proposed_for_protected_paths() {
    let policies = parse_all(&["path \"kv/*\" { capabilities = [\"read\"] }".to_owned()]);
    for path in ["sys/mounts/x", "sys/policies/acl/p", "/sys/audit", "sys/internal/explain/x"] {
        for operation in OPERATIONS {
            let explained = ask(&policies, operation, path);
            assert!(matches!(explained.fix, Fix::Advice(_)), "{operation:?} {path}: {explained:?}");
        }
    }
    let acl = compile(&policies);
    let question = Question {
        operation: Operation::Read,
        path: "kv/a",
        parameters: &[],
        wrap_ttl: None,
        verdict: None,
    };
    let facts = Facts { needs_sudo: true, ..Facts::unknown(Timestamp::UNIX_EPOCH) };
    let explained = explain(&acl, &policies, &question, &facts);
    assert_eq!(explained.cause, Cause::NeedsSudo);
    assert!(matches!(explained.fix, Fix::Advice(_)), "{explained:?}");
}

/// Rules that look as if they allowed the request.
#[test]
fn a_rule_that_is_misread_is_named_with_what_is_wrong() {
    let kv2 = MountFacts::Kv2("kv/");
    let none = MountFacts::Unknown;
    use Operation::{Delete, List, Read, Update};
    for (rules, operation, path, mount, want) in [
        (r#"path "kv/*/db" { policy = "read" }"#, Read, "kv/a/db", none, "star-inside"),
        (r#"path "kv/+" { policy = "read" }"#, Read, "kv/a/db", none, "plus-is-one-segment"),
        (r#"path "kv/a+" { policy = "read" }"#, Read, "kv/ab", none, "plus-inside"),
        (r#"path "kv/A" { policy = "read" }"#, Read, "kv/a", none, "letter-case"),
        (r#"path "kv/a/" { policy = "read" }"#, Read, "kv/a", none, "trailing-slash"),
        (r#"path "kv/a" { policy = "read" }"#, Read, "kv/a/", none, "trailing-slash"),
        (r#"path "kv/a/*" { policy = "read" }"#, Read, "kv/a", none, "trailing-slash"),
        (r#"path "kv/a/*" { policy = "read" }"#, Update, "kv/a", none, "no-rule"),
        (
            r#"path "kv/*" { policy = "write" } path "kv/a*" { policy = "read" }"#,
            Delete,
            "kv/ab",
            none,
            "shadowed",
        ),
        (r#"path "kv/a/*" { policy = "read" }"#, Read, "kv/data/a/b", kv2, "kv2-rule-without-data"),
        (r#"path "kv/data/*" { policy = "read" }"#, Read, "kv/a", kv2, "kv2-request-without-data"),
        (r#"path "kv/data/*" { policy = "read" }"#, List, "kv/", kv2, "kv2-request-without-data"),
        (r#"path "kv/data/*" { policy = "read" }"#, List, "kv/metadata/a", kv2, "kv2-other-part"),
        (r#"path "kv/metadata/*" { policy = "read" }"#, List, "kv/data/a", kv2, "kv2-list-of-data"),
        (
            r#"path "kv/data/*" { policy = "write" }"#,
            Delete,
            "kv/metadata/a",
            kv2,
            "kv2-other-part",
        ),
        (r#"path "x/*" { policy = "read" }"#, Read, "y/a", MountFacts::Missing(None), "no-mount"),
        (
            r#"path "kv/a" { policy = "read" expiration = "1969-01-01T00:00:00Z" }"#,
            Read,
            "kv/a",
            none,
            "rule-expired",
        ),
    ] {
        let policies = parse_all(&[rules.to_owned()]);
        let acl = compile(&policies);
        let question = Question { operation, path, parameters: &[], wrap_ttl: None, verdict: None };
        let facts =
            Facts { mount, target: Target::Present, ..Facts::unknown(Timestamp::UNIX_EPOCH) };
        let explained = explain(&acl, &policies, &question, &facts);
        assert_eq!(explained.cause.kind(), want, "{rules} {operation:?} {path}: {explained:?}");
    }
}

//! Whole decisions. What is marked as the real server's was read off OpenBao 2.7.2 by making the
//! request with a token of that policy.

use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::{AccessRequest, Acl, Capability, Operation, Policy, Verdict};
use serde_json::{Map, Value, json};

fn acl(policies: &[(&str, &str)]) -> Acl {
    let policies = policies.iter().map(|(name, text)| Arc::new(Policy::parse(name, text).unwrap()));
    Acl::new(policies, "2026-11-22T00:00:00Z".parse().unwrap())
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// The real server's, but for the rows that say otherwise.
#[test]
fn parameters_are_judged() {
    use Operation::{Delete, List, Patch, Read, Update};
    let all = r#"capabilities = ["create", "read", "update", "delete", "list", "patch", "scan"]"#;
    for (conditions, operation, data, allowed) in [
        (r#"allowed_parameters = { "ttl" = ["5"] }"#, Update, json!({"ttl": 5}), false),
        (r#"allowed_parameters = { "ttl" = [5] }"#, Update, json!({"ttl": "5"}), false),
        (r#"allowed_parameters = { "ttl" = [true] }"#, Update, json!({"ttl": true}), true),
        (r#"allowed_parameters = { "ttl" = [["a"]] }"#, Update, json!({"ttl": ["a"]}), true),
        (
            r#"allowed_parameters = { "ttl" = [{ a = "b" }] }"#,
            Update,
            json!({"ttl": {"a": "b"}}),
            true,
        ),
        (r#"allowed_parameters = { "ttl" = ["a"] }"#, Update, json!({"ttl": null}), false),
        (r#"allowed_parameters = { "TTL" = ["a"] }"#, Update, json!({"Ttl": "a"}), true),
        (r#"allowed_parameters = { "ttl" = ["*"] }"#, Update, json!({"ttl": "x"}), false),
        (r#"allowed_parameters = { "ttl" = ["*b*"] }"#, Update, json!({"ttl": "abc"}), true),
        (r#"allowed_parameters = { "ttl" = ["a*"] }"#, Patch, json!({"ttl": "abc"}), true),
        (r#"allowed_parameters = { "ttl" = ["*a"] }"#, Patch, json!({"ttl": "abc"}), false),
        (r#"allowed_parameters = {}"#, Update, json!({"a": 1}), true),
        (r#"allowed_parameters = { "*" = [] "a" = ["1"] }"#, Update, json!({"a": "2"}), false),
        (r#"allowed_parameters = { "*" = [] "a" = ["1"] }"#, Update, json!({"b": "2"}), true),
        (r#"allowed_parameters = { "*" = ["v"] }"#, Update, json!({"b": "2"}), true),
        (r#"allowed_parameters = { "z" = [] }"#, Read, json!({"y": "1"}), false),
        (r#"allowed_parameters = { "z" = [] }"#, List, json!({"y": "1"}), true),
        (r#"allowed_parameters = { "z" = [] }"#, Delete, json!({"y": "1"}), true),
        (r#"denied_parameters = { "*" = [] }"#, Update, json!({"ttl": 5}), false),
        (r#"denied_parameters = { "*" = ["v"] }"#, Update, json!({"b": "2"}), false),
        (r#"denied_parameters = { "*" = [] }"#, Read, json!({}), true),
        (r#"denied_parameters = { "a" = ["x*"] }"#, Update, json!({"A": "xyz"}), false),
        (r#"denied_parameters = { "a" = ["x*"] }"#, Update, json!({"A": "yz"}), true),
        (r#"required_parameters = ["A"]"#, Update, json!({"a": 1}), true),
        (r#"required_parameters = ["a"]"#, Update, json!({"A": 1}), false),
        (r#"required_parameters = ["a"]"#, Read, json!({}), false),
        (r#"required_parameters = ["a"]"#, Read, json!({"a": "1"}), true),
        // Not the real server's: it takes a number in a policy for unequal to any in a request.
        (r#"allowed_parameters = { "ttl" = [5] }"#, Update, json!({"ttl": 5}), true),
        (r#"denied_parameters = { "ttl" = [5] }"#, Update, json!({"ttl": 5.0}), false),
    ] {
        let acl = acl(&[("p", &format!("path \"s/x\" {{ {all} {conditions} }}"))]);
        let data = map(&data);
        let request = AccessRequest { data: Some(&data), ..AccessRequest::new(operation, "s/x") };
        let decision = acl.check(&request);
        assert_eq!(decision.allowed, allowed, "{conditions} {operation:?} {data:?}");
    }
}

/// The real server's.
#[test]
fn lists_are_limited_and_answers_wrapped() {
    let limited = |limit: Option<Value>, required: &str| {
        let text =
            format!("path \"s/*\" {{ capabilities = [\"list\"] pagination_limit = 2 {required} }}");
        let acl = acl(&[("p", &text)]);
        let data = limit.map(|limit| map(&json!({ "limit": limit }))).unwrap_or_default();
        let request =
            AccessRequest { data: Some(&data), ..AccessRequest::new(Operation::List, "s/x") };
        let decision = acl.check(&request);
        decision.allowed.then_some(decision.limit)
    };
    for (limit, want) in [
        (None, Some(Some(2))),
        (Some(json!("3")), None),
        (Some(json!("max")), Some(Some(2))),
        (Some(json!("-1")), None),
        (Some(json!("foo")), None),
        (Some(json!("")), Some(Some(2))),
        (Some(json!("0x1")), None),
        (Some(json!("01")), Some(None)),
        (Some(json!("2.0")), None),
        (Some(json!(0)), Some(Some(2))),
    ] {
        assert_eq!(limited(limit.clone(), ""), want, "{limit:?}");
    }
    assert_eq!(limited(None, "required_parameters = [\"limit\"]"), None);

    for (condition, wrap_ttl, allowed) in [
        ("min_wrapping_ttl = \"1m\"", None, false),
        ("min_wrapping_ttl = \"1m\"", Some(120), true),
        ("min_wrapping_ttl = 60", Some(59), false),
        ("max_wrapping_ttl = \"1m\"", Some(120), false),
        ("max_wrapping_ttl = \"1m\"", Some(60), true),
        ("max_wrapping_ttl = \"1m\"", None, false),
    ] {
        let acl = acl(&[("p", &format!("path \"a\" {{ policy = \"read\" {condition} }}"))]);
        let wrap_ttl = wrap_ttl.map(Duration::from_secs);
        let request = AccessRequest { wrap_ttl, ..AccessRequest::new(Operation::Read, "a") };
        assert_eq!(acl.check(&request).allowed, allowed, "{condition} {wrap_ttl:?}");
    }
}

/// A list of `s/d` is one of `s/d/`, and is denied by what denies `s/d`. The patterns of the
/// second half match `s/d` alone, not the folder: the real server allows those, too.
#[test]
fn a_list_does_not_slip_past_a_denial() {
    for (denied, allowed) in [
        ("s/d", false),
        ("s/d*", false),
        ("s/d/", false),
        ("s/d/*", false),
        ("s/+/", false),
        ("s/+", true),
        ("+/d", true),
        ("+/+", true),
    ] {
        let policy = format!(
            "path \"s/*\" {{ capabilities = [\"list\"] }} path \"{denied}\" {{ policy = \"deny\" }}"
        );
        let acl = acl(&[("p", &policy)]);
        for path in ["s/d", "s/d/"] {
            let decision = acl.check(&AccessRequest::new(Operation::List, path));
            assert_eq!(decision.allowed, allowed, "{denied} {path}");
        }
    }
}

#[test]
fn a_decision_names_its_rule_and_its_reason() {
    let acl = acl(&[
        ("one", r#"path "kv/*" { capabilities = ["read", "sudo"] }"#),
        ("two", r#"path "kv/*" { capabilities = ["read", "update"] required_parameters = ["a"] }"#),
        ("three", r#"path "kv/no" { policy = "deny" } path "kv/+/x" { policy = "read" }"#),
    ]);
    let decide = |operation, path| {
        let decision = acl.check(&AccessRequest::new(operation, path));
        let rule = decision.rule.map(|rule| rule.pattern().to_string()).unwrap_or_default();
        (decision.verdict, rule, decision.granting.join(","), decision.sudo)
    };
    let row = |verdict, rule: &str, granting: &str, sudo| {
        (verdict, rule.to_owned(), granting.to_owned(), sudo)
    };
    use Operation::{Create, Delete, Help, Read};
    let missing = Verdict::MissingParameter("a".to_owned());
    assert_eq!(decide(Read, "kv/a"), row(missing, "kv/*", "one,two", true));
    assert_eq!(decide(Delete, "kv/a"), row(Verdict::Lacks(Capability::Delete), "kv/*", "", true));
    assert_eq!(decide(Read, "kv/no"), row(Verdict::Denied, "kv/no", "", false));
    assert_eq!(decide(Read, "kv/y/x"), row(Verdict::Allowed, "kv/+/x", "three", false));
    assert_eq!(decide(Create, "other"), row(Verdict::NoRule, "", "", false));
    assert_eq!(decide(Help, "other"), row(Verdict::Allowed, "", "", false));
}

#[test]
fn root_stands_alone() {
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    let root = Acl::new([Arc::new(Policy::root())], now);
    let decision = root.check(&AccessRequest::new(Operation::Delete, "sys/anything"));
    assert!(decision.allowed && decision.sudo && decision.is_root);
    assert_eq!(root.capabilities("x"), ["root"]);
    let other = Policy::parse("p", r#"path "a" { policy = "read" }"#).unwrap();
    let both = Acl::new([Arc::new(Policy::root()), Arc::new(other)], now);
    assert_eq!(both.capabilities("x"), ["deny"]);
    assert_eq!(Acl::new([], now).capabilities("x"), ["deny"]);
}

#[test]
fn rules_expire() {
    let policy = Policy::parse(
        "p",
        r#"
        path "a" { policy = "read" expiration = "2026-11-22T01:00:00Z" }
        path "b" { policy = "read" expiration = "1795304000" }
        path "c" { policy = "read" }
        "#,
    );
    let policy = Arc::new(policy.unwrap());
    let at = |time: &str| Acl::new([policy.clone()], time.parse().unwrap());
    let acl = at("2026-11-21T00:00:00Z");
    assert_eq!(acl.stale_at().unwrap().as_second(), 1_795_304_000);
    assert_eq!(acl.capabilities("b"), ["list", "read"]);
    let acl = at("2026-11-22T00:30:00Z");
    assert_eq!(acl.capabilities("b"), ["deny"]);
    assert_eq!(acl.stale_at().unwrap().to_string(), "2026-11-22T01:00:00Z");
    assert_eq!(at("2026-11-23T00:00:00Z").stale_at(), None);
}

#[test]
fn reaching_a_mount_takes_any_permission_under_it() {
    for (pattern, capability, reaches) in [
        ("kv/data/app", "read", true),
        ("kv/*", "read", true),
        ("k*", "read", true),
        ("*", "list", true),
        ("+/data/x", "read", true),
        ("+/*", "read", true),
        ("kv", "read", true),
        ("kv2/*", "read", false),
        ("other/+/x", "read", false),
        ("+", "read", true),
        ("kv/*", "deny", false),
    ] {
        let acl =
            acl(&[("p", &format!("path \"{pattern}\" {{ capabilities = [\"{capability}\"] }}"))]);
        assert_eq!(acl.reaches("kv/"), reaches, "{pattern} {capability}");
    }
}

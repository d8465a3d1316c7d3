//! The normal form of an answer: what differs from run to run is replaced by its kind.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::x509;

/// What stands for what, in text. The first that fits a place wins.
static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        // Before all others: what follows may look like anything.
        (r"\bvault:v(\d+):[A-Za-z0-9+/_-]{20,}={0,2}", "vault:v${1}:<sealed>"),
        (r"\b(?:hv)?s\.[A-Za-z0-9_-]{24,}", "<token>"),
        (r"\b(?:hv)?b\.[A-Za-z0-9_-]{40,}", "<batch token>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
        (r"\b(?:19|20)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "<time>"),
        (r"\b([a-z]+(?:_[a-z]+)*)_[0-9a-f]{8}\b", "${1}_<hex>"),
        (r"\bv-[A-Za-z0-9_.-]{1,40}-[A-Za-z0-9]{20}-\d{10}\b", "<database user>"),
        (r"\b[0-9a-f]{2}(?::[0-9a-f]{2}){15,19}\b", "<serial>"),
        (r"\b\d{35,50}\b", "<serial number>"),
        (r"\bvault-cluster-[0-9a-f]{8}\b", "vault-cluster-<hex>"),
        (r"^v?\d+\.\d+\.\d+(?:\+builtin\.bao)?(?:[+-][0-9a-z.]+)?$", "<version>"),
        (r"/[A-Za-z0-9]{24}\b", "/<lease>"),
        (r#"effective max_ttl of "[^"]+""#, r#"effective max_ttl of "<what is left>""#),
    ];
    let compile = |(pattern, kind)| (Regex::new(pattern).expect("the pattern is valid"), kind);
    patterns.into_iter().map(compile).collect()
});

/// A key or a request that is made anew each time.
static PEM: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"-----BEGIN ([A-Z ]+)-----[A-Za-z0-9+/=\s]+-----END [A-Z ]+-----";
    Regex::new(pattern).expect("the pattern is valid")
});

/// Puts `value` into its normal form. `unordered` sorts its lists.
pub(crate) fn normalise(value: &mut Value, unordered: bool) {
    match value {
        Value::String(text) => *text = normal_text(text),
        Value::Array(items) => {
            for item in items.iter_mut() {
                normalise(item, unordered);
            }
            if unordered {
                items.sort_by_key(Value::to_string);
            }
        }
        Value::Object(map) => {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(name, value)| (normal_text(&name), normal_member(&name, value, unordered)))
                .collect::<Map<_, _>>();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `text` with what differs from run to run replaced by its kind.
pub(crate) fn normal_text(text: &str) -> String {
    let mut text = x509::described_in(text).into_owned();
    for (pattern, kind) in &*PATTERNS {
        if pattern.is_match(&text) {
            text = pattern.replace_all(&text, *kind).into_owned();
        }
    }
    text
}

/// Whether it is the accessor of a mount, such as `auth_approle_0a1b2c3d`.
pub(crate) fn is_accessor(text: &str) -> bool {
    normal_text(text).ends_with("_<hex>")
}

/// A member whose name says what it is.
fn normal_member(name: &str, mut value: Value, unordered: bool) -> Value {
    match (name, &value) {
        ("accessor" | "wrapped_accessor", Value::String(text))
            if text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            return "<accessor>".into();
        }
        ("creation_time" | "last_renewal_time" | "server_time_utc", Value::Number(_)) => {
            return "<unix time>".into();
        }
        // When a version of a key was made, by its number.
        (_, Value::Number(time))
            if is_version(name) && time.as_u64().is_some_and(|time| time > 1_000_000_000) =>
        {
            return "<unix time>".into();
        }
        (_, Value::String(text)) if is_version(name) || matches!(name, "public_key" | "csr") => {
            return normal_text(&PEM.replace_all(text, "<${1} as PEM>")).into();
        }
        ("private_key", Value::String(text)) if x509::is_base64_of_der(text) => {
            return "<base64 of DER>".into();
        }
        ("expiration" | "not_before" | "revocation_time", Value::Number(time))
            if time.as_u64() > Some(0) =>
        {
            return "<unix time>".into();
        }
        // Seconds run while a suite does: what is left is rounded up to a minute, or to ten seconds.
        ("ttl" | "lease_duration", Value::Number(left)) => {
            if let Some(left) = left.as_u64().filter(|left| *left > 10) {
                let step = if left > 120 { 60 } else { 10 };
                return left.div_ceil(step).saturating_mul(step).into();
            }
        }
        _ => {}
    }
    normalise(&mut value, unordered);
    value
}

/// Whether a member is called by a number, as the versions of a key are.
fn is_version(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changes_is_replaced_and_what_does_not_stays() {
        for (mut value, want) in [
            (json!("s.OaB6mkbvEaPzr5sAe5Y2AD36"), json!("<token>")),
            (json!("of s.OaB6mkbvEaPzr5sAe5Y2AD36!"), json!("of <token>!")),
            (json!("2026-11-22T11:32:52.322348908Z"), json!("<time>")),
            (json!("0001-01-01T00:00:00Z"), json!("0001-01-01T00:00:00Z")),
            (json!("kv_0d93018b"), json!("kv_<hex>")),
            (json!("auth_approle_8ee5e034"), json!("auth_approle_<hex>")),
            (json!("d212d060-3c9b-6e8f-d1d3-e01e0b11422f"), json!("<uuid>")),
            (json!("2.7.2"), json!("<version>")),
            (json!("v2.7.2+builtin.bao"), json!("<version>")),
            (json!({ "ttl": 2_764_799 }), json!({ "ttl": 2_764_800 })),
            (json!({ "ttl": 590 }), json!({ "ttl": 600 })),
            (json!({ "ttl": 21 }), json!({ "ttl": 30 })),
            (json!({ "ttl": 7 }), json!({ "ttl": 7 })),
            (json!({ "1": 1_795_347_366, "2": 3 }), json!({ "1": "<unix time>", "2": 3 })),
            (json!("vault:v2:cxxoOt8GjILz1HHOSSZ6dCioL8fl=="), json!("vault:v2:<sealed>")),
            (json!("vault:v2:short"), json!("vault:v2:short")),
            (
                json!({ "public_key": "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n" }),
                json!({ "public_key": "<PUBLIC KEY as PEM>\n" }),
            ),
            (json!({ "creation_time": 1_795_347_366 }), json!({ "creation_time": "<unix time>" })),
            (
                json!({ "accessor": "KEUtQCc6NsdJyRrEJePmy4uE" }),
                json!({ "accessor": "<accessor>" }),
            ),
            (json!({ "accessor": "" }), json!({ "accessor": "" })),
            (json!(["b", "a"]), json!(["b", "a"])),
        ] {
            let given = value.clone();
            normalise(&mut value, false);
            assert_eq!(value, want, "{given}");
        }
        let mut list = json!({ "keys": ["b", "a"] });
        normalise(&mut list, true);
        assert_eq!(list, json!({ "keys": ["a", "b"] }));
    }
}

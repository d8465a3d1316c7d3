//! Whether a field says the same in a file and in an engine's answer.
//!
//! Engines answer in other words than they were asked in: `"1h"` comes back as `3600`, `"a,b"` as
//! `["a","b"]`, policies in lower case and another order.

use std::collections::BTreeSet;

use holdfast_types::Ttl;
use serde_json::Value;

/// Whether `desired`, as written in a file, is what `actual` says. Of an object only the keys that
/// the file names count.
pub(crate) fn same(name: &str, desired: &Value, actual: &Value) -> bool {
    match (desired, actual) {
        _ if desired == actual => true,
        (Value::Object(desired), Value::Object(actual)) => desired
            .iter()
            .all(|(key, desired)| actual.get(key).is_some_and(|actual| same(key, desired, actual))),
        (Value::Array(_) | Value::String(_), Value::Array(_))
        | (Value::Array(_), Value::String(_)) => same_lists(name, desired, actual),
        (Value::Null, _) => empty(actual),
        (_, Value::Null) => empty(desired),
        _ => same_scalars(desired, actual),
    }
}

fn same_scalars(desired: &Value, actual: &Value) -> bool {
    let (Some(desired), Some(actual)) = (text(desired), text(actual)) else { return false };
    if desired == actual {
        return true;
    }
    matches!((Ttl::parse(&desired), Ttl::parse(&actual)), (Ok(a), Ok(b)) if a == b)
}

/// Statements run in their order; every other list that engines keep is a set.
fn same_lists(name: &str, desired: &Value, actual: &Value) -> bool {
    let (Some(desired), Some(actual)) = (items(desired), items(actual)) else { return false };
    if name.ends_with("statements") {
        return desired == actual;
    }
    let set = |items: Vec<String>| -> BTreeSet<String> {
        let policies = name.ends_with("policies");
        items.into_iter().map(|item| if policies { item.to_lowercase() } else { item }).collect()
    };
    set(desired) == set(actual)
}

fn items(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::String(list) => {
            let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(items.map(str::to_owned).collect())
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn engines_other_words_are_the_same() {
        for (name, desired, actual, want) in [
            ("default_ttl", json!("1h"), json!(3600), true),
            ("default_ttl", json!("1h"), json!(3601), false),
            ("default_ttl", json!(60), json!("1m0s"), true),
            ("token_policies", json!("B,a"), json!(["a", "b"]), true),
            ("token_policies", json!(["a"]), json!(["a", "b"]), false),
            ("creation_statements", json!(["a", "b"]), json!(["b", "a"]), false),
            ("allowed_roles", json!("x"), json!(["x"]), true),
            ("options", json!({"version": 2}), json!({"version": "2", "other": "x"}), true),
            ("options", json!({"version": "2"}), json!(null), false),
            ("options", json!({}), json!(null), true),
            ("bind_secret_id", json!(true), json!("true"), true),
            ("description", json!(""), json!(null), true),
            ("policy", json!("a"), json!("a "), false),
            ("bound_claims", json!({"a": ["x", "y"]}), json!({"a": ["y", "x"]}), true),
        ] {
            assert_eq!(same(name, &desired, &actual), want, "{name}: {desired} and {actual}");
        }
    }
}

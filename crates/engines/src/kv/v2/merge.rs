//! JSON values cut and joined: merge patches and subkeys.

use serde_json::{Map, Value};

/// Applies a merge patch: objects are joined, null removes, all else replaces.
///
/// Source: RFC 7396, section 2.
pub(super) fn apply(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Map::new().into();
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            apply(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The keys of `map`, `depth` levels down, without what they hold: null stands for a value, for an
/// empty object, and for what lies deeper.
pub(super) fn subkeys(map: &Map<String, Value>, depth: usize) -> Value {
    let outline = |(name, value): (&String, &Value)| {
        let below = match value {
            Value::Object(inner) if depth > 1 && !inner.is_empty() => subkeys(inner, depth - 1),
            _ => Value::Null,
        };
        (name.clone(), below)
    };
    Value::Object(map.iter().map(outline).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7396, appendix A, but those whose result is not an object or a scalar.
    #[test]
    fn apply_follows_the_rfc() {
        for (target, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut got = target.clone();
            apply(&mut got, patch.clone());
            assert_eq!(got, want, "{target} with {patch}");
        }
    }

    #[test]
    fn subkeys_hold_no_values() {
        let value = json!({"a": 1, "b": {"c": {"d": "x"}, "e": {}}, "f": [{"g": 1}]});
        let map = value.as_object().unwrap();
        for (depth, want) in [
            (1, json!({"a": null, "b": null, "f": null})),
            (2, json!({"a": null, "b": {"c": null, "e": null}, "f": null})),
            (usize::MAX, json!({"a": null, "b": {"c": {"d": null}, "e": null}, "f": null})),
        ] {
            assert_eq!(subkeys(map, depth), want, "{depth} levels");
        }
    }
}

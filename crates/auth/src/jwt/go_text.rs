//! Claims as text, where OpenBao prints them by Go's rules: in messages and in policies' names.

use serde_json::Value;

/// `a`, `5`, `true`, `[a b]`, `map[k:v]`.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go_text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> =
                map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            pairs.sort_unstable();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_go_prints_them() {
        for (value, want) in [
            (json!("a b"), "a b"),
            (json!(5), "5"),
            (json!(true), "true"),
            (json!(null), "<nil>"),
            (json!(["a", 1, []]), "[a 1 []]"),
            (json!({ "b": { "c": 1 }, "a": "x" }), "map[a:x b:map[c:1]]"),
        ] {
            assert_eq!(go_text(&value), want);
        }
    }
}

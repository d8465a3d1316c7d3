//! An explanation for people: the cause first, then who and what, the rule, and the way out.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Several lines, the first of which says it all.
pub(super) fn write(told: &Map<String, Value>) -> String {
    let field = |object: &str, name: &str| {
        told.get(object)
            .and_then(|object| object.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let summary = told.get("summary").and_then(Value::as_str).unwrap_or_default();
    let allowed = told.get("cause").and_then(Value::as_str) == Some("allowed");
    let mut text = match allowed {
        true => format!("Allowed: {summary}.\n\n"),
        false => format!("Refused: {summary}.\n\n"),
    };
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:8}{}", indented(value));
        }
    };
    line("who", &who(told));
    line("from", field("caller", "remote_address"));
    let mut what = format!("{} {}", field("request", "operation"), field("request", "path"));
    let parameters = names(told.get("request").and_then(|request| request.get("parameters")));
    if !parameters.is_empty() {
        let _ = write!(what, " with {parameters}");
    }
    if let Some(status) = told.get("status").and_then(Value::as_u64) {
        let _ = write!(what, ", answered {status}");
    }
    line("what", &what);
    line("when", told.get("time").and_then(Value::as_str).unwrap_or_default());
    if let Some(rule) = told.get("rule").filter(|rule| !rule.is_null()) {
        let at = format!(
            "policy {}, line {}",
            rule["policy"].as_str().unwrap_or_default(),
            rule["line"].as_u64().unwrap_or_default()
        );
        let rendered = rule["rendered"].as_str().map(|path| format!(", here {path}"));
        line("rule", &format!("{at}{}\n\n{}", rendered.unwrap_or_default(), hcl(&rule["hcl"])));
    }
    let fix = told.get("fix").unwrap_or(&Value::Null);
    let note = fix["note"].as_str().map(|note| format!("\n\nBut: {note}.")).unwrap_or_default();
    let rule = hcl(&fix["hcl"]);
    match fix["kind"].as_str() {
        Some("add") => {
            let policy = match fix["policy"].as_str() {
                Some(policy) => format!("the policy {policy}"),
                None => "one of the caller's policies".to_owned(),
            };
            line("fix", &format!("add to {policy}\n\n{rule}{note}"));
        }
        Some("change") => {
            let policy = fix["policy"].as_str().unwrap_or_default();
            let at = fix["line"].as_u64().unwrap_or_default();
            line("fix", &format!("in the policy {policy}, write on line {at}\n\n{rule}{note}"));
        }
        Some("advice") => line("fix", &sentence(fix["text"].as_str().unwrap_or_default())),
        _ => {}
    }
    text
}

/// What follows the first line of a value, below its beginning.
fn indented(value: &str) -> String {
    let mut lines = value.lines();
    let mut text = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        text.push('\n');
        if !line.is_empty() {
            text.push_str("          ");
            text.push_str(line);
        }
    }
    text
}

fn hcl(value: &Value) -> String {
    let lines = value.as_str().unwrap_or_default().lines();
    lines.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}", first.to_lowercase(), chars.as_str()),
        None => String::new(),
    }
}

fn who(told: &Map<String, Value>) -> String {
    let Some(caller) = told.get("caller") else { return String::new() };
    let text = |name: &str| caller[name].as_str().filter(|text| !text.is_empty());
    let Some(name) = text("display_name").or(text("accessor")) else {
        return "nobody that is known".to_owned();
    };
    let mut who = name.to_owned();
    if let Some(entity) = text("entity_name") {
        let _ = write!(who, ", entity {entity}");
    }
    if let Some(accessor) = text("accessor") {
        let _ = write!(who, ", accessor {accessor}");
    }
    let policies = names(caller.get("policies"));
    if !policies.is_empty() {
        let _ = write!(who, "\npolicies: {policies}");
    }
    let metadata = caller["metadata"].as_object().into_iter().flatten();
    let metadata: Vec<_> = metadata
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    if !metadata.is_empty() {
        let _ = write!(who, "\nmetadata: {}", metadata.join(", "));
    }
    who
}

/// Names with commas; of a policy, its version as well.
fn names(list: Option<&Value>) -> String {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    let names = list.map(|item| match item.as_str() {
        Some(name) => name.to_owned(),
        None => {
            let name = item["name"].as_str().unwrap_or_default();
            match item["version"].as_u64() {
                Some(version) => format!("{name} (version {version})"),
                None => name.to_owned(),
            }
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_line_is_the_cause() {
        let told = json!({
            "cause": "lacks-capability",
            "summary": "kv/* (policy web, line 3) decides over kv/a and does not grant \"create\"",
            "time": "2026-11-22T10:00:00Z",
            "status": 403,
            "caller": {
                "display_name": "approle", "accessor": "abc", "entity_name": "entity_1",
                "policies": [{ "name": "web", "version": 2 }], "metadata": { "role_name": "web" },
                "remote_address": "127.0.0.1",
            },
            "request": { "operation": "update", "path": "kv/a", "parameters": [] },
            "rule": { "policy": "web", "line": 3, "path": "kv/*", "hcl": "path \"kv/*\" {\n}\n" },
            "fix": {
                "kind": "add", "policy": "web", "hcl": "path \"kv/a\" {\n}\n", "note": "think first",
            },
        });
        insta::assert_snapshot!(write(told.as_object().unwrap()), @r#"
        Refused: kv/* (policy web, line 3) decides over kv/a and does not grant "create".

          who     approle, entity entity_1, accessor abc
                  policies: web (version 2)
                  metadata: role_name=web
          from    127.0.0.1
          what    update kv/a, answered 403
          when    2026-11-22T10:00:00Z
          rule    policy web, line 3

                    path "kv/*" {
                    }
          fix     add to the policy web

                    path "kv/a" {
                    }

                  But: think first.
        "#);
    }
}

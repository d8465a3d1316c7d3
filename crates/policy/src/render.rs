//! A rule written as HCL, so that it reads back as the same rule.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::policy::Conditions;
use crate::{Capabilities, Rule};

/// `path "..." { ... }` over several lines, with a newline at its end.
pub(crate) fn rule(path: &str, capabilities: Capabilities, conditions: &Conditions) -> String {
    let names: Vec<_> = capabilities.iter().map(|capability| quoted(capability.as_str())).collect();
    let mut lines = vec![("capabilities", format!("[{}]", names.join(", ")))];
    let mut parameters = |name, parameters: &Option<BTreeMap<String, Vec<Value>>>| {
        lines.extend(parameters.as_ref().map(|parameters| (name, map(parameters))));
    };
    parameters("allowed_parameters", &conditions.allowed_parameters);
    parameters("denied_parameters", &conditions.denied_parameters);
    if !conditions.required_parameters.is_empty() {
        let names: Vec<_> =
            conditions.required_parameters.iter().map(|name| quoted(name)).collect();
        lines.push(("required_parameters", format!("[{}]", names.join(", "))));
    }
    let mut ttl = |name, ttl: Option<Duration>| {
        lines.extend(ttl.map(|ttl| (name, quoted(&duration(ttl)))));
    };
    ttl("min_wrapping_ttl", conditions.min_wrapping_ttl);
    ttl("max_wrapping_ttl", conditions.max_wrapping_ttl);
    lines.extend(conditions.pagination_limit.map(|limit| ("pagination_limit", limit.to_string())));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = format!("path {} {{\n", quoted(path));
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:width$} = {value}");
    }
    text.push_str("}\n");
    text
}

impl Rule {
    /// The rule as HCL, without what does not bear on a decision: comments, and an expiration.
    pub fn to_hcl(&self) -> String {
        rule(&self.path, self.capabilities, &self.conditions)
    }
}

/// A string in quotes. What HCL would read otherwise than it stands is escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // `${` begins what ends at `}`, quotes or not.
            '$' => quoted.push_str("\\x24"),
            c if c.is_control() || c == '\u{E123}' => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A duration as people write it: `90s`, `1h30m`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, name) in [(3600, 'h'), (60, 'm'), (1, 's')] {
        let count = match unit {
            3600 => seconds / 3600,
            60 => seconds % 3600 / 60,
            _ => seconds % 60,
        };
        if count > 0 {
            let _ = write!(text, "{count}{name}");
        }
    }
    if duration.subsec_millis() > 0 {
        let _ = write!(text, "{}ms", duration.subsec_millis());
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn map(parameters: &BTreeMap<String, Vec<Value>>) -> String {
    let entries: Vec<_> = parameters
        .iter()
        .map(|(name, values)| {
            let values: Vec<_> = values.iter().map(value).collect();
            format!("{} = [{}]", quoted(name), values.join(", "))
        })
        .collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

fn value(of: &Value) -> String {
    match of {
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(value).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(name, of)| format!("{} = {}", quoted(name), value(of)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::Policy;

    #[test]
    fn a_rule_reads_back_as_itself() {
        for text in [
            r#"path "a/b" { capabilities = ["read", "list"] }"#,
            r#"path "a/*" { capabilities = ["deny"] }"#,
            r#"path "a \"b\" \\ \x24{x" { policy = "write" }"#,
            r#"path "p" { capabilities = ["update"] allowed_parameters = { "a" = ["x*", 5, true, ["l"], { m = "n" }] "*" = [] } }"#,
            r#"path "p" { capabilities = ["update"] denied_parameters = { "b" = [1.5] } required_parameters = ["q", "R"] }"#,
            r#"path "p" { capabilities = ["read"] min_wrapping_ttl = "90s" max_wrapping_ttl = "26h5s" pagination_limit = 7 allowed_parameters = {} }"#,
        ] {
            let policy = Policy::parse("p", text).unwrap();
            let written = policy.rules()[0].to_hcl();
            let again = Policy::parse("p", &written).unwrap_or_else(|e| panic!("{e}: {written}"));
            let (rule, other) = (&policy.rules()[0], &again.rules()[0]);
            assert_eq!(rule.path, other.path, "{written}");
            assert_eq!(rule.capabilities, other.capabilities, "{written}");
            assert_eq!(rule.conditions, other.conditions, "{written}");
        }
    }
}

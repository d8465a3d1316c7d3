//! Policies read from HCL or JSON.
//!
//! What is refused, and the words for it, are OpenBao's, down to the names of Go types in them:
//! operators search for these messages. Three settings that OpenBao knows are refused as
//! unsupported, because ignoring them would permit more than was written: `mfa_methods`,
//! `control_group` and `list_scan_response_keys_filter_path`.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_hcl::{Body, Item, ValueKind};
use holdfast_types::{Timestamp, Ttl};
use serde_json::Value;

use crate::policy::Conditions;
use crate::template::{self, TemplateOptions};
use crate::{Capabilities, Capability, Pattern, Policy, Rule};

mod time;

/// Why a policy is refused. It prints as the server words it, such as `failed to parse policy:
/// path "a": path "a": invalid capability "frob"`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse policy: {message}")]
pub struct PolicyError {
    /// What is wrong, with the position where HCL knows it.
    pub message: String,
}

impl From<String> for PolicyError {
    fn from(message: String) -> Self {
        Self { message }
    }
}

const TOP_LEVEL: [&str; 2] = ["name", "path"];
const IN_PATH: [&str; 13] = [
    "comment",
    "policy",
    "capabilities",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "mfa_methods",
    "pagination_limit",
    "expiration",
    "list_scan_response_keys_filter_path",
    "control_group",
];
const UNSUPPORTED: [&str; 3] =
    ["mfa_methods", "control_group", "list_scan_response_keys_filter_path"];

pub(crate) fn parse(name: &str, text: &str) -> Result<Policy, PolicyError> {
    let body = holdfast_hcl::parse(text).map_err(|error| error.to_string())?;
    check_keys(&body, &TOP_LEVEL)?;
    for item in body.items.iter().filter(|item| item.name() == "name") {
        // Anything that is no string is refused; what it says has no effect.
        text_of("root.name", &item.value)?;
    }
    let mut rules = Vec::new();
    let mut templated = false;
    for item in body.items.iter().filter(|item| item.name() == "path") {
        let path = item.labels().next().unwrap_or("path");
        let rule = rule(path, item).map_err(|message| format!("path {path:?}: {message}"))?;
        templated |= rule.pattern.is_none();
        rules.push(rule);
    }
    Ok(Policy { name: name.into(), rules, templated, options: TemplateOptions::default() })
}

/// Reads one `path "..." { ... }`.
fn rule(path: &str, item: &Item) -> Result<Rule, String> {
    let Some(templated) = template::check(path) else {
        return Err(
            "failed to validate policy templating: unbalanced templating characters".to_owned()
        );
    };
    let Some(body) = item.value.as_object() else {
        return Err(format!("cannot check HCL keys of type {}", go_type(&item.value.kind)));
    };
    check_keys(body, &IN_PATH)?;
    if let Some(key) = UNSUPPORTED.iter().find(|key| values(body, key).next().is_some()) {
        return Err(format!("{key} is not supported"));
    }
    let quoted = |message: String| format!("path {path:?}: {message}");

    let mut old_policy = String::new();
    for value in values(body, "policy") {
        old_policy = text_of("root.Policy", value).map_err(quoted)?;
    }
    let mut names = Vec::new();
    for value in values(body, "capabilities") {
        names.extend(strings_of("root.Capabilities", value).map_err(quoted)?);
    }
    let mut expiration = String::new();
    for value in values(body, "expiration") {
        expiration = text_of("root.expiration", value).map_err(quoted)?;
    }
    let allowed_parameters = parameters(body, "allowed_parameters").map_err(quoted)?;
    let denied_parameters = parameters(body, "denied_parameters").map_err(quoted)?;
    let mut required_parameters = Vec::new();
    for value in values(body, "required_parameters") {
        required_parameters.extend(strings_of("root.required_parameters", value).map_err(quoted)?);
    }
    let pagination_limit = pagination_limit(body).map_err(quoted)?;
    let expires_at = match expiration.as_str() {
        "" => None,
        text => Some(time::absolute(text).map_err(|error| quoted(error.to_string()))?),
    };
    let pattern = match templated {
        // Checked again once rendered; until then only the text can be.
        true => Pattern::parse(path).map(|_| None)?,
        false => Some(Pattern::parse(path)?),
    };
    let capabilities = capabilities(&old_policy, &names).map_err(quoted)?;
    let conditions = if capabilities.contains(Capability::Deny) {
        Conditions::default()
    } else {
        Conditions {
            allowed_parameters,
            denied_parameters,
            required_parameters,
            min_wrapping_ttl: wrapping_ttl(body, "min_wrapping_ttl")?,
            max_wrapping_ttl: wrapping_ttl(body, "max_wrapping_ttl")?,
            pagination_limit,
        }
    };
    if let (Some(min), Some(max)) = (conditions.min_wrapping_ttl, conditions.max_wrapping_ttl)
        && max < min
    {
        return Err("max_wrapping_ttl cannot be less than min_wrapping_ttl".to_owned());
    }
    Ok(Rule {
        path: path.to_owned(),
        line: item.position().line,
        pattern,
        capabilities,
        conditions,
        expires_at,
    })
}

/// Refuses keys that are not among `valid`, all in one message.
fn check_keys(body: &Body, valid: &[&str]) -> Result<(), String> {
    let unknown = body.items.iter().filter(|item| !valid.contains(&item.name()));
    let errors: Vec<String> = unknown
        .map(|item| {
            // A block has no `=`, and so in this message no line.
            let line = item.assign.map_or(0, |assign| assign.line);
            format!("invalid key {:?} on line {line}", item.name())
        })
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    let occurred = if errors.len() == 1 { "error" } else { "errors" };
    Err(format!("{} {occurred} occurred:\n\t* {}\n\n", errors.len(), errors.join("\n\t* ")))
}

fn values<'b>(body: &'b Body, key: &str) -> impl Iterator<Item = &'b holdfast_hcl::Value> {
    body.items.iter().filter(move |item| item.name() == key).map(|item| &item.value)
}

/// The old way to write capabilities, and the new: `policy = "write"` adds to `capabilities`, but
/// `policy = "deny"` stands alone.
fn capabilities(old_policy: &str, names: &[String]) -> Result<Capabilities, String> {
    use Capability::{Create, Delete, Deny, List, Read, Sudo, Update};
    let old: &[Capability] = match old_policy {
        "" => &[],
        "deny" => return Ok([Deny].into_iter().collect()),
        "read" => &[Read, List],
        "write" => &[Create, Read, Update, Delete, List],
        "sudo" => &[Create, Read, Update, Delete, List, Sudo],
        other => return Err(format!("invalid policy {other:?}")),
    };
    let mut capabilities: Capabilities = old.iter().copied().collect();
    for name in names {
        match Capability::parse(name) {
            Some(Deny) => return Ok([Deny].into_iter().collect()),
            Some(capability) => capabilities = capabilities.with(capability),
            None => return Err(format!("invalid capability {name:?}")),
        }
    }
    Ok(capabilities)
}

/// `allowed_parameters = { "name" = ["value", ...] }` or the same as a block. None if it is not
/// there at all.
fn parameters(body: &Body, key: &str) -> Result<Option<BTreeMap<String, Vec<Value>>>, String> {
    let mut parameters: Option<BTreeMap<String, Vec<Value>>> = None;
    for item in body.items.iter().filter(|item| item.name() == key) {
        let mut add = |name: &str, value: &holdfast_hcl::Value| {
            let elements = elements(value)?;
            let parameters = parameters.get_or_insert_default();
            let values = parameters.entry(name.to_lowercase()).or_default();
            for (index, element) in elements.iter().enumerate() {
                values.push(plain(element).ok_or_else(|| {
                    let at = element.position;
                    format!("At {at}: root.{key}.{name}[{index}]: invalid number")
                })?);
            }
            Ok::<(), String>(())
        };
        if let Some(name) = item.labels().next() {
            add(name, &item.value)?;
            continue;
        }
        let Some(body) = item.value.as_object() else {
            let (at, kind) = (item.value.position, go_type(&item.value.kind));
            return Err(format!("At {at}: root.{key}: not an object type for map ({kind})"));
        };
        for item in &body.items {
            add(item.name(), &item.value)?;
        }
        parameters.get_or_insert_default();
    }
    Ok(parameters)
}

fn pagination_limit(body: &Body) -> Result<Option<u64>, String> {
    let mut limit = None;
    for value in values(body, "pagination_limit") {
        limit = match &value.kind {
            ValueKind::Number(_) => value.as_integer(),
            // Where Go reads a number, it takes one in quotes as well.
            ValueKind::String(text) => match text.parse() {
                Ok(number) => Some(number),
                Err(_) => {
                    return Err(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
                }
            },
            kind => {
                let (at, kind) = (value.position, go_type(kind));
                return Err(format!("At {at}: root.pagination_limit: unknown type {kind}"));
            }
        };
    }
    Ok(limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0))
}

fn wrapping_ttl(body: &Body, key: &str) -> Result<Option<Duration>, String> {
    let mut ttl = Duration::ZERO;
    for value in values(body, key) {
        let fail = |message: String| format!("error parsing {key}: {message}");
        let Some(text) = value.as_text() else {
            return Err(fail("could not parse duration from input".to_owned()));
        };
        ttl = Ttl::parse(text).map_err(|_| fail(time::invalid_duration(text)))?.0;
    }
    Ok(Some(ttl).filter(|ttl| !ttl.is_zero()))
}

fn text_of(name: &str, value: &holdfast_hcl::Value) -> Result<String, String> {
    value.as_text().map(str::to_owned).ok_or_else(|| {
        let (at, kind) = (value.position, go_type(&value.kind));
        format!("At {at}: {name}: unknown type for string {kind}")
    })
}

fn strings_of(name: &str, value: &holdfast_hcl::Value) -> Result<Vec<String>, String> {
    let elements = elements(value)?.iter().enumerate();
    elements.map(|(index, element)| text_of(&format!("{name}[{index}]"), element)).collect()
}

/// The elements of a list; an object counts as a list of one.
fn elements(value: &holdfast_hcl::Value) -> Result<&[holdfast_hcl::Value], String> {
    match &value.kind {
        ValueKind::List(elements) => Ok(elements),
        ValueKind::Object(_) => Ok(std::slice::from_ref(value)),
        kind => Err(format!("At {}: unknown slice type: {}", value.position, go_type(kind))),
    }
}

/// The value as JSON has it, to compare with parameters. None for a number that is none.
fn plain(value: &holdfast_hcl::Value) -> Option<Value> {
    Some(match &value.kind {
        ValueKind::String(text) => Value::String(text.clone()),
        ValueKind::Bool(value) => Value::Bool(*value),
        ValueKind::Number(_) => Value::from(value.as_integer()?),
        ValueKind::Float(text) => Value::from(text.parse::<f64>().ok()?),
        ValueKind::List(elements) => {
            Value::Array(elements.iter().map(plain).collect::<Option<_>>()?)
        }
        ValueKind::Object(body) => {
            let entries = body.items.iter();
            let entries = entries.map(|item| Some((item.name().to_owned(), plain(&item.value)?)));
            Value::Object(entries.collect::<Option<_>>()?)
        }
    })
}

fn go_type(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::List(_) => "*ast.ListType",
        ValueKind::Object(_) => "*ast.ObjectType",
        _ => "*ast.LiteralType",
    }
}

#[cfg(test)]
mod tests;

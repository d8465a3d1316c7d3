//! Policies read from HCL or JSON.
//!
//! What is refused, and the words for it, are OpenBao's, down to the names of Go types in them:
//! operators search for these messages. Three settings that OpenBao knows are refused as
//! unsupported, because ignoring them would permit more than was written: `mfa_methods`,
//! `control_group` and `list_scan_response_keys_filter_path`.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_hcl::{Body, Item, Position, ValueKind};

use serde_json::Value;

use crate::policy::Conditions;
use crate::template::{self, TemplateOptions};
use crate::{Capabilities, Capability, Pattern, Policy, Rule};

mod number;

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
        text_of("root.name", &Node::of(item))?;
    }
    let mut rules = Vec::new();
    let mut templated = false;
    for item in body.items.iter().filter(|item| item.name() == "path") {
        let path = item.labels().next().unwrap_or("path");
        let rule = rule(path, item).map_err(|message| format!("path {path:?}: {message}"))?;
        templated |= rule.pattern.is_none();
        rules.push(rule);
    }
    Ok(Policy {
        name: name.into(),
        rules,
        templated,
        options: TemplateOptions::default(),
        unresolved: Vec::new(),
    })
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
    if let Some(key) = UNSUPPORTED.iter().find(|key| items(body, key).next().is_some()) {
        return Err(format!("{key} is not supported"));
    }
    let quoted = |message: String| format!("path {path:?}: {message}");

    let mut old_policy = String::new();
    for item in items(body, "policy") {
        old_policy = text_of("root.Policy", &Node::of(item)).map_err(quoted)?;
    }
    let mut names = Vec::new();
    for item in items(body, "capabilities") {
        names.extend(strings_of("root.Capabilities", item).map_err(quoted)?);
    }
    let mut expiration = String::new();
    for item in items(body, "expiration") {
        expiration = text_of("root.expiration", &Node::of(item)).map_err(quoted)?;
    }
    for item in items(body, "min_wrapping_ttl").chain(items(body, "max_wrapping_ttl")) {
        if let ValueKind::Number(text) = &item.value.kind {
            number::parse(text).map_err(quoted)?;
        }
    }
    let allowed_parameters = parameters(body, "allowed_parameters").map_err(quoted)?;
    let denied_parameters = parameters(body, "denied_parameters").map_err(quoted)?;
    let mut required_parameters = Vec::new();
    for item in items(body, "required_parameters") {
        required_parameters.extend(strings_of("root.required_parameters", item).map_err(quoted)?);
    }
    let pagination_limit = pagination_limit(body).map_err(quoted)?;
    let expires_at = match expiration.as_str() {
        "" => None,
        text => Some(number::absolute_time(text).map_err(|error| quoted(error.to_string()))?),
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
        column: item.position().column,
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

fn items<'b>(body: &'b Body, key: &str) -> impl Iterator<Item = &'b Item> {
    body.items.iter().filter(move |item| item.name() == key)
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
                values.push(plain(element).map_err(|message| match element.kind {
                    ValueKind::Number(_) => message,
                    _ => format!("At {}: root.{key}.{name}[{index}]: {message}", element.position),
                })?);
            }
            Ok::<(), String>(())
        };
        if let Some(name) = item.labels().next() {
            add(name, &item.value)?;
            continue;
        }
        let Some(body) = item.value.as_object() else {
            let Node { at, kind, .. } = Node::of(item);
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
    let mut limit = 0;
    for item in items(body, "pagination_limit") {
        let node = Node::of(item);
        let Some(text) = node.text else {
            let Node { at, kind, .. } = node;
            return Err(format!("At {at}: root.pagination_limit: unknown type {kind}"));
        };
        limit = number::parse(text)?;
    }
    // A limit that is no limit is as good as none.
    Ok(u64::try_from(limit).ok().filter(|limit| *limit > 0))
}

fn wrapping_ttl(body: &Body, key: &str) -> Result<Option<Duration>, String> {
    let mut ttl = Duration::ZERO;
    for item in items(body, key) {
        let parsed = match &item.value.kind {
            ValueKind::Number(text) | ValueKind::Float(text) => number::seconds(text),
            ValueKind::String(text) => number::duration(text),
            _ => Err("could not parse duration from input".to_owned()),
        };
        ttl = parsed.map_err(|message| format!("error parsing {key}: {message}"))?;
    }
    Ok(Some(ttl).filter(|ttl| !ttl.is_zero()))
}

/// What an item assigns, as messages name it.
struct Node<'b> {
    /// Where it stands; `-` for an object with nothing in it.
    at: String,
    kind: &'static str,
    /// The text, of a string or a whole number.
    text: Option<&'b str>,
}

impl<'b> Node<'b> {
    fn of(item: &'b Item) -> Self {
        let list = |at: Option<Position>| Self {
            at: at.map_or("-".to_owned(), |at| at.to_string()),
            kind: "*ast.ObjectList",
            text: None,
        };
        if let Some(label) = item.keys.get(1) {
            return list(Some(label.position));
        }
        match &item.value.kind {
            ValueKind::Object(body) => list(body.items.first().map(Item::position)),
            kind => Self {
                at: item.value.position.to_string(),
                kind: go_type(kind),
                text: item.value.as_text(),
            },
        }
    }
}

fn text_of(name: &str, node: &Node<'_>) -> Result<String, String> {
    let Node { at, kind, text } = node;
    text.map(str::to_owned)
        .ok_or_else(|| format!("At {at}: {name}: unknown type for string {kind}"))
}

fn strings_of(name: &str, item: &Item) -> Result<Vec<String>, String> {
    let node = Node::of(item);
    match &item.value.kind {
        ValueKind::Object(_) if node.at == "-" => Ok(Vec::new()),
        ValueKind::Object(_) => {
            text_of(&format!("{name}[0]"), &Node { kind: "*ast.ObjectItem", ..node })
                .map(|_| vec![])
        }
        _ => {
            let elements = elements(&item.value)?.iter().enumerate();
            let text = |(index, element): (usize, &holdfast_hcl::Value)| {
                let (at, kind) = (element.position.to_string(), go_type(&element.kind));
                let node = Node { at, kind, text: element.as_text() };
                text_of(&format!("{name}[{index}]"), &node)
            };
            elements.map(text).collect()
        }
    }
}

/// The elements of a list; an object counts as a list of one.
fn elements(value: &holdfast_hcl::Value) -> Result<&[holdfast_hcl::Value], String> {
    match &value.kind {
        ValueKind::List(elements) => Ok(elements),
        ValueKind::Object(_) => Ok(std::slice::from_ref(value)),
        kind => Err(format!("At {}: unknown slice type: {}", value.position, go_type(kind))),
    }
}

/// The value as JSON has it, to compare with parameters.
fn plain(value: &holdfast_hcl::Value) -> Result<Value, String> {
    Ok(match &value.kind {
        ValueKind::String(text) => Value::String(text.clone()),
        ValueKind::Bool(value) => Value::Bool(*value),
        ValueKind::Number(text) => Value::from(number::parse(text)?),
        ValueKind::Float(text) => {
            Value::from(text.parse::<f64>().map_err(|_| format!("invalid number {text:?}"))?)
        }
        ValueKind::List(elements) => {
            Value::Array(elements.iter().map(plain).collect::<Result<_, _>>()?)
        }
        ValueKind::Object(body) => {
            let entries = body.items.iter();
            let entries = entries.map(|item| Ok((item.name().to_owned(), plain(&item.value)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
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

//! `initialize "name" { request "name" { ... } }`: what a new server does to itself, once.

use std::collections::BTreeSet;

use holdfast_hcl::{Block, Body, Problems, Settings, Value as HclValue, ValueKind};
use holdfast_types::SecretString;
use serde_json::{Map, Value};

use crate::wire::Verb;

/// One request, made with a root token that is revoked in the end.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// `<block>.<request>`, for messages.
    pub name: String,
    /// `create` and `update` are the same.
    pub verb: Verb,
    /// The path, such as `sys/mounts/kv`.
    pub path: String,
    /// Another token than the root token.
    pub token: Option<SecretString>,
    /// Its fields.
    pub data: Map<String, Value>,
    /// Goes on when this one fails.
    pub allow_failure: bool,
}

/// Reads all `initialize` blocks.
pub(super) fn read(settings: &mut Settings<'_, '_>) -> Vec<InitRequest> {
    let blocks = settings.blocks("initialize");
    let mut requests = Vec::new();
    let mut names = BTreeSet::new();
    for block in &blocks {
        let Some(outer) = name(block, "initialize", settings.problems()) else { continue };
        if !names.insert(outer.to_owned()) {
            settings.problems().add(block.position, format!("initialize.{outer}"), "named twice");
        }
        let mut inner = block.settings(settings.problems());
        let mut inner_names = BTreeSet::new();
        for request in inner.blocks("request") {
            let Some(label) = name(&request, "request", inner.problems()) else { continue };
            let full = format!("{outer}.{label}");
            if !inner_names.insert(label.to_owned()) {
                inner.problems().add(request.position, format!("initialize.{full}"), "named twice");
            }
            requests.extend(read_request(full, &request, inner.problems()));
        }
        inner.finish();
    }
    requests
}

/// A block's only label: letters, digits, `_` and `-`, not beginning with a digit or `-`.
fn name<'b>(block: &Block<'b>, key: &str, problems: &mut Problems) -> Option<&'b str> {
    let valid = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    match block.labels[..] {
        [name] if valid(name) => Some(name),
        _ => {
            problems.add(block.position, key, "expected one name of letters, digits, _ and -");
            None
        }
    }
}

fn read_request(name: String, block: &Block<'_>, problems: &mut Problems) -> Option<InitRequest> {
    let mut settings = block.settings(problems);
    let path = settings.string("path");
    if path.is_none() {
        settings.refuse("path", "is missing");
    }
    let operation = settings.string("operation");
    let verb = match operation.as_deref() {
        Some("create" | "update") => Some(Verb::Write),
        Some("read") => Some(Verb::Read),
        Some("list") => Some(Verb::List),
        Some("scan") => Some(Verb::Scan),
        Some("delete") => Some(Verb::Delete),
        Some("patch") => Some(Verb::Patch),
        Some(_) => {
            let expected = "expected create, update, read, list, scan, patch or delete";
            settings.refuse("operation", expected);
            None
        }
        None => {
            settings.refuse("operation", "is missing");
            None
        }
    };
    let data = match settings.value("data").map(|value| value.as_object()) {
        None => Some(Map::new()),
        Some(Some(body)) => match object(body) {
            Ok(data) => Some(data),
            Err(reason) => {
                settings.refuse("data", reason);
                None
            }
        },
        Some(None) => {
            settings.refuse("data", "expected an object");
            None
        }
    };
    let token = settings.string("token").map(SecretString::new);
    let allow_failure = settings.bool("allow_failure").unwrap_or(false);
    settings.finish();
    Some(InitRequest { name, verb: verb?, path: path?, token, data: data?, allow_failure })
}

/// An object as JSON. One that has an `eval_source` stands for a value that lies elsewhere.
fn object(body: &Body) -> Result<Map<String, Value>, String> {
    body.items
        .iter()
        .map(|item| {
            let mut value = json(&item.value)?;
            // `options "x" { ... }` is an object in an object.
            for label in item.labels().collect::<Vec<_>>().into_iter().rev() {
                value = Value::Object(Map::from_iter([(label.to_owned(), value)]));
            }
            Ok((item.name().to_owned(), value))
        })
        .collect()
}

fn json(value: &HclValue) -> Result<Value, String> {
    match &value.kind {
        ValueKind::String(text) => Ok(text.clone().into()),
        ValueKind::Bool(flag) => Ok((*flag).into()),
        ValueKind::Number(text) | ValueKind::Float(text) => match value.as_integer() {
            Some(number) => Ok(number.into()),
            None => serde_json::from_str(text).map_err(|_| format!("{text} is no number")),
        },
        ValueKind::List(items) => items.iter().map(json).collect(),
        ValueKind::Object(body) => {
            let fields = object(body)?;
            match fields.get("eval_source") {
                Some(source) => evaluate(source, &fields).map(Value::String),
                None => Ok(Value::Object(fields)),
            }
        }
    }
}

/// `{ eval_source = "env" env_var = "NAME" }` or `{ eval_source = "file" path = "/..." }`, with
/// `eval_type = "string"`.
fn evaluate(source: &Value, fields: &Map<String, Value>) -> Result<String, String> {
    let field = |name: &str| {
        let text = fields.get(name).and_then(Value::as_str);
        text.ok_or_else(|| format!("a value from elsewhere lacks {name}"))
    };
    if fields.get("eval_type").is_some_and(|kind| kind != "string") {
        return Err("eval_type can only be \"string\"".to_owned());
    }
    match source.as_str() {
        Some("env") => {
            let name = field("env_var")?;
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
        }
        Some("file") => {
            let path = field("path")?;
            std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))
        }
        _ => Err("eval_source can be \"env\" or \"file\"".to_owned()),
    }
}

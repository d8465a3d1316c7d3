//! Templates of claims: JSON in which `{{identity.entity.name}}` and the like stand for values.
//!
//! A value comes as JSON, quoted: whatever it holds, it stays one value.

use std::collections::BTreeMap;

use holdfast_types::{Timestamp, Ttl};
use serde_json::{Map, Value, json};

use crate::identity::Who;
use crate::identity::record::{AliasRecord, GroupRecord};

/// Claims that the server sets itself.
pub(super) const RESERVED: [&str; 10] =
    ["iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash"];

/// Why a template has no value. Wordings are OpenBao's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateProblem {
    #[error("unbalanced templating characters")]
    Unbalanced,
    #[error("no value could be found for one of the template directives")]
    NoValue,
    #[error("string contains groups template directives but no groups were provided")]
    NoGroups,
    #[error("entity is not a member of group {0:?}")]
    NotMember(String),
    #[error("invalid alias selector")]
    Alias,
    #[error("invalid groups selector")]
    Groups,
    #[error("{0}")]
    Time(String),
}

/// `text` with its templates replaced by what they stand for of `who`. Without `now`, as when a
/// template is only checked, times stand at 0.
pub(super) fn fill(
    text: &str,
    who: &Who,
    now: Option<Timestamp>,
) -> Result<String, TemplateProblem> {
    let mut parts = text.split("{{");
    let first = parts.next().unwrap_or_default();
    if first.contains("}}") {
        return Err(TemplateProblem::Unbalanced);
    }
    let mut filled = first.to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").ok_or(TemplateProblem::Unbalanced)?;
        if rest.contains("}}") {
            return Err(TemplateProblem::Unbalanced);
        }
        filled.push_str(&value(name.trim(), who, now)?.to_string());
        filled.push_str(rest);
    }
    Ok(filled)
}

/// The claims that a filled template is.
///
/// # Errors
/// In Go's words, where it has some.
pub(super) fn claims(filled: &str) -> Result<Map<String, Value>, String> {
    let kind = match serde_json::from_str(filled) {
        Ok(Value::Object(claims)) => return Ok(claims),
        Ok(Value::Null) => return Ok(Map::new()),
        Ok(Value::Array(_)) => "array",
        Ok(Value::String(_)) => "string",
        Ok(Value::Number(_)) => "number",
        Ok(Value::Bool(_)) => "bool",
        Err(error) if error.is_eof() => return Err("unexpected end of JSON input".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    Err(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
}

fn value(name: &str, who: &Who, now: Option<Timestamp>) -> Result<Value, TemplateProblem> {
    if let Some(name) = name.strip_prefix("identity.entity.") {
        return of_entity(name, who);
    }
    if let Some(name) = name.strip_prefix("identity.groups.") {
        return of_groups(name, who);
    }
    match name.strip_prefix("time.") {
        Some(name) => of_time(name, now),
        None => Err(TemplateProblem::NoValue),
    }
}

fn of_entity(name: &str, who: &Who) -> Result<Value, TemplateProblem> {
    let entity = who.entity.as_ref();
    let text = |text: Option<&String>| json!(text.map(String::as_str).unwrap_or_default());
    match name {
        "id" => return Ok(text(entity.map(|entity| &entity.id))),
        "name" => return Ok(text(entity.map(|entity| &entity.name))),
        "groups.names" => return Ok(who.groups().map(|group| json!(group.name)).collect()),
        "groups.ids" => return Ok(who.groups().map(|group| json!(group.id)).collect()),
        _ => {}
    }
    if let Some(found) = of_metadata(name, "metadata", entity.map(|entity| &entity.metadata)) {
        return Ok(found);
    }
    let rest = name.strip_prefix("aliases.").ok_or(TemplateProblem::NoValue)?;
    let (accessor, field) = rest.split_once('.').ok_or(TemplateProblem::Alias)?;
    let is_it = |alias: &&AliasRecord| alias.mount_accessor == accessor;
    let alias = entity.and_then(|entity| entity.aliases.iter().find(is_it));
    match field {
        "id" => return Ok(text(alias.map(|alias| &alias.id))),
        "name" => return Ok(text(alias.map(|alias| &alias.name))),
        _ => {}
    }
    let custom = alias.and_then(|alias| alias.custom_metadata.as_ref());
    of_metadata(field, "metadata", alias.map(|alias| &alias.metadata))
        .or_else(|| of_metadata(field, "custom_metadata", custom))
        .ok_or(TemplateProblem::NoValue)
}

/// All metadata, or one of it, where `name` is about that.
fn of_metadata(
    name: &str,
    field: &str,
    metadata: Option<&BTreeMap<String, String>>,
) -> Option<Value> {
    let rest = name.strip_prefix(field)?;
    if rest.is_empty() {
        return Some(metadata.map_or_else(|| json!({}), |metadata| json!(metadata)));
    }
    let key = rest.strip_prefix('.')?;
    let value = metadata.and_then(|metadata| metadata.get(key));
    Some(json!(value.map(String::as_str).unwrap_or_default()))
}

fn of_groups(name: &str, who: &Who) -> Result<Value, TemplateProblem> {
    if who.groups().next().is_none() {
        return Err(TemplateProblem::NoGroups);
    }
    let (by, rest) = name.split_once('.').ok_or(TemplateProblem::Groups)?;
    let (which, field) = rest.split_once('.').ok_or(TemplateProblem::Groups)?;
    let is_it = |group: &&GroupRecord| match by {
        "ids" => group.id == which,
        _ => group.name == which,
    };
    if !matches!(by, "ids" | "names") {
        return Err(TemplateProblem::Groups);
    }
    let group = who.groups().find(is_it);
    let group = group.ok_or_else(|| TemplateProblem::NotMember(which.to_owned()))?;
    match field {
        "id" => Ok(json!(group.id)),
        "name" => Ok(json!(group.name)),
        _ => {
            let key = field.strip_prefix("metadata.").ok_or(TemplateProblem::NoValue)?;
            group.metadata.get(key).map(|value| json!(value)).ok_or(TemplateProblem::NoValue)
        }
    }
}

fn of_time(name: &str, now: Option<Timestamp>) -> Result<Value, TemplateProblem> {
    let problem = |words: String| Err(TemplateProblem::Time(words));
    let now = now.map_or(0, Timestamp::as_second);
    let mut parts = name.splitn(3, '.');
    let (base, operator, operand) = (parts.next(), parts.next(), parts.next());
    match (base.unwrap_or_default(), operator, operand) {
        ("now", None, _) => Ok(json!(now)),
        ("now", Some(_), None) => problem("missing time operand".to_owned()),
        ("now", Some(operator), Some(operand)) => {
            let Ok(ttl) = Ttl::parse(operand) else {
                return problem(format!("invalid duration: {operand:?}"));
            };
            let seconds = i64::try_from(ttl.0.as_secs()).unwrap_or(i64::MAX);
            match operator {
                "plus" => Ok(json!(now.saturating_add(seconds))),
                "minus" => Ok(json!(now.saturating_sub(seconds))),
                other => problem(format!("invalid time operator {other:?}")),
            }
        }
        (base, ..) => problem(format!("invalid time selector {base:?}")),
    }
}

//! `{{identity.entity.name}}` and the like in a rule's path.

use std::collections::BTreeMap;

use crate::{Pattern, Rule};

/// Who a policy is rendered for.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The caller's entity, if it has one.
    pub entity: Option<Entity>,
    /// The groups that the entity is in, directly or by other groups.
    pub groups: Vec<Group>,
}

/// A person or a workload, across login methods.
#[derive(Debug, Clone, Default)]
pub struct Entity {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its names in login methods.
    pub aliases: Vec<Alias>,
}

/// An entity's name in one login method.
#[derive(Debug, Clone, Default)]
pub struct Alias {
    /// The login method's accessor.
    pub mount_accessor: String,
    /// The alias's id.
    pub id: String,
    /// The name.
    pub name: String,
    /// Metadata set by the login method.
    pub metadata: BTreeMap<String, String>,
    /// Metadata set by operators.
    pub custom_metadata: BTreeMap<String, String>,
}

/// A group of entities.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
}

/// What a template's value may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TemplateOptions {
    /// `+` and `*`, which are then wildcards.
    pub allow_wildcards: bool,
    /// `/`, so that one value fills several segments.
    pub allow_slashes: bool,
}

/// A template's value would change what the pattern means. OpenBao then answers 400 with the one
/// error `Forbidden` to every request of that token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?}: template substitution contains forbidden value: \"{found}\"")]
pub struct TemplateError {
    /// The rule's path, with its templates.
    pub path: String,
    /// The character.
    pub found: char,
}

/// Checks that every `{{` has its `}}`. Whether there are templates.
pub(crate) fn check(path: &str) -> Option<bool> {
    pieces(path).map(|pieces| pieces.iter().any(|piece| matches!(piece, Piece::Template(_))))
}

enum Piece<'p> {
    Text(&'p str),
    Template(&'p str),
}

/// Cuts a path at its templates. None where braces do not pair up.
fn pieces(path: &str) -> Option<Vec<Piece<'_>>> {
    let mut parts = path.split("{{");
    let first = parts.next().unwrap_or_default();
    if first.contains("}}") {
        return None;
    }
    let mut pieces = vec![Piece::Text(first)];
    for part in parts {
        let (template, text) = part.split_once("}}")?;
        if text.contains("}}") {
            return None;
        }
        pieces.push(Piece::Template(template.trim()));
        pieces.push(Piece::Text(text));
    }
    Some(pieces)
}

/// The rule with its templates replaced; if one of them has no value, that template.
pub(crate) fn render(
    rule: &Rule,
    identity: &Identity,
    options: TemplateOptions,
) -> Result<Result<Rule, String>, TemplateError> {
    let mut path = String::new();
    for piece in pieces(&rule.path).unwrap_or_default() {
        match piece {
            Piece::Text(text) => path.push_str(text),
            Piece::Template(template) => {
                let Some(value) = value(template, identity) else {
                    return Ok(Err(template.to_owned()));
                };
                let refused = value.chars().find(|c| match c {
                    '+' | '*' => !options.allow_wildcards,
                    '/' => !options.allow_slashes,
                    _ => false,
                });
                if let Some(found) = refused {
                    return Err(TemplateError { path: rule.path.clone(), found });
                }
                path.push_str(value);
            }
        }
    }
    let Ok(pattern) = Pattern::parse(&path) else {
        // Text around a value and the value itself make up a forbidden wildcard.
        return Err(TemplateError { path: rule.path.clone(), found: '+' });
    };
    Ok(Ok(Rule { pattern: Some(pattern), ..rule.clone() }))
}

/// What a template stands for. None if it is unknown or has no value for this identity.
fn value<'i>(template: &str, identity: &'i Identity) -> Option<&'i str> {
    if let Some(field) = template.strip_prefix("identity.entity.") {
        let entity = identity.entity.as_ref()?;
        if let Some(rest) = field.strip_prefix("aliases.") {
            let (accessor, field) = rest.split_once('.')?;
            let alias = entity.aliases.iter().find(|alias| alias.mount_accessor == accessor)?;
            return alias_value(field, alias);
        }
        return match field {
            "id" => not_empty(&entity.id),
            "name" => not_empty(&entity.name),
            _ => lookup(&entity.metadata, field.strip_prefix("metadata.")?),
        };
    }
    let rest = template.strip_prefix("identity.groups.")?;
    let (by, rest) = rest.split_once('.')?;
    let (which, field) = rest.split_once('.')?;
    let group = match by {
        "ids" => identity.groups.iter().find(|group| group.id == which),
        "names" => identity.groups.iter().find(|group| group.name == which),
        _ => None,
    }?;
    match field {
        "id" => Some(&group.id),
        "name" => not_empty(&group.name),
        _ => lookup(&group.metadata, field.strip_prefix("metadata.")?),
    }
}

fn alias_value<'i>(field: &str, alias: &'i Alias) -> Option<&'i str> {
    match field {
        "id" => not_empty(&alias.id),
        "name" => not_empty(&alias.name),
        _ => match field.strip_prefix("custom_metadata.") {
            Some(key) => lookup(&alias.custom_metadata, key),
            None => lookup(&alias.metadata, field.strip_prefix("metadata.")?),
        },
    }
}

fn not_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn lookup<'i>(metadata: &'i BTreeMap<String, String>, key: &str) -> Option<&'i str> {
    metadata.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests;

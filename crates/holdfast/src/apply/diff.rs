//! What has to change: decided from what is wanted, what is there, and what was applied.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::compare::same;
use super::desired::{Desired, Object, rank};
use super::record::{Record, digest_of};
use super::report::{Change, ChangeKind, FieldChange};

/// What an engine answers of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Actual {
    /// It is not there.
    Absent,
    /// It is, with these fields.
    Fields(Map<String, Value>),
    /// The path can be written but not read: the record alone says what it holds.
    Unreadable,
}

/// Whose objects an engine holds beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The engine is this platform's alone: what the directory names is taken over.
    Whole,
    /// Others use the engine too: what is there and not recorded is theirs.
    Shared,
}

/// The changes, in the order in which they can be made, and the number of objects without one.
pub(crate) fn diff(
    desired: &Desired,
    actual: &BTreeMap<String, Actual>,
    record: &Record,
    ownership: Ownership,
) -> (Vec<Change>, usize) {
    let mut changes = Vec::new();
    let mut unchanged = 0;
    for object in &desired.0 {
        let actual = actual.get(&object.path).unwrap_or(&Actual::Absent);
        match change(object, actual, record, ownership) {
            Some(change) => changes.push(change),
            None => unchanged += 1,
        }
    }
    let named = |path: &String| desired.0.iter().any(|object| object.path == *path);
    let mut gone: Vec<_> = record.objects.keys().filter(|path| !named(path)).collect();
    gone.sort_by_key(|path| std::cmp::Reverse(rank(path)));
    changes.extend(gone.into_iter().map(|path| Change {
        kind: ChangeKind::Remove,
        path: path.clone(),
        file: None,
        fields: Vec::new(),
    }));
    (changes, unchanged)
}

fn change(
    object: &Object,
    actual: &Actual,
    record: &Record,
    ownership: Ownership,
) -> Option<Change> {
    let applied = record.objects.get(&object.path);
    let as_written =
        applied.is_some_and(|applied| applied.desired == desired_digest(&object.fields));
    let (kind, fields) = match actual {
        Actual::Absent if as_written => (ChangeKind::Mend, Vec::new()),
        Actual::Absent => (ChangeKind::Create, Vec::new()),
        Actual::Unreadable if as_written => return None,
        Actual::Unreadable => (ChangeKind::Change, Vec::new()),
        Actual::Fields(actual) => {
            let as_answered =
                applied.is_some_and(|applied| applied.actual == actual_digest(object, actual));
            if as_written && as_answered {
                return None;
            }
            let fields = differing(object, actual, as_written);
            match (applied.is_some(), fields.is_empty(), ownership) {
                (true, true, _) if as_written => return None,
                (true, _, _) if as_written => (ChangeKind::Mend, fields),
                (true, _, _) => (ChangeKind::Change, fields),
                (false, true, _) => (ChangeKind::Adopt, fields),
                (false, false, Ownership::Whole) => (ChangeKind::Change, fields),
                (false, false, Ownership::Shared) => (ChangeKind::Conflict, fields),
            }
        }
    };
    let file = Some(object.file.display().to_string());
    Some(Change { kind, path: object.path.clone(), file, fields })
}

/// The fields of the file that the engine answers otherwise. One that it does not answer at all
/// counts as differing unless it was applied as it is written now.
fn differing(object: &Object, actual: &Map<String, Value>, as_written: bool) -> Vec<FieldChange> {
    let fields = object.fields.iter().filter(|(name, desired)| match actual.get(*name) {
        Some(actual) => !same(name, desired, actual),
        None => !as_written && !is_empty(desired),
    });
    fields
        .map(|(name, desired)| FieldChange {
            name: name.clone(),
            from: shown(name, actual.get(name).unwrap_or(&Value::Null)),
            to: shown(name, desired),
        })
        .collect()
}

fn is_empty(value: &Value) -> bool {
    same("", &Value::Null, value)
}

/// The value, unless the field's name says that nobody should see it.
fn shown(name: &str, value: &Value) -> Value {
    let hidden = ["password", "secret", "private_key", "token"];
    let public = ["token_", "secret_id_", "bind_secret_id", "password_authentication"];
    let hide = hidden.iter().any(|word| name.contains(word))
        && !public.iter().any(|prefix| name.starts_with(prefix));
    if hide && !value.is_null() { Value::String("***".to_owned()) } else { value.clone() }
}

/// The digest of what the file says.
pub(crate) fn desired_digest(fields: &Map<String, Value>) -> String {
    digest_of(&Value::Object(fields.clone()))
}

/// The digest of what the engine answers, of the fields that the file names.
pub(crate) fn actual_digest(object: &Object, actual: &Map<String, Value>) -> String {
    let named = actual.iter().filter(|(name, _)| object.fields.contains_key(*name));
    let named: Map<_, _> = named.map(|(name, value)| (name.clone(), value.clone())).collect();
    digest_of(&Value::Object(named))
}

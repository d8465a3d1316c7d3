//! consul-template's functions of lists and maps.

use super::Function;
use super::Parameter::{Any, List, Map as Dictionary};
use crate::error::{Exceeded, Fault};
use crate::run::{Run, VALUE_DEPTH};
use crate::text::quote;
use crate::value::{Entries, Key, Kind, Type};
use crate::{Value, redact};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("in", &[Any, Any], |_, arguments| {
        Ok(Value::bool(is_in(&arguments[0], &arguments[1])))
    }),
    Function::derives("contains", &[Any, Any], |_, arguments| {
        Ok(Value::bool(is_in(&arguments[1], &arguments[0])))
    }),
    Function::derives("containsAll", &[List, Any], |run, arguments| {
        Ok(Value::bool(matching(run, arguments)? == items(&arguments[0]).len()))
    }),
    Function::derives("containsAny", &[List, Any], |run, arguments| {
        Ok(Value::bool(matching(run, arguments)? > 0))
    }),
    Function::derives("containsNone", &[List, Any], |run, arguments| {
        Ok(Value::bool(matching(run, arguments)? == 0))
    }),
    Function::derives("containsNotAll", &[List, Any], |run, arguments| {
        Ok(Value::bool(matching(run, arguments)? < items(&arguments[0]).len()))
    }),
    Function::passes("mergeMap", &[Dictionary, Dictionary], |run, arguments| {
        merge(run, &arguments[0], &arguments[1], false, 0)
    }),
    Function::passes("mergeMapWithOverride", &[Dictionary, Dictionary], |run, arguments| {
        merge(run, &arguments[0], &arguments[1], true, 0)
    }),
    Function::passes("explodeMap", &[Dictionary], explode_map),
];

/// The items of a list, none of anything else.
pub(super) fn items(value: &Value) -> &[Value] {
    match &value.kind {
        Kind::List(list) => list.items(),
        _ => &[],
    }
}

/// Whether `list` holds `value`, or the text `list` the text `value`. Numbers of one kind compare,
/// whatever their size.
#[expect(clippy::float_cmp, reason = "this is Go's ==")]
pub(super) fn is_in(list: &Value, value: &Value) -> bool {
    match &list.kind {
        Kind::List(list) => list.items().iter().any(|item| match (&item.kind, &value.kind) {
            (Kind::Int(item, _), Kind::Int(value, _)) => item == value,
            (Kind::Float(item), Kind::Float(value)) => item == value,
            (Kind::Text(item, kind), Kind::Text(value, other)) => kind == other && item == value,
            _ => false,
        }),
        Kind::Text(text, kind) => match &value.kind {
            Kind::Text(part, other) => {
                kind == other && super::text::contains(text.expose(), part.expose())
            }
            _ => false,
        },
        _ => false,
    }
}

fn matching(run: &mut Run<'_>, arguments: &[Value]) -> Result<usize, Fault> {
    let wanted = items(&arguments[0]);
    run.budget.charge((wanted.len() * (1 + items(&arguments[1]).len())) as u64)?;
    Ok(wanted.iter().filter(|value| is_in(&arguments[1], value)).count())
}

/// Adds what `from` has to `into`, maps within maps likewise. What `into` has and is not empty
/// stays, or gives way (`replace`).
///
/// Go changes the first map. Here a map that a template made is changed; one of a secret is not,
/// and the result is a map of its own.
pub(super) fn merge(
    run: &mut Run<'_>,
    into: &Value,
    from: &Value,
    replace: bool,
    depth: usize,
) -> Result<Value, Fault> {
    let (Kind::Map(target), Kind::Map(source)) = (&into.kind, &from.kind) else {
        return Ok(into.clone());
    };
    if depth > VALUE_DEPTH {
        return Err(Exceeded::Depth.into());
    }
    let mut merged: Entries = target.entries().clone();
    let additions: Entries = source.entries().clone();
    run.budget.charge((merged.len() + additions.len()) as u64)?;
    for (key, value) in additions {
        let known = merged.get(&key).cloned();
        let result = match known {
            Some(known) if is_map(&known) && is_map(&value) => {
                merge(run, &known, &value, replace, depth + 1)?
            }
            Some(known) if known.is_true() && !replace => known,
            _ => value,
        };
        check_insertion(run, into, &result)?;
        merged.insert(key, result);
    }
    if target.change(|entries| entries.clone_from(&merged)).is_some() {
        return Ok(into.clone());
    }
    Ok(Value::dictionary(merged).with_origins(into.origins.clone()))
}

fn is_map(value: &Value) -> bool {
    matches!(&value.kind, Kind::Map(map) if *map.key_type() == Type::String)
}

/// Refuses to put a map into itself: no walk of it would end.
pub(super) fn check_insertion(run: &mut Run<'_>, map: &Value, value: &Value) -> Result<(), Fault> {
    let Kind::Map(target) = &map.kind else { return Ok(()) };
    let mut waiting = vec![value.clone()];
    while let Some(value) = waiting.pop() {
        run.budget.charge(1)?;
        match &value.kind {
            Kind::Map(map) if std::sync::Arc::ptr_eq(map, target) => {
                return Err(Fault::new("a map cannot hold itself"));
            }
            Kind::Map(map) => waiting.extend(map.entries().values().cloned()),
            Kind::List(list) => waiting.extend(list.items().iter().cloned()),
            _ => {}
        }
    }
    Ok(())
}

/// Why a map of a secret is not changed.
pub(super) fn fixed() -> Fault {
    Fault::new("a map that came from outside cannot be changed")
}

fn explode_map(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let Kind::Map(map) = &arguments[0].kind else { return Ok(Value::NIL) };
    let out = Value::dictionary(Entries::new());
    for (key, value) in map.entries().iter() {
        let Key::Text(path) = key else { continue };
        run.budget.charge(1 + path.len() as u64 / 16)?;
        explode(&out, path, value).map_err(|fault| Fault::new(format!("explodeMap: {fault}")))?;
    }
    Ok(out.with_origins(arguments[0].origins.clone()))
}

/// Puts `value` at the path `a/b/c` of maps within maps.
fn explode(map: &Value, path: &[u8], value: &Value) -> Result<(), Fault> {
    let mut map = map.clone();
    let mut rest = path;
    let mut whole = path;
    while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
        let top = Key::text(&rest[..slash]);
        let Kind::Map(entries) = &map.kind else { return Ok(()) };
        let nested = entries.change(|entries| {
            entries.entry(top).or_insert_with(|| Value::dictionary(Entries::new())).clone()
        });
        let nested = nested.unwrap_or_default();
        if !is_map(&nested) {
            let (path, top) = (quote::quote(whole), quote::quote(&rest[..slash]));
            let known = redact::shown_as(&nested, 'q');
            return Err(Fault::new(format!("not a map: {path}: {top} already has value {known}")));
        }
        whole = rest;
        rest = &rest[slash + 1..];
        map = nested;
    }
    if let (Kind::Map(entries), false) = (&map.kind, rest.is_empty()) {
        entries.change(|entries| entries.insert(Key::text(rest), value.clone()));
    }
    Ok(())
}

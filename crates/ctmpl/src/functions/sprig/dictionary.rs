//! Maps.

use super::convert::text;
use crate::Value;
use crate::error::{Exceeded, Fault};
use crate::functions::Function;
use crate::functions::Parameter::{Any, Map, Text};
use crate::functions::collection::{check_insertion, fixed, merge};
use crate::run::{Run, VALUE_DEPTH};
use crate::value::{Entries, Key, Kind, Type};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::passes("sprig_dict", &[], dictionary).rest(Any),
    Function::passes("sprig_get", &[Map, Text], |_, arguments| {
        Ok(entries(&arguments[0]).get(&key(&arguments[1])).cloned().unwrap_or(Value::text("")))
    })
    .boxed(),
    Function::passes("sprig_set", &[Map, Text, Any], |run, arguments| {
        check_insertion(run, &arguments[0], &arguments[2])?;
        change(&arguments[0], |entries| {
            entries.insert(key(&arguments[1]), arguments[2].clone());
        })
    }),
    Function::passes("sprig_unset", &[Map, Text], |_, arguments| {
        change(&arguments[0], |entries| {
            entries.remove(&key(&arguments[1]));
        })
    }),
    Function::derives("sprig_hasKey", &[Map, Text], |_, arguments| {
        Ok(Value::bool(entries(&arguments[0]).contains_key(&key(&arguments[1]))))
    }),
    Function::passes("sprig_pluck", &[Text], |_, arguments| {
        let key = key(&arguments[0]);
        let found = arguments[1..].iter().filter_map(|map| entries(map).get(&key).cloned());
        Ok(Value::list(found.collect()))
    })
    .rest(Map),
    Function::passes("sprig_keys", &[], |run, arguments| {
        let mut names = Vec::new();
        for map in arguments {
            for key in entries(map).keys() {
                run.budget.charge(1)?;
                names.push(key.value().with_origins(map.origins.clone()));
            }
        }
        Ok(Value::list_of(Type::String, names))
    })
    .rest(Map),
    Function::passes("sprig_values", &[Map], |run, arguments| {
        let values: Vec<Value> = entries(&arguments[0]).into_values().collect();
        run.budget.charge(values.len() as u64)?;
        Ok(Value::list(values))
    }),
    Function::passes("sprig_pick", &[Map], |run, arguments| some(run, arguments, true)).rest(Text),
    Function::passes("sprig_omit", &[Map], |run, arguments| some(run, arguments, false)).rest(Text),
    Function::passes("sprig_merge", &[Map], |run, arguments| merged(run, arguments, false))
        .rest(Map)
        .boxed(),
    Function::passes("sprig_mustMerge", &[Map], |run, arguments| merged(run, arguments, false))
        .rest(Map)
        .boxed(),
    Function::passes("sprig_mergeOverwrite", &[Map], |run, arguments| merged(run, arguments, true))
        .rest(Map)
        .boxed(),
    Function::passes("sprig_mustMergeOverwrite", &[Map], |run, arguments| {
        merged(run, arguments, true)
    })
    .rest(Map)
    .boxed(),
    Function::passes("sprig_dig", &[Any], dig).rest(Any).boxed(),
    Function::passes("sprig_deepCopy", &[Any], |run, arguments| copy(run, &arguments[0], 0))
        .boxed(),
    Function::passes("sprig_mustDeepCopy", &[Any], |run, arguments| copy(run, &arguments[0], 0))
        .boxed(),
];

/// A map's entries; none of another value.
fn entries(map: &Value) -> Entries {
    match &map.kind {
        Kind::Map(map) => map.entries().clone(),
        _ => Entries::new(),
    }
}

fn key(value: &Value) -> Key {
    Key::text(value.bytes())
}

/// Changes a map, and returns it.
fn change(map: &Value, change: impl FnOnce(&mut Entries)) -> Result<Value, Fault> {
    match &map.kind {
        Kind::Map(inner) => {
            inner.change(change).ok_or_else(fixed)?;
            Ok(map.clone())
        }
        _ => Ok(map.clone()),
    }
}

fn dictionary(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let mut entries = Entries::new();
    for pair in arguments.chunks(2) {
        let name = text(run, &pair[0])?;
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::text(""));
        entries.insert(key(&name), value);
    }
    Ok(Value::dictionary(entries))
}

fn some(run: &mut Run<'_>, arguments: &[Value], picked: bool) -> Result<Value, Fault> {
    let wanted: Vec<Key> = arguments[1..].iter().map(key).collect();
    let mut kept = entries(&arguments[0]);
    run.budget.charge((kept.len() * (1 + wanted.len())) as u64)?;
    kept.retain(|key, _| wanted.contains(key) == picked);
    Ok(Value::dictionary(kept).with_origins(arguments[0].origins.clone()))
}

fn merged(run: &mut Run<'_>, arguments: &[Value], replace: bool) -> Result<Value, Fault> {
    let mut into = arguments[0].clone();
    for from in &arguments[1..] {
        into = merge(run, &into, from, replace, 0)?;
    }
    Ok(into)
}

/// `dig "a" "b" default map`
fn dig(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let [path @ .., default, map] = arguments else {
        return Err(Fault::new("dig needs at least three arguments"));
    };
    if path.is_empty() {
        return Err(Fault::new("dig needs at least three arguments"));
    }
    let mut value = map.clone();
    for name in path {
        let (Kind::Map(map), Some(name)) = (&value.kind, name.as_bytes()) else {
            let kind = value.type_of();
            return Err(Fault::new(format!(
                "interface conversion: interface {{}} is {kind}, not map[string]interface {{}}"
            )));
        };
        match map.get(name) {
            Some(next) => value = next,
            None => return Ok(default.clone()),
        }
    }
    Ok(value)
}

/// A copy that can be changed apart from what it was copied of.
fn copy(run: &mut Run<'_>, value: &Value, depth: usize) -> Result<Value, Fault> {
    if depth > VALUE_DEPTH {
        return Err(Exceeded::Depth.into());
    }
    run.budget.charge(1)?;
    let copied = match &value.kind {
        Kind::List(list) => {
            let items = list.items().iter().map(|item| copy(run, item, depth + 1));
            Value::list_of(list.item_type().clone(), items.collect::<Result<_, _>>()?)
        }
        Kind::Map(map) => {
            let mut entries = Entries::new();
            for (key, item) in map.entries().clone() {
                entries.insert(key, copy(run, &item, depth + 1)?);
            }
            let (key, item) = (map.key_type().clone(), map.value_type().clone());
            Kind::Map(std::sync::Arc::new(crate::Map::shared(key, item, entries))).into()
        }
        _ => return Ok(value.clone()),
    };
    Ok(copied.with_origins(value.origins.clone()))
}

//! `index` and `slice`.

use super::Function;
use super::Parameter::{Position, Reflected};
use crate::error::Fault;
use crate::run::{Run, zero};
use crate::value::{Key, Kind, Type};
use crate::{Value, redact};

pub(super) const FUNCTIONS: &[Function] = &[
    // Go returns what it finds as it stands there, in its interface.
    Function::passes("index", &[Reflected], index).rest(Reflected),
    Function::passes("slice", &[Reflected], slice).rest(Position),
];

fn index(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let (item, indexes) = arguments.split_first().ok_or_else(|| Fault::new("index of nothing"))?;
    if is_nothing(item) {
        return Err(Fault::new("index of untyped nil"));
    }
    let mut item = item.clone();
    for index in indexes {
        item = match &item.kind {
            Kind::Nil | Kind::Null(_) => return Err(Fault::new("index of nil pointer")),
            Kind::Text(text, _) => {
                let text = text.expose();
                let at = position(index, text.len())?;
                let byte = *text.get(at).ok_or_else(|| out_of_range("string"))?;
                Value::from(Kind::Uint(u64::from(byte), Type::Uint8))
                    .with_origins(item.origins.clone())
            }
            Kind::List(list) => {
                let items = list.items();
                let at = position(index, items.len())?;
                items.get(at).cloned().ok_or_else(|| out_of_range("slice"))?
            }
            Kind::Map(map) => {
                let key = key(index, map.key_type())?;
                let found = key.and_then(|key| map.entries().get(&key).cloned());
                found.unwrap_or_else(|| zero(map.value_type()))
            }
            Kind::Object(object) => {
                return Err(Fault::new(format!("can't index item of type {}", object.name())));
            }
            _ => return Err(Fault::new(format!("can't index item of type {}", item.type_of()))),
        };
    }
    Ok(item)
}

/// What Go's `reflect` says of an index that is the length itself.
fn out_of_range(what: &str) -> Fault {
    Fault::new(format!("reflect: {what} index out of range"))
}

fn position(index: &Value, capacity: usize) -> Result<usize, Fault> {
    let at = match index.kind {
        Kind::Int(at, _) => at,
        Kind::Uint(at, _) => at.cast_signed(),
        Kind::Nil | Kind::Null(Type::Any) => {
            return Err(Fault::new("cannot index slice/array with nil"));
        }
        _ => {
            let kind = index.type_of();
            return Err(Fault::new(format!("cannot index slice/array with type {kind}")));
        }
    };
    usize::try_from(at)
        .ok()
        .filter(|at| *at <= capacity)
        .ok_or_else(|| Fault::new(format!("index out of range: {}", redact::shown(index))))
}

/// The key that an argument of `index` stands for; none if no map has such a key.
fn key(index: &Value, wanted: &Type) -> Result<Option<Key>, Fault> {
    if is_nothing(index) {
        if *wanted == Type::Any {
            return Ok(None);
        }
        return Err(Fault::new(format!("value is nil; should be of type {wanted}")));
    }
    let kind = index.type_of();
    let fits = *wanted == Type::Any || kind == *wanted || (is_integer(&kind) && is_integer(wanted));
    if !fits {
        return Err(Fault::new(format!("value has type {kind}; should be {wanted}")));
    }
    match Key::of(index) {
        _ if matches!(kind, Type::List(_) | Type::Map(..)) => {
            Err(Fault::new(format!("hash of unhashable type: {kind}")))
        }
        key => Ok(key.filter(|_| {
            is_integer(wanted)
                || matches!(kind, Type::String | Type::Int | Type::Bool | Type::Float)
        })),
    }
}

fn is_integer(kind: &Type) -> bool {
    matches!(kind, Type::Int | Type::Int64 | Type::Uint8 | Type::Uint64 | Type::Duration)
}

fn slice(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let (item, indexes) = arguments.split_first().ok_or_else(|| Fault::new("slice of nothing"))?;
    if is_nothing(item) {
        return Err(Fault::new("slice of untyped nil"));
    }
    if matches!(item.kind, Kind::Null(_)) {
        return Err(Fault::new("slice of nil pointer"));
    }
    if indexes.len() > 3 {
        return Err(Fault::new(format!("too many slice indexes: {}", indexes.len())));
    }
    let length = match &item.kind {
        Kind::Text(..) if indexes.len() == 3 => {
            return Err(Fault::new("cannot 3-index slice a string"));
        }
        Kind::Text(text, _) => text.expose().len(),
        Kind::List(list) => list.items().len(),
        Kind::Object(object) => {
            return Err(Fault::new(format!("can't slice item of type {}", object.name())));
        }
        _ => return Err(Fault::new(format!("can't slice item of type {}", item.type_of()))),
    };
    let mut bounds = [0, length, 0];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        if matches!(index.kind, Kind::Null(Type::Any)) {
            return Err(Fault::new("cannot index slice/array with type interface {}"));
        }
        *bound = position(index, length)?;
    }
    let [from, to, capacity] = bounds;
    if from > to {
        return Err(Fault::new(format!("invalid slice index: {from} > {to}")));
    }
    if indexes.len() == 3 && to > capacity {
        return Err(Fault::new(format!("invalid slice index: {to} > {capacity}")));
    }
    let value = match &item.kind {
        Kind::Text(text, kind) => {
            let part = text.expose().get(from..to).unwrap_or_default();
            run.budget.allow(part.len())?;
            match kind {
                Type::Number => Value::number(part),
                _ => Value::text(part),
            }
        }
        Kind::List(list) => {
            let part = list.items().get(from..to).unwrap_or_default();
            run.budget.charge(part.len() as u64)?;
            Value::list_of(list.item_type().clone(), part.to_vec())
        }
        _ => Value::NIL,
    };
    Ok(value.with_origins(item.origins.clone()))
}

/// Nil of no type.
fn is_nothing(value: &Value) -> bool {
    matches!(value.kind, Kind::Nil | Kind::Null(Type::Any))
}

//! Lists.

use super::convert::{integer, kind, text, texts};
use super::logic::is_empty;
use crate::Value;
use crate::error::{Exceeded, Fault};
use crate::functions::Function;
use crate::functions::Parameter::{Any, Int, Text};
use crate::functions::collection::items;
use crate::run::{Run, VALUE_DEPTH};
use crate::value::{Kind, Type};

macro_rules! both {
    ($name:literal, $must:literal, $fixed:expr, $run:expr) => {
        [
            Function::passes(concat!("sprig_", $name), $fixed, $run),
            Function::passes(concat!("sprig_", $must), $fixed, $run),
        ]
    };
}

const PUSH: [Function; 2] = both!("append", "mustAppend", &[Any, Any], push);
const PUSH_TOO: [Function; 2] = both!("push", "mustPush", &[Any, Any], push);
const PREPEND: [Function; 2] = both!("prepend", "mustPrepend", &[Any, Any], |_, arguments| {
    let mut all = vec![arguments[1].clone()];
    all.extend_from_slice(list(&arguments[0], "Cannot prepend on type")?);
    Ok(Value::list(all))
});
const REST: [Function; 2] = both!("rest", "mustRest", &[Any], |_, arguments| {
    let items = list(&arguments[0], "Cannot find rest on type")?;
    Ok(Value::list(items.get(1..).unwrap_or_default().to_vec()))
});
const INITIAL: [Function; 2] = both!("initial", "mustInitial", &[Any], |_, arguments| {
    let items = list(&arguments[0], "Cannot find initial on type")?;
    Ok(Value::list(items[..items.len().saturating_sub(1)].to_vec()))
});
const REVERSE: [Function; 2] = both!("reverse", "mustReverse", &[Any], |_, arguments| {
    let items = list(&arguments[0], "Cannot find reverse on type")?;
    Ok(Value::list(items.iter().rev().cloned().collect()))
});
const COMPACT: [Function; 2] = both!("compact", "mustCompact", &[Any], |_, arguments| {
    let items = list(&arguments[0], "Cannot compact on type")?;
    Ok(Value::list(items.iter().filter(|item| !is_empty(item)).cloned().collect()))
});
const UNIQ: [Function; 2] = both!("uniq", "mustUniq", &[Any], |run, arguments| {
    let mut kept: Vec<Value> = Vec::new();
    for item in list(&arguments[0], "Cannot find uniq on type")? {
        if !is_among(run, &kept, item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
});
const CHUNK: [Function; 2] = both!("chunk", "mustChunk", &[Int, Any], |run, arguments| {
    let items = list(&arguments[1], "Cannot chunk type")?;
    let size = usize::try_from(arguments[0].integer()).unwrap_or(0);
    if size == 0 {
        return Err(Fault::new("chunk: the size must be at least 1"));
    }
    run.budget.pieces(items.len().div_ceil(size))?;
    let chunks = items.chunks(size).map(|chunk| Value::list(chunk.to_vec()));
    Ok(Value::list_of(Type::list(Type::Any), chunks.collect()))
});

pub(super) const FUNCTIONS: &[Function] = &[
    Function::passes("sprig_list", &[], |_, arguments| Ok(Value::list(arguments.to_vec())))
        .rest(Any),
    Function::passes("sprig_tuple", &[], |_, arguments| Ok(Value::list(arguments.to_vec())))
        .rest(Any),
    PUSH[0],
    PUSH[1],
    PUSH_TOO[0],
    PUSH_TOO[1],
    PREPEND[0],
    PREPEND[1],
    REST[0],
    REST[1],
    INITIAL[0],
    INITIAL[1],
    REVERSE[0],
    REVERSE[1],
    COMPACT[0],
    COMPACT[1],
    UNIQ[0],
    UNIQ[1],
    CHUNK[0],
    CHUNK[1],
    Function::passes("sprig_first", &[Any], first).boxed(),
    Function::passes("sprig_mustFirst", &[Any], first).boxed(),
    Function::passes("sprig_last", &[Any], last).boxed(),
    Function::passes("sprig_mustLast", &[Any], last).boxed(),
    Function::passes("sprig_without", &[Any], without).rest(Any),
    Function::passes("sprig_mustWithout", &[Any], without).rest(Any),
    Function::derives("sprig_has", &[Any, Any], has),
    Function::derives("sprig_mustHas", &[Any, Any], has),
    Function::passes("sprig_slice", &[Any], slice).rest(Any).boxed(),
    Function::passes("sprig_mustSlice", &[Any], slice).rest(Any).boxed(),
    Function::passes("sprig_concat", &[], |run, arguments| {
        let mut all = Vec::new();
        for value in arguments {
            let Kind::List(items) = &value.kind else {
                let kind = kind(value);
                return Err(Fault::new(format!("Cannot concat type {kind} as list")));
            };
            run.budget.items(all.len() + items.items().len())?;
            all.extend_from_slice(items.items());
        }
        Ok(Value::list(all))
    })
    .rest(Any)
    .boxed(),
    Function::derives("sprig_join", &[Text, Any], |run, arguments| {
        let list = texts(run, &arguments[1])?;
        let parts: Vec<&[u8]> = items(&list).iter().map(Value::bytes).collect();
        let length: usize = parts.iter().map(|part| part.len() + arguments[0].bytes().len()).sum();
        run.budget.allow(length)?;
        Ok(Value::text(parts.join(arguments[0].bytes())))
    }),
    Function::passes("sprig_sortAlpha", &[Any], |run, arguments| {
        let list = match &arguments[0].kind {
            Kind::List(_) => texts(run, &arguments[0])?,
            _ => Value::list_of(Type::String, vec![text(run, &arguments[0])?]),
        };
        let mut sorted = items(&list).to_vec();
        run.budget.charge(sorted.len() as u64 * 8)?;
        sorted.sort_by(|left, right| left.bytes().cmp(right.bytes()));
        Ok(Value::list_of(Type::String, sorted))
    }),
    Function::derives("sprig_deepEqual", &[Any, Any], |run, arguments| {
        Ok(Value::bool(deep_equal(run, &arguments[0], &arguments[1], 0)?))
    }),
];

/// The items of a list, or what is wrong with another value.
fn list<'v>(value: &'v Value, what: &str) -> Result<&'v [Value], Fault> {
    match &value.kind {
        Kind::List(list) => Ok(list.items()),
        Kind::Nil => Err(Fault::new(NIL)),
        _ => Err(Fault::new(format!("{what} {}", kind(value)))),
    }
}

/// What Go says when a method of nil is called.
const NIL: &str = "runtime error: invalid memory address or nil pointer dereference";

fn push(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let mut all = list(&arguments[0], "Cannot push on type")?.to_vec();
    all.push(arguments[1].clone());
    Ok(Value::list(all))
}

fn first(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let items = list(&arguments[0], "Cannot find first on type")?;
    Ok(items.first().cloned().unwrap_or_default())
}

fn last(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let items = list(&arguments[0], "Cannot find last on type")?;
    Ok(items.last().cloned().unwrap_or_default())
}

fn without(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let mut kept = Vec::new();
    for item in list(&arguments[0], "Cannot find without on type")? {
        if !is_among(run, &arguments[1..], item)? {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn has(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    if arguments[1].is_nil() {
        return Ok(Value::bool(false));
    }
    let items = list(&arguments[1], "Cannot find has on type")?;
    Ok(Value::bool(is_among(run, items, &arguments[0])?))
}

fn slice(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let items = list(&arguments[0], "list should be type of slice or array but")?;
    if items.is_empty() {
        return Ok(Value::NIL);
    }
    let bound = |index: usize, default: usize| match arguments.get(index) {
        Some(value) => usize::try_from(integer(value)).ok(),
        None => Some(default),
    };
    let part = bound(1, 0)
        .zip(bound(2, items.len()))
        .and_then(|(from, to)| items.get(from..to))
        .ok_or_else(|| Fault::new("reflect.Value.Slice: slice index out of bounds"))?;
    let item = match &arguments[0].kind {
        Kind::List(list) => list.item_type().clone(),
        _ => Type::Any,
    };
    Ok(Value::list_of(item, part.to_vec()))
}

fn is_among(run: &mut Run<'_>, items: &[Value], wanted: &Value) -> Result<bool, Fault> {
    for item in items {
        if deep_equal(run, item, wanted, 0)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether two values have the same type and, all the way down, the same content.
#[expect(clippy::float_cmp, reason = "this is Go's ==")]
pub(super) fn deep_equal(
    run: &mut Run<'_>,
    left: &Value,
    right: &Value,
    depth: usize,
) -> Result<bool, Fault> {
    if depth > VALUE_DEPTH {
        return Err(Exceeded::Depth.into());
    }
    run.budget.charge(1)?;
    Ok(match (&left.kind, &right.kind) {
        (Kind::Nil, Kind::Nil) => true,
        (Kind::Bool(left), Kind::Bool(right)) => left == right,
        (Kind::Int(left, kind), Kind::Int(right, other)) => left == right && kind == other,
        (Kind::Uint(left, kind), Kind::Uint(right, other)) => left == right && kind == other,
        (Kind::Float(left), Kind::Float(right)) => left == right,
        (Kind::Complex(left, above), Kind::Complex(right, below)) => {
            left == right && above == below
        }
        (Kind::Text(left, kind), Kind::Text(right, other)) => left == right && kind == other,
        (Kind::Time(left), Kind::Time(right)) => left == right,
        (Kind::Object(left), Kind::Object(right)) => std::sync::Arc::ptr_eq(left, right),
        (Kind::List(left), Kind::List(right)) => {
            if left.item_type() != right.item_type() || left.items().len() != right.items().len() {
                return Ok(false);
            }
            for (left, right) in left.items().iter().zip(right.items()) {
                if !deep_equal(run, left, right, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        (Kind::Map(left), Kind::Map(right)) => {
            if left.key_type() != right.key_type()
                || left.value_type() != right.value_type()
                || left.entries().len() != right.entries().len()
            {
                return Ok(false);
            }
            // Copies: one map may be both, and is locked while it is read.
            let (left, right) = (left.entries().clone(), right.entries().clone());
            for (key, value) in left {
                match right.get(&key) {
                    Some(other) if deep_equal(run, &value, other, depth + 1)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        _ => false,
    })
}

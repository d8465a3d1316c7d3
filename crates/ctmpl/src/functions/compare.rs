//! Comparisons, by Go's rules: values of different kinds are not compared.

use std::cmp::Ordering;

use super::Function;
use super::Parameter::Reflected;
use crate::error::Fault;
use crate::value::{Kind, Type};
use crate::{Value, redact};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("eq", &[Reflected], |_, arguments| equal(arguments).map(Value::bool))
        .rest(Reflected),
    Function::derives("ne", &[Reflected, Reflected], |_, arguments| {
        equal(arguments).map(|equal| Value::bool(!equal))
    }),
    Function::derives("lt", &[Reflected, Reflected], |_, arguments| {
        less(&arguments[0], &arguments[1]).map(Value::bool)
    }),
    Function::derives("le", &[Reflected, Reflected], |_, arguments| {
        less_or_equal(arguments).map(Value::bool)
    }),
    Function::derives("gt", &[Reflected, Reflected], |_, arguments| {
        less_or_equal(arguments).map(|holds| Value::bool(!holds))
    }),
    Function::derives("ge", &[Reflected, Reflected], |_, arguments| {
        less(&arguments[0], &arguments[1]).map(|holds| Value::bool(!holds))
    }),
];

/// Go's basic kinds.
#[derive(Clone, Copy)]
enum Basic<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Complex(f64, f64),
    Text(&'a [u8]),
    Other,
}

fn basic(value: &Value) -> Basic<'_> {
    match &value.kind {
        Kind::Bool(value) => Basic::Bool(*value),
        Kind::Int(value, _) => Basic::Int(*value),
        Kind::Uint(value, _) => Basic::Uint(*value),
        Kind::Float(value) => Basic::Float(*value),
        Kind::Complex(real, imaginary) => Basic::Complex(*real, *imaginary),
        Kind::Text(text, _) => Basic::Text(text.expose()),
        _ => Basic::Other,
    }
}

fn is_nothing(value: &Value) -> bool {
    matches!(value.kind, Kind::Nil | Kind::Null(Type::Any))
}

/// Whether the first argument equals any of the others.
fn equal(arguments: &[Value]) -> Result<bool, Fault> {
    let (left, others) = match arguments.split_first() {
        Some((left, others)) if !others.is_empty() => (left, others),
        _ => return Err(Fault::new("missing argument for comparison")),
    };
    for right in others {
        if equal_pair(left, right)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[expect(clippy::float_cmp, reason = "this is Go's ==")]
fn equal_pair(left: &Value, right: &Value) -> Result<bool, Fault> {
    Ok(match (basic(left), basic(right)) {
        (Basic::Bool(left), Basic::Bool(right)) => left == right,
        (Basic::Int(left), Basic::Int(right)) => left == right,
        (Basic::Uint(left), Basic::Uint(right)) => left == right,
        (Basic::Float(left), Basic::Float(right)) => left == right,
        (Basic::Complex(left, above), Basic::Complex(right, below)) => {
            left == right && above == below
        }
        (Basic::Text(left), Basic::Text(right)) => holdfast_types::constant_time_eq(left, right),
        (Basic::Int(signed), Basic::Uint(unsigned))
        | (Basic::Uint(unsigned), Basic::Int(signed)) => {
            u64::try_from(signed).is_ok_and(|signed| signed == unsigned)
        }
        (Basic::Other, Basic::Other) => return equal_others(left, right),
        _ if is_nothing(left) || is_nothing(right) => false,
        _ => return Err(incompatible(left, right)),
    })
}

fn incompatible(left: &Value, right: &Value) -> Fault {
    let (left, right) = (left.type_of(), right.type_of());
    Fault::new(format!("incompatible types for comparison: {left} and {right}"))
}

/// Lists, maps, pointers, times and nil.
fn equal_others(left: &Value, right: &Value) -> Result<bool, Fault> {
    if is_nothing(left) || is_nothing(right) {
        // A list or map of ours is never nil, a null pointer is.
        return Ok(is_null(left) == is_null(right));
    }
    if family(left) != family(right) {
        let (left_type, right_type) = (left.type_of(), right.type_of());
        let (left, right) = (redact::shown_as(left, 's'), redact::shown(right));
        return Err(Fault::new(format!(
            "non-comparable types {left}: {left_type}, {right_type}: {right}"
        )));
    }
    if is_null(left) || is_null(right) {
        return Ok(is_null(left) == is_null(right));
    }
    match (&left.kind, &right.kind) {
        (Kind::Object(left), Kind::Object(right)) => Ok(std::sync::Arc::ptr_eq(left, right)),
        (Kind::Time(left), Kind::Time(right)) => Ok(left == right),
        (Kind::Channel(..), _) => Ok(false),
        _ => {
            let (shown, kind) = (redact::shown_as(right, 's'), right.type_of());
            Err(Fault::new(format!("non-comparable type {shown}: {kind}")))
        }
    }
}

fn is_null(value: &Value) -> bool {
    matches!(value.kind, Kind::Nil | Kind::Null(_))
}

/// Go's kind of a value that is none of the basic ones.
fn family(value: &Value) -> u8 {
    match value.kind {
        Kind::List(_) => 1,
        Kind::Map(_) => 2,
        Kind::Object(_) | Kind::Null(_) => 3,
        Kind::Time(_) => 4,
        _ => 5,
    }
}

fn less(left: &Value, right: &Value) -> Result<bool, Fault> {
    let refused = || Fault::new("invalid type for comparison");
    let (first, second) = (basic(left), basic(right));
    if matches!(first, Basic::Other) || matches!(second, Basic::Other) {
        return Err(refused());
    }
    Ok(match (first, second) {
        (Basic::Int(left), Basic::Int(right)) => left < right,
        (Basic::Uint(left), Basic::Uint(right)) => left < right,
        (Basic::Float(left), Basic::Float(right)) => left < right,
        (Basic::Text(left), Basic::Text(right)) => left < right,
        (Basic::Int(left), Basic::Uint(right)) => {
            i128::from(left).cmp(&i128::from(right)) == Ordering::Less
        }
        (Basic::Uint(left), Basic::Int(right)) => {
            i128::from(left).cmp(&i128::from(right)) == Ordering::Less
        }
        (Basic::Bool(_), Basic::Bool(_)) | (Basic::Complex(..), Basic::Complex(..)) => {
            return Err(refused());
        }
        _ => return Err(incompatible(left, right)),
    })
}

fn less_or_equal(arguments: &[Value]) -> Result<bool, Fault> {
    Ok(less(&arguments[0], &arguments[1])? || equal(arguments)?)
}

//! consul-template's arithmetic. Integers wrap around as Go's do.

use super::Function;
use super::Parameter::Any;
use crate::error::Fault;
use crate::value::{Kind, Type};
use crate::{Value, redact};

macro_rules! operation {
    ($name:literal, $operation:expr) => {
        // The second argument comes first, so that it can be piped.
        Function::derives($name, &[Any, Any], |_, arguments| {
            calculate($name, $operation, &arguments[1], &arguments[0])
        })
        .boxed()
    };
}

pub(super) const FUNCTIONS: &[Function] = &[
    operation!("add", Operation::Add),
    operation!("subtract", Operation::Subtract),
    operation!("multiply", Operation::Multiply),
    operation!("divide", Operation::Divide),
    operation!("modulo", Operation::Modulo),
    operation!("minimum", Operation::Minimum),
    operation!("maximum", Operation::Maximum),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Minimum,
    Maximum,
}

#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Uint(u64),
    Float(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value.kind {
        Kind::Int(value, _) => Some(Number::Int(value)),
        Kind::Uint(value, _) => Some(Number::Uint(value)),
        Kind::Float(value) => Some(Number::Float(value)),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
fn float(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Uint(value) => value as f64,
        Number::Float(value) => value,
    }
}

fn signed(number: Number) -> Option<i64> {
    match number {
        Number::Int(value) => Some(value),
        Number::Uint(value) => Some(value.cast_signed()),
        Number::Float(_) => None,
    }
}

fn calculate(
    name: &str,
    operation: Operation,
    left: &Value,
    right: &Value,
) -> Result<Value, Fault> {
    let unknown = |value: &Value| {
        let kind = if value.is_nil() { "<nil>".to_owned() } else { value.type_of().to_string() };
        let shown = match &value.kind {
            Kind::Nil => "\"<invalid reflect.Value>\"".to_owned(),
            _ => redact::shown_as(value, 'q'),
        };
        Fault::new(format!("{name}: unknown type for {shown} ({kind})"))
    };
    let first = number(left)
        .filter(|number| operation != Operation::Modulo || signed(*number).is_some())
        .ok_or_else(|| unknown(left))?;
    let second = number(right).ok_or_else(|| unknown(right))?;
    if matches!(operation, Operation::Minimum | Operation::Maximum) {
        return Ok(pick(operation, first, second));
    }
    match (first, second) {
        (Number::Uint(left), Number::Uint(right)) => {
            let value = match operation {
                Operation::Add => left.wrapping_add(right),
                Operation::Subtract => left.wrapping_sub(right),
                Operation::Multiply => left.wrapping_mul(right),
                Operation::Divide => left.checked_div(right).ok_or_else(by_zero)?,
                _ => left.checked_rem(right).ok_or_else(by_zero)?,
            };
            Ok(Kind::Uint(value, Type::Uint64).into())
        }
        _ => match (signed(first), signed(second)) {
            (Some(left), Some(right)) => integers(operation, left, right),
            _ if operation == Operation::Modulo => Err(unknown(right)),
            _ => {
                let (left, right) = (float(first), float(second));
                Ok(Value::float(match operation {
                    Operation::Add => left + right,
                    Operation::Subtract => left - right,
                    Operation::Multiply => left * right,
                    _ => left / right,
                }))
            }
        },
    }
}

fn integers(operation: Operation, left: i64, right: i64) -> Result<Value, Fault> {
    if right == 0 && matches!(operation, Operation::Divide | Operation::Modulo) {
        return Err(by_zero());
    }
    let value = match operation {
        Operation::Add => left.wrapping_add(right),
        Operation::Subtract => left.wrapping_sub(right),
        Operation::Multiply => left.wrapping_mul(right),
        Operation::Divide => left.wrapping_div(right),
        _ => left.wrapping_rem(right),
    };
    Ok(Kind::Int(value, Type::Int64).into())
}

fn by_zero() -> Fault {
    Fault::new("runtime error: integer divide by zero")
}

/// The smaller or the larger, as the type that it has.
fn pick(operation: Operation, left: Number, right: Number) -> Value {
    let smaller = match (left, right, signed(left), signed(right)) {
        (Number::Uint(left), Number::Uint(right), ..) => left < right,
        (_, _, Some(left), Some(right)) => left < right,
        _ => float(left) < float(right),
    };
    let larger = match (left, right, signed(left), signed(right)) {
        (Number::Uint(left), Number::Uint(right), ..) => left > right,
        (_, _, Some(left), Some(right)) => left > right,
        _ => float(left) > float(right),
    };
    let takes_left = if operation == Operation::Minimum { smaller } else { larger };
    match if takes_left { left } else { right } {
        Number::Int(value) => Kind::Int(value, Type::Int64).into(),
        Number::Uint(value) => Kind::Uint(value, Type::Uint64).into(),
        Number::Float(value) => Value::float(value),
    }
}

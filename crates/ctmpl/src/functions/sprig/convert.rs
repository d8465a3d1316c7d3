//! Values of any type as text and numbers, and what they are.

use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::{Any, Text};
use crate::run::Run;
use crate::text::number::{parse_float, parse_signed};
use crate::value::{Kind, Type};
use crate::{Value, format};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_toString", &[Any], |run, arguments| text(run, &arguments[0])),
    Function::derives("sprig_toStrings", &[Any], |run, arguments| texts(run, &arguments[0])),
    Function::derives("sprig_int", &[Any], |_, arguments| Ok(Value::int(integer(&arguments[0])))),
    Function::derives("sprig_int64", &[Any], |_, arguments| Ok(int64(integer(&arguments[0])))),
    Function::derives("sprig_float64", &[Any], |_, arguments| {
        Ok(Value::float(float(&arguments[0])))
    }),
    Function::derives("sprig_atoi", &[Text], |_, arguments| {
        Ok(Value::int(parse_signed(arguments[0].bytes(), 10).unwrap_or(0)))
    }),
    Function::derives("sprig_toDecimal", &[Any], |run, arguments| {
        let text = format::print(&mut run.budget, &arguments[..1])?;
        Ok(int64(parse_signed(text.bytes(), 8).unwrap_or(0)))
    }),
    Function::derives("sprig_typeOf", &[Any], |_, arguments| {
        Ok(Value::text(type_name(&arguments[0])))
    }),
    Function::derives("sprig_typeIs", &[Text, Any], |_, arguments| {
        Ok(Value::bool(type_name(&arguments[1]).as_bytes() == arguments[0].bytes()))
    }),
    Function::derives("sprig_typeIsLike", &[Text, Any], |_, arguments| {
        let (wanted, name) = (arguments[0].lossy(), type_name(&arguments[1]));
        Ok(Value::bool(wanted == name || format!("*{wanted}") == name))
    }),
    Function::derives("sprig_kindOf", &[Any], |_, arguments| Ok(Value::text(kind(&arguments[0])))),
    Function::derives("sprig_kindIs", &[Text, Any], |_, arguments| {
        Ok(Value::bool(kind(&arguments[1]).as_bytes() == arguments[0].bytes()))
    }),
];

/// An `int64`.
pub(super) fn int64(value: i64) -> Value {
    Kind::Int(value, Type::Int64).into()
}

/// A value as text: text itself, others by `%v`.
pub(super) fn text(run: &mut Run<'_>, value: &Value) -> Result<Value, Fault> {
    match &value.kind {
        Kind::Text(text, _) => {
            Ok(Value::from(Kind::Text(text.clone(), Type::String))
                .with_origins(value.origins.clone()))
        }
        _ => Ok(format::print(&mut run.budget, std::slice::from_ref(value))?
            .with_origins(value.origins.clone())),
    }
}

/// A list as a list of text, without its nils; another value as a list of one.
pub(super) fn texts(run: &mut Run<'_>, value: &Value) -> Result<Value, Fault> {
    let items = match &value.kind {
        Kind::List(list) => {
            let items = list.items().iter().filter(|item| !item.is_nil());
            items.map(|item| text(run, item)).collect::<Result<_, _>>()?
        }
        Kind::Nil => Vec::new(),
        _ => vec![text(run, value)?],
    };
    Ok(Value::list_of(Type::String, items))
}

/// A value as an integer: text by its prefix, 0 where it is none.
#[expect(clippy::cast_possible_truncation, reason = "Go cuts off, too")]
pub(super) fn integer(value: &Value) -> i64 {
    match &value.kind {
        Kind::Bool(truth) => i64::from(*truth),
        Kind::Int(value, _) => *value,
        Kind::Uint(value, _) => value.cast_signed(),
        Kind::Float(value) => *value as i64,
        Kind::Text(text, _) => parse_signed(trimmed(text.expose()), 0).unwrap_or(0),
        _ => 0,
    }
}

/// A number's text without `.0` at its end.
fn trimmed(text: &[u8]) -> &[u8] {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let whole = digits.iter().position(|byte| *byte == b'.');
    match whole {
        Some(point)
            if digits[point + 1..].iter().all(|byte| *byte == b'0') && point + 1 < digits.len() =>
        {
            &text[..text.len() - digits.len() + point]
        }
        _ => text,
    }
}

/// A value as a float, 0 where it is none.
#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
pub(super) fn float(value: &Value) -> f64 {
    match &value.kind {
        Kind::Bool(truth) => f64::from(u8::from(*truth)),
        Kind::Int(value, _) => *value as f64,
        Kind::Uint(value, _) => *value as f64,
        Kind::Float(value) => *value,
        Kind::Text(text, _) => parse_float(text.expose()).unwrap_or(0.0),
        _ => 0.0,
    }
}

fn type_name(value: &Value) -> String {
    if value.is_nil() { "<nil>".to_owned() } else { value.type_of().to_string() }
}

/// Go's kind of a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match &value.kind {
        Kind::Nil => "invalid",
        Kind::Bool(_) => "bool",
        Kind::Int(_, Type::Int) => "int",
        Kind::Int(..) => "int64",
        Kind::Uint(_, Type::Uint8) => "uint8",
        Kind::Uint(..) => "uint64",
        Kind::Float(_) => "float64",
        Kind::Complex(..) => "complex128",
        Kind::Text(..) => "string",
        Kind::List(_) => "slice",
        Kind::Map(_) => "map",
        Kind::Object(_) | Kind::Null(_) => "ptr",
        Kind::Channel(..) => "chan",
        Kind::Time(_) => "struct",
    }
}

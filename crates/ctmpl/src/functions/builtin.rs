//! Go's own functions but for comparisons, escapes and selections.

use super::Parameter::{Any, Reflected, Text};
use super::{Flow, Function};
use crate::error::Fault;
use crate::run::Run;
use crate::value::{Kind, Type};
use crate::{Value, format};

pub(super) const FUNCTIONS: &[Function] = &[
    // The caller evaluates these two itself: they stop at the first argument that decides.
    Function::passes("and", &[Reflected], |_, _| Ok(Value::NIL)).rest(Reflected),
    Function::passes("or", &[Reflected], |_, _| Ok(Value::NIL)).rest(Reflected),
    Function { flow: Flow::Call, ..Function::passes("call", &[Reflected], |_, _| Ok(Value::NIL)) }
        .rest(Reflected),
    Function::derives("not", &[Reflected], |_, arguments| Ok(Value::bool(!arguments[0].is_true()))),
    Function::derives("len", &[Reflected], length),
    Function::derives("print", &[], |run, arguments| {
        Ok(format::print(&mut run.budget, arguments)?)
    })
    .rest(Any),
    Function::derives("println", &[], |run, arguments| {
        Ok(format::println(&mut run.budget, arguments)?)
    })
    .rest(Any),
    Function::derives("printf", &[Text], |run, arguments| {
        Ok(format::printf(&mut run.budget, arguments[0].bytes(), &arguments[1..])?)
    })
    .rest(Any),
];

fn length(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let value = &arguments[0];
    let length = match &value.kind {
        Kind::Nil => {
            return Err(Fault::new("reflect: call of reflect.Value.Type on zero Value"));
        }
        Kind::Null(_) => return Err(Fault::new("len of nil pointer")),
        Kind::Text(text, _) => text.expose().len(),
        Kind::List(list) => list.items().len(),
        Kind::Map(map) => map.entries().len(),
        Kind::Channel(..) => 0,
        // Go looks through the pointer.
        Kind::Object(object) => return Err(Fault::new(format!("len of type {}", object.name()))),
        _ => return Err(Fault::new(format!("len of type {}", value.type_of()))),
    };
    Ok(Value::from(Kind::Int(i64::try_from(length).unwrap_or(i64::MAX), Type::Int)))
}

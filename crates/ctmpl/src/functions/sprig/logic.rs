//! Defaults and choices.

use crate::Value;
use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::{Any, Bool, Text};
use crate::value::Kind;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::passes("sprig_default", &[Any], |_, arguments| match arguments.get(1) {
        Some(given) if !is_empty(given) => Ok(given.clone()),
        _ => Ok(arguments[0].clone()),
    })
    .rest(Any)
    .boxed(),
    Function::derives("sprig_empty", &[Any], |_, arguments| {
        Ok(Value::bool(is_empty(&arguments[0])))
    }),
    Function::passes("sprig_coalesce", &[], |_, arguments| {
        Ok(arguments.iter().find(|value| !is_empty(value)).cloned().unwrap_or_default())
    })
    .rest(Any)
    .boxed(),
    Function::derives("sprig_all", &[], |_, arguments| {
        Ok(Value::bool(!arguments.iter().any(is_empty)))
    })
    .rest(Any),
    Function::derives("sprig_any", &[], |_, arguments| {
        Ok(Value::bool(!arguments.iter().all(is_empty)))
    })
    .rest(Any),
    Function::passes("sprig_ternary", &[Any, Any, Bool], |_, arguments| {
        Ok(arguments[usize::from(!arguments[2].is_true())].clone())
    })
    .boxed(),
    Function::derives("sprig_fail", &[Text], |_, arguments| Err(Fault::new(arguments[0].lossy()))),
    Function::derives("sprig_hello", &[], |_, _| Ok(Value::text("Hello!"))),
];

/// Zero, empty, nil.
pub(super) fn is_empty(value: &Value) -> bool {
    match value.kind {
        Kind::Time(_) => false,
        _ => !value.is_true(),
    }
}

//! Fields, keys and methods of values.

use super::{Item, Run};
use crate::functions::methods;
use crate::language::ast::{Operand, Place};
use crate::text::quote;
use crate::value::{Kind, Type};
use crate::{Error, MissingKey, Value, secret};

impl<'a> Run<'a> {
    /// `.name` of `receiver`.
    pub(super) fn field(
        &mut self,
        dot: &Item,
        receiver: &Item,
        operand: &'a Operand,
        name: &'a str,
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Item, Error> {
        if receiver.is_invalid() {
            if self.template.missing_key() == MissingKey::Error {
                let quoted = quote::quote(name.as_bytes());
                return Err(self.error(format!("nil data; no entry for key {quoted}")));
            }
            return Ok(Item::plain(Value::NIL));
        }
        let value = &receiver.value;
        if value.is_nil() {
            return Err(self.error(format!("nil pointer evaluating interface {{}}.{name}")));
        }
        if let Some(method) = methods::find(value, name) {
            return self.method(dot, value.clone(), method, operand, operands, last);
        }
        let has_arguments = operands.len() > 1 || last.is_some();
        match &value.kind {
            Kind::Object(object) => {
                if let Some(field) = object.field(name) {
                    if has_arguments {
                        return Err(self.error(format!(
                            "{name} has arguments but cannot be invoked as function"
                        )));
                    }
                    return Ok(Item::plain(field.clone()));
                }
            }
            Kind::Map(map) if matches!(map.key_type(), Type::String | Type::Any) => {
                if has_arguments {
                    return Err(self.error(format!("{name} is not a method but has arguments")));
                }
                let boxed = *map.value_type() == Type::Any;
                if let Some(value) = map.get(name.as_bytes()) {
                    return Ok(Item { value, boxed });
                }
                return match self.template.missing_key() {
                    MissingKey::Invalid => Ok(Item::plain(Value::NIL)),
                    MissingKey::Zero => Ok(Item { value: zero(map.value_type()), boxed }),
                    MissingKey::Error => {
                        let quoted = quote::quote(name.as_bytes());
                        Err(self.error(format!("map has no entry for key {quoted}")))
                    }
                };
            }
            Kind::Null(kind @ Type::Pointer(type_name)) if secret::has_field(type_name, name) => {
                return Err(self.error(format!("nil pointer evaluating {kind}.{name}")));
            }
            _ => {}
        }
        let kind = receiver.static_type();
        Err(self.error(format!("can't evaluate field {name} in type {kind}")))
    }

    /// Calls a method: a function that is given its receiver before its arguments.
    fn method(
        &mut self,
        dot: &Item,
        receiver: Value,
        method: &'static methods::Method,
        operand: &'a Operand,
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Item, Error> {
        let arguments = operands.get(1..).unwrap_or_default();
        let (wanted, got) =
            (method.parameters.len(), arguments.len() + usize::from(last.is_some()));
        if wanted != got {
            let name = method.name;
            return Err(
                self.error(format!("wrong number of args for {name}: want {wanted} got {got}"))
            );
        }
        let mut values = vec![receiver];
        for (argument, parameter) in arguments.iter().zip(method.parameters) {
            values.push(self.argument(dot, *parameter, argument)?);
        }
        if let (Some(last), Some(parameter)) = (last, method.parameters.last()) {
            values.push(self.fit(last, *parameter)?);
        }
        self.charge(1)?;
        let value = (method.run)(self, &values)
            .map_err(|fault| self.failed(method.name, &fault, &values, Place::Operand(operand)))?;
        Ok(Item { value, boxed: method.boxed })
    }
}

/// The zero of a type.
pub(crate) fn zero(kind: &Type) -> Value {
    match kind {
        Type::String => Value::text(""),
        Type::Number => Value::number(""),
        Type::Bool => Value::bool(false),
        Type::Int | Type::Int64 | Type::Duration => Kind::Int(0, kind.clone()).into(),
        Type::Uint8 | Type::Uint64 => Kind::Uint(0, kind.clone()).into(),
        Type::Float => Value::float(0.0),
        Type::Complex => Kind::Complex(0.0, 0.0).into(),
        Type::List(item) => Value::list_of((**item).clone(), Vec::new()),
        _ => Value::NIL,
    }
}

//! Calls of functions, and their arguments by type.

use super::{Item, Run};
use crate::error::Fault;
use crate::functions::{Flow, Function, Parameter};
use crate::language::ast::{Operand, Place, Term};
use crate::value::{Kind, Type};
use crate::{Error, Origins, Value, redact};

impl<'a> Run<'a> {
    /// Calls a function with the arguments behind it and the value of the command before.
    pub(super) fn call(
        &mut self,
        dot: &Item,
        function: &'static Function,
        place: Place<'a>,
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Item, Error> {
        let arguments = operands.get(1..).unwrap_or_default();
        self.check_count(function, arguments.len(), last.is_some())?;
        if matches!(function.name, "and" | "or") {
            return self.and_or(dot, function.name == "or", arguments, last);
        }
        let given = self.arguments(dot, function, arguments, last)?;
        self.charge(1)?;
        let result = match function.flow {
            // The one function that must know how its argument is written.
            Flow::Call => Err(self.not_callable(&given, arguments)),
            _ => {
                (function.run)(self, &given).and_then(|value| self.derive(function, &given, value))
            }
        };
        let value = result.map_err(|fault| self.failed(function.name, &fault, &given, place))?;
        Ok(Item { value, boxed: function.boxed })
    }

    pub(super) fn failed(
        &mut self,
        name: &str,
        fault: &Fault,
        arguments: &[Value],
        place: Place<'a>,
    ) -> Error {
        self.place = Some(place);
        let message = match fault {
            // What an executed template says is free of secrets already.
            Fault::Inner(error) => error.to_string(),
            fault => redact::message(&fault.to_string(), arguments),
        };
        self.error_of(fault.kind(), &format!("error calling {name}: {message}"))
    }

    /// A value that a function made comes from all that it was made from.
    fn derive(
        &mut self,
        function: &Function,
        arguments: &[Value],
        value: Value,
    ) -> Result<Value, Fault> {
        if let Kind::Text(text, _) = &value.kind {
            self.budget.allow(text.expose().len())?;
        }
        self.budget.made(&value, 0)?;
        if function.flow != Flow::Derives {
            return Ok(value);
        }
        let mut origins = Origins::NONE;
        for argument in arguments {
            self.budget.collect(argument, &mut origins, 0)?;
        }
        Ok(if origins.is_empty() { value } else { taint(value, &origins) })
    }

    fn check_count(&self, function: &Function, given: usize, piped: bool) -> Result<(), Error> {
        let all = given + usize::from(piped);
        let fixed = function.fixed.len();
        let name = function.name;
        let message = match function.rest {
            Some(_) if all < fixed => {
                format!("wrong number of args for {name}: want at least {fixed} got {given}")
            }
            None if all != fixed => {
                format!("wrong number of args for {name}: want {fixed} got {all}")
            }
            _ => return Ok(()),
        };
        Err(self.error(message))
    }

    fn arguments(
        &mut self,
        dot: &Item,
        function: &Function,
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Vec<Value>, Error> {
        let mut values = Vec::with_capacity(operands.len() + 1);
        for (index, operand) in operands.iter().enumerate() {
            // A parameter there is: the number of arguments was checked.
            if let Some(parameter) = function.parameter(index) {
                values.push(self.argument(dot, parameter, operand)?);
            }
        }
        if let Some(last) = last
            && let Some(parameter) = function.parameter(operands.len())
        {
            values.push(self.fit(last, parameter)?);
        }
        Ok(values)
    }

    /// `and` and `or` evaluate no more arguments than they need.
    fn and_or(
        &mut self,
        dot: &Item,
        until: bool,
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Item, Error> {
        let mut value = Item::plain(Value::NIL);
        for operand in operands {
            value = self.word(dot, operand, None)?;
            if value.value.is_true() == until {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn not_callable(&self, given: &[Value], operands: &[Operand]) -> Fault {
        let Some(callee) = given.first() else { return Fault::new("call of nil") };
        if callee.is_nil() || matches!(callee.kind, Kind::Null(Type::Any)) {
            return Fault::new("call of nil");
        }
        let kind = callee.type_of();
        let name = match operands.first() {
            Some(operand) => operand.to_string(),
            None => match callee.as_bytes() {
                Some(text) => String::from_utf8_lossy(text).into_owned(),
                None => format!("<{kind} Value>"),
            },
        };
        Fault::new(format!("non-function {name} of type {kind}"))
    }

    /// The value of a word, as an argument of type `parameter`.
    pub(super) fn argument(
        &mut self,
        dot: &Item,
        parameter: Parameter,
        operand: &'a Operand,
    ) -> Result<Value, Error> {
        self.place = Some(Place::Operand(operand));
        match &operand.term {
            Term::Nil => {
                let wanted = parameter.type_of();
                if !wanted.can_be_nil() {
                    return Err(self.error(format!("cannot assign nil to {wanted}")));
                }
                Ok(parameter.zero())
            }
            Term::Dot
            | Term::Field(_)
            | Term::Variable(_)
            | Term::Pipe(_)
            | Term::Function(_)
            | Term::Chain(..) => {
                let item = self.word(dot, operand, Some(parameter))?;
                self.fit(item, parameter)
            }
            _ => self.literal_argument(dot, parameter, operand),
        }
    }

    /// The value of a word that takes no arguments.
    fn word(
        &mut self,
        dot: &Item,
        operand: &'a Operand,
        parameter: Option<Parameter>,
    ) -> Result<Item, Error> {
        self.place = Some(Place::Operand(operand));
        match &operand.term {
            Term::Field(names) => self.fields(dot, dot.clone(), operand, names, &[], None),
            Term::Variable(names) => self.variable(dot, operand, names, &[], None),
            Term::Pipe(pipe) => self.pipeline(dot, pipe),
            Term::Function(function) => {
                self.call(dot, function, Place::Operand(operand), &[], None)
            }
            Term::Chain(inner, names) => self.chain(dot, operand, inner, names, &[], None),
            Term::Nil if parameter.is_none() => Ok(Item::plain(Value::NIL)),
            _ => self.literal(dot, operand),
        }
    }

    fn literal_argument(
        &mut self,
        dot: &Item,
        parameter: Parameter,
        operand: &'a Operand,
    ) -> Result<Value, Error> {
        let wrong = |wanted: &str| Err(self.error(format!("expected {wanted}; found {operand}")));
        match (parameter, &operand.term) {
            (Parameter::Any | Parameter::Reflected | Parameter::Position, _) => {
                self.literal(dot, operand).map(|item| item.value)
            }
            (Parameter::Bool, Term::Bool(value)) => Ok(Value::bool(*value)),
            (Parameter::Bool, _) => wrong("bool"),
            (Parameter::Text, Term::Text { value, .. }) => Ok(value.clone()),
            (Parameter::Text, _) => wrong("string"),
            (Parameter::Int, Term::Number(number)) => match number.integer {
                Some(value) => Ok(Kind::Int(value, parameter.type_of()).into()),
                None => wrong("integer"),
            },
            (Parameter::Int, _) => wrong("integer"),
            (Parameter::Float, Term::Number(number)) => match number.float {
                Some(value) => Ok(Value::float(value)),
                None => wrong("float"),
            },
            (Parameter::Float, _) => wrong("float"),
            _ => {
                let wanted = parameter.type_of();
                Err(self.error(format!("can't handle {operand} for arg of type {wanted}")))
            }
        }
    }

    /// `item` as an argument of type `parameter`, if it can be one.
    pub(super) fn fit(&mut self, item: Item, parameter: Parameter) -> Result<Value, Error> {
        if item.is_invalid() {
            let wanted = parameter.type_of();
            if wanted.can_be_nil() {
                return Ok(parameter.zero());
            }
            return Err(self.error(format!("invalid value; expected {wanted}")));
        }
        match parameter {
            Parameter::Any => Ok(item.value),
            Parameter::Reflected => Ok(item.reflected()),
            Parameter::Position if item.boxed => Ok(Kind::Null(Type::Any).into()),
            Parameter::Position => Ok(item.value),
            _ if parameter.takes(&item.value) => Ok(item.value),
            _ => {
                let (wanted, got) = (parameter.type_of(), item.unboxed_type());
                Err(self.error(format!("wrong type for value; expected {wanted}; got {got}")))
            }
        }
    }
}

/// Gives a new value and all in it their origins.
fn taint(value: Value, origins: &Origins) -> Value {
    let mut own = value.origins;
    own.extend(origins);
    let kind = match value.kind {
        Kind::List(list) => {
            let items = list.items().iter().map(|item| taint(item.clone(), origins)).collect();
            return Value::list_of(list.item_type().clone(), items).with_origins(own);
        }
        Kind::Map(map) => {
            map.change(|entries| {
                for value in entries.values_mut() {
                    *value = taint(std::mem::take(value), origins);
                }
            });
            Kind::Map(map)
        }
        kind => kind,
    };
    Value { kind, origins: own }
}

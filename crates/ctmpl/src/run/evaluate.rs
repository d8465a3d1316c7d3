//! Pipelines, commands and their words.

use super::{Item, Run};
use crate::language::ast::{Command, Number, Operand, Pipe, Place, Term};
use crate::value::{Kind, Type};
use crate::{Error, Value};

impl<'a> Run<'a> {
    /// The value of the last command; variables that the pipeline declares are set to it.
    pub(super) fn pipeline(&mut self, dot: &Item, pipe: &'a Pipe) -> Result<Item, Error> {
        self.descend(|run| {
            run.place = Some(Place::Pipe(pipe));
            let mut last = None;
            for command in &pipe.commands {
                last = Some(run.command(dot, command, last)?.unboxed());
            }
            let value = last.unwrap_or_else(|| Item::plain(Value::NIL));
            for variable in &pipe.variables {
                if pipe.assigns {
                    run.assign(variable, value.clone())?;
                } else {
                    run.variables.push((variable, value.clone()));
                }
            }
            Ok(value)
        })
    }

    fn command(
        &mut self,
        dot: &Item,
        command: &'a Command,
        last: Option<Item>,
    ) -> Result<Item, Error> {
        let Some(first) = command.operands.first() else {
            return Ok(Item::plain(Value::NIL));
        };
        let operands = &command.operands;
        match &first.term {
            Term::Field(names) => {
                self.place = Some(Place::Operand(first));
                self.fields(dot, dot.clone(), first, names, operands, last)
            }
            Term::Chain(inner, names) => self.chain(dot, first, inner, names, operands, last),
            Term::Function(function) => {
                self.place = Some(Place::Operand(first));
                self.call(dot, function, Place::Command(command), operands, last)
            }
            Term::Pipe(pipe) => {
                self.not_a_function(operands, last.as_ref())?;
                self.pipeline(dot, pipe)
            }
            Term::Variable(names) => self.variable(dot, first, names, operands, last),
            term => {
                self.place = Some(Place::Operand(first));
                self.not_a_function(operands, last.as_ref())?;
                match term {
                    Term::Nil => Err(self.error("nil is not a command")),
                    _ => self.literal(dot, first),
                }
            }
        }
    }

    /// The value of a word that stands for itself, where any type will do.
    pub(super) fn literal(&mut self, dot: &Item, operand: &'a Operand) -> Result<Item, Error> {
        match &operand.term {
            Term::Bool(value) => Ok(Item::plain(Value::bool(*value))),
            Term::Dot => Ok(dot.clone()),
            Term::Number(number) => self.constant(operand, number),
            Term::Text { value, .. } => Ok(Item::plain(value.clone())),
            _ => Err(self.error(format!("can't evaluate command \"{operand}\""))),
        }
    }

    /// A number's value where the type is not known: its writing says which.
    fn constant(&mut self, operand: &'a Operand, number: &Number) -> Result<Item, Error> {
        self.place = Some(Place::Operand(operand));
        let text = number.text.as_bytes();
        let kind = if let Some((real, imaginary)) = number.complex {
            Kind::Complex(real, imaginary)
        } else if let Some(float) = number.float
            && !is_hexadecimal_integer(text)
            && !text.starts_with(b"'")
            && text.iter().any(|byte| b".eEpP".contains(byte))
        {
            Kind::Float(float)
        } else if let Some(integer) = number.integer {
            Kind::Int(integer, Type::Int)
        } else {
            return Err(self.error(format!("{} overflows int", number.text)));
        };
        Ok(Item::plain(kind.into()))
    }

    pub(super) fn not_a_function(
        &self,
        operands: &[Operand],
        last: Option<&Item>,
    ) -> Result<(), Error> {
        if operands.len() > 1 || last.is_some() {
            let first = operands.first().map(ToString::to_string).unwrap_or_default();
            return Err(self.error(format!("can't give argument to non-function {first}")));
        }
        Ok(())
    }

    pub(super) fn variable(
        &mut self,
        dot: &Item,
        operand: &'a Operand,
        names: &'a [String],
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Item, Error> {
        self.place = Some(Place::Operand(operand));
        let Some((name, fields)) = names.split_first() else {
            return Ok(Item::plain(Value::NIL));
        };
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        let Some((_, value)) = found else {
            return Err(self.error(format!("undefined variable: {name}")));
        };
        let value = value.clone();
        if fields.is_empty() {
            self.not_a_function(operands, last.as_ref())?;
            return Ok(value);
        }
        self.fields(dot, value, operand, fields, operands, last)
    }

    /// Sets a variable that is there.
    pub(super) fn assign(&mut self, name: &str, value: Item) -> Result<(), Error> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, variable)) => {
                *variable = value;
                Ok(())
            }
            None => Err(self.error(format!("undefined variable: {name}"))),
        }
    }

    pub(super) fn chain(
        &mut self,
        dot: &Item,
        operand: &'a Operand,
        inner: &'a Operand,
        names: &'a [String],
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Item, Error> {
        self.place = Some(Place::Operand(operand));
        self.place = Some(Place::Operand(inner));
        let receiver = match &inner.term {
            Term::Pipe(pipe) => self.pipeline(dot, pipe)?,
            Term::Function(function) => {
                self.call(dot, function, Place::Operand(inner), &[], None)?
            }
            _ => self.literal(dot, inner)?,
        };
        self.fields(dot, receiver, operand, names, operands, last)
    }

    /// `.a.b.c` of `receiver`; the last may be a method, and takes the arguments.
    pub(super) fn fields(
        &mut self,
        dot: &Item,
        receiver: Item,
        operand: &'a Operand,
        names: &'a [String],
        operands: &'a [Operand],
        last: Option<Item>,
    ) -> Result<Item, Error> {
        let Some((final_name, names)) = names.split_last() else { return Ok(receiver) };
        let mut receiver = receiver;
        for name in names {
            receiver = self.field(dot, &receiver, operand, name, &[], None)?;
        }
        self.field(dot, &receiver, operand, final_name, operands, last)
    }
}

fn is_hexadecimal_integer(text: &[u8]) -> bool {
    text.len() > 2
        && (text.starts_with(b"0x") || text.starts_with(b"0X"))
        && !text.iter().any(|byte| matches!(byte, b'p' | b'P'))
}

//! The functions that templates call, by name.

mod builtin;
mod collection;
mod compare;
mod encode;
mod escape;
mod formats;
mod math;
pub(crate) mod methods;
mod refused;
mod regex;
mod select;
mod sprig;
mod text;
mod vault;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::Value;
use crate::error::Fault;
use crate::run::Run;
use crate::value::{Kind, Type};

/// A function: what it takes, and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// The parameters that must be there.
    pub(crate) fixed: &'static [Parameter],
    /// The type of any number of further ones.
    pub(crate) rest: Option<Parameter>,
    /// Whether its result is an `interface {}` to Go.
    pub(crate) boxed: bool,
    pub(crate) flow: Flow,
    pub(crate) run: Body,
}

/// What a function does with arguments that were checked.
pub(crate) type Body = fn(&mut Run<'_>, &[Value]) -> Result<Value, Fault>;

/// What a function's result was made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// From all arguments.
    Derives,
    /// It is one of the arguments, or a part of one, or knows by itself.
    Passes,
    /// `call`, which the caller does itself.
    Call,
}

/// The type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Any,
    Reflected,
    /// An index of `slice`, which Go does not take out of its interface: what stands in one is
    /// given as nil of type `interface {}`.
    Position,
    Bool,
    Int,
    Float,
    Text,
    /// `[]string`
    Texts,
    /// `[]interface {}`
    List,
    /// `map[string]interface {}`
    Map,
    Time,
}

impl Parameter {
    pub(crate) fn type_of(self) -> Type {
        match self {
            Self::Any => Type::Any,
            Self::Reflected | Self::Position => Type::Reflected,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Float => Type::Float,
            Self::Text => Type::String,
            Self::Texts => Type::list(Type::String),
            Self::List => Type::list(Type::Any),
            Self::Map => Type::dictionary(),
            Self::Time => Type::Time,
        }
    }

    /// What a parameter is that is given no value, where nil will do.
    pub(crate) fn zero(self) -> Value {
        match self {
            Self::Texts => Value::texts(Vec::new()),
            Self::List => Value::list(Vec::new()),
            Self::Map => Value::map([]),
            _ => Value::NIL,
        }
    }

    /// Whether a value has the parameter's type.
    pub(crate) fn takes(self, value: &Value) -> bool {
        match (self, &value.kind) {
            (Self::Any | Self::Reflected | Self::Position, _)
            | (Self::Bool, Kind::Bool(_))
            | (Self::Int, Kind::Int(_, Type::Int))
            | (Self::Float, Kind::Float(_))
            | (Self::Text, Kind::Text(_, Type::String))
            | (Self::Time, Kind::Time(_)) => true,
            (Self::Texts, Kind::List(list)) => *list.item_type() == Type::String,
            (Self::List, Kind::List(list)) => *list.item_type() == Type::Any,
            (Self::Map, Kind::Map(map)) => {
                *map.key_type() == Type::String && *map.value_type() == Type::Any
            }
            _ => false,
        }
    }
}

impl Function {
    /// A function that makes something of its arguments.
    pub(crate) const fn derives(
        name: &'static str,
        fixed: &'static [Parameter],
        run: Body,
    ) -> Self {
        Self { name, fixed, rest: None, boxed: false, flow: Flow::Derives, run }
    }

    /// A function whose result knows its origins.
    pub(crate) const fn passes(name: &'static str, fixed: &'static [Parameter], run: Body) -> Self {
        Self { flow: Flow::Passes, ..Self::derives(name, fixed, run) }
    }

    /// Any number of further arguments may follow.
    pub(crate) const fn rest(self, rest: Parameter) -> Self {
        Self { rest: Some(rest), ..self }
    }

    /// The result is an `interface {}`.
    pub(crate) const fn boxed(self) -> Self {
        Self { boxed: true, ..self }
    }

    /// The parameter of an argument by its number.
    pub(crate) fn parameter(&self, index: usize) -> Option<Parameter> {
        self.fixed.get(index).copied().or(self.rest)
    }
}

static FUNCTIONS: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
    let tables = [
        builtin::FUNCTIONS,
        collection::FUNCTIONS,
        compare::FUNCTIONS,
        encode::FUNCTIONS,
        escape::FUNCTIONS,
        formats::FUNCTIONS,
        math::FUNCTIONS,
        regex::FUNCTIONS,
        select::FUNCTIONS,
        text::FUNCTIONS,
        vault::FUNCTIONS,
    ];
    tables
        .iter()
        .chain(refused::TABLES)
        .chain(sprig::TABLES)
        .copied()
        .flatten()
        .map(|function| (function.name, function))
        .collect()
});

/// The function of a name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name).copied()
}

/// The names of all functions, sorted.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = FUNCTIONS.keys().copied().collect();
    names.sort_unstable();
    names
}

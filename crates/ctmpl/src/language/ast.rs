//! The tree of a template, and each node as Go's messages show it.

use std::fmt::{self, Display, Formatter};

use crate::Value;
use crate::functions::Function;
use crate::text::quote;

/// Nodes one after another.
#[derive(Default)]
pub(crate) struct List {
    pub(crate) nodes: Vec<Node>,
}

/// A piece of a template. `at` is where it starts, in bytes.
pub(crate) enum Node {
    Text(Vec<u8>),
    Action { at: usize, pipe: Pipe },
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

/// `if`, `with`, `range`.
pub(crate) struct Branch {
    pub(crate) pipe: Pipe,
    pub(crate) list: List,
    pub(crate) otherwise: Option<List>,
}

/// Commands, each given the value of the one before, and the variables that take the last value.
pub(crate) struct Pipe {
    pub(crate) at: usize,
    /// `=`, not `:=`.
    pub(crate) assigns: bool,
    /// With the dollar sign.
    pub(crate) variables: Vec<String>,
    pub(crate) commands: Vec<Command>,
}

/// An operand and its arguments; never empty.
pub(crate) struct Command {
    pub(crate) operands: Vec<Operand>,
}

/// One word of a command.
pub(crate) struct Operand {
    pub(crate) at: usize,
    pub(crate) term: Term,
}

/// What a word is.
pub(crate) enum Term {
    Bool(bool),
    Dot,
    Nil,
    Number(Box<Number>),
    /// A string: as it is written, and its value.
    Text {
        quoted: String,
        value: Value,
    },
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a`: the variable, with its dollar sign, and fields of it.
    Variable(Vec<String>),
    /// `(…).a.b`
    Chain(Box<Operand>, Vec<String>),
    Function(&'static Function),
    Pipe(Pipe),
}

/// A number under every type that can hold it.
pub(crate) struct Number {
    pub(crate) integer: Option<i64>,
    pub(crate) float: Option<f64>,
    pub(crate) complex: Option<(f64, f64)>,
    pub(crate) text: String,
}

/// The node that an error is about.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Pipe(&'a Pipe),
    Command(&'a Command),
    Operand(&'a Operand),
    Action(usize, &'a Pipe),
    Template(usize, &'a str, Option<&'a Pipe>),
}

impl Place<'_> {
    /// Where the node starts, in bytes.
    pub(crate) fn at(&self) -> usize {
        match self {
            Self::Pipe(pipe) => pipe.at,
            Self::Command(command) => command.at(),
            Self::Operand(operand) => operand.at,
            Self::Action(at, _) | Self::Template(at, ..) => *at,
        }
    }

    /// The node as Go writes it, actions within the template's delimiters.
    pub(crate) fn show(&self, left: &str, right: &str) -> String {
        match self {
            Self::Pipe(pipe) => pipe.to_string(),
            Self::Command(command) => command.to_string(),
            Self::Operand(operand) => operand.to_string(),
            Self::Action(_, pipe) => format!("{left}{pipe}{right}"),
            Self::Template(_, name, pipe) => {
                let name = quote::quote(name.as_bytes());
                match pipe {
                    Some(pipe) => format!("{left}template {name} {pipe}{right}"),
                    None => format!("{left}template {name}{right}"),
                }
            }
        }
    }
}

impl Command {
    /// Where the command starts: at its first word.
    pub(crate) fn at(&self) -> usize {
        self.operands.first().map_or(0, |operand| operand.at)
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            command.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match &operand.term {
                Term::Pipe(pipe) => write!(f, "({pipe})")?,
                _ => operand.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let fields = |f: &mut Formatter<'_>, fields: &[String]| {
            fields.iter().try_for_each(|field| write!(f, ".{field}"))
        };
        match &self.term {
            Term::Bool(value) => write!(f, "{value}"),
            Term::Dot => f.write_str("."),
            Term::Nil => f.write_str("nil"),
            Term::Number(number) => f.write_str(&number.text),
            Term::Text { quoted, .. } => f.write_str(quoted),
            Term::Field(names) => fields(f, names),
            Term::Variable(names) => f.write_str(&names.join(".")),
            Term::Chain(inner, names) => {
                match &inner.term {
                    Term::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => inner.fmt(f)?,
                }
                fields(f, names)
            }
            Term::Function(function) => f.write_str(function.name),
            Term::Pipe(pipe) => pipe.fmt(f),
        }
    }
}

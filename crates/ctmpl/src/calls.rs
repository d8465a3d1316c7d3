//! The calls of a template and what becomes of their values, for checks that do not render it.

use crate::Template;
use crate::language::ast::{Branch, Command, List, Node, Operand, Pipe, Term};

/// A call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function.
    pub function: &'static str,
    /// Its arguments as they are written; what is piped into it comes last, as
    /// [`Argument::Piped`].
    pub arguments: Vec<Argument>,
    /// The line, from 1, and the byte within it, from 0.
    pub position: (usize, usize),
    /// Where its value, or a part of it, is written or decides something, in the order of the text.
    /// Of a function that makes its value of others' values, these have the uses.
    pub uses: Vec<Use>,
}

/// One use of what a call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Which part: `Data.data.password`; empty for all of it. `*` stands for each element.
    pub path: String,
    /// Where the action or the condition starts: the line, from 1, and the byte within it, from 0.
    pub position: (usize, usize),
    /// The functions that it was given to on the way, in order.
    pub through: Vec<&'static str>,
    /// What for.
    pub purpose: Purpose,
    /// Whether it is within an `if` or a `with` that asks for that very part.
    pub guarded: bool,
}

/// What a value is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is written to the output.
    Printed,
    /// An `if`, `with` or `range` looks at it.
    Condition,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// Text.
    Text(Vec<u8>),
    /// A number, as it is written.
    Number(String),
    /// A truth value.
    Bool(bool),
    /// What stands before the pipe.
    Piped,
    /// Anything else, as it is written: `.Data.x`, `(env "X")`.
    Expression(String),
}

/// Functions whose value is their own, whatever they are given.
const SOURCES: [&str; 6] = ["secret", "secrets", "pkiCert", "env", "mustEnv", "file"];
/// A value remembers this many parts that it was made of, and functions on the way.
const REMEMBERED: usize = 32;

pub(crate) fn of(template: &Template) -> Vec<Call> {
    let mut visitor = Visitor { template, calls: Vec::new(), scope: Scope::default() };
    for list in template.trees().values() {
        visitor.scope = Scope::default();
        visitor.list(list);
    }
    visitor.calls.sort_by_key(|call| call.position);
    for call in &mut visitor.calls {
        call.uses.sort_by_key(|one| one.position);
    }
    visitor.calls
}

/// What a value was made of.
type Value = Vec<Origin>;

/// A part of what a call returned, and the functions that it went through since.
#[derive(Clone)]
struct Origin {
    call: usize,
    path: String,
    through: Vec<&'static str>,
}

impl Origin {
    fn part(mut self, name: &str) -> Self {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        self
    }

    fn is_same(&self, other: &Self) -> bool {
        self.call == other.call && self.path == other.path
    }
}

#[derive(Default)]
struct Scope {
    /// What `.` is.
    dot: Value,
    variables: Vec<(String, Value)>,
    /// What the conditions around have asked for.
    guards: Vec<Origin>,
}

struct Visitor<'a> {
    template: &'a Template,
    calls: Vec<Call>,
    scope: Scope,
}

impl<'a> Visitor<'a> {
    fn list(&mut self, list: &'a List) {
        for node in &list.nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action { pipe, .. } => {
                    let value = self.pipe(pipe);
                    if pipe.variables.is_empty() {
                        self.used(&value, pipe.at, Purpose::Printed);
                    }
                }
                Node::If(branch) => self.branch(branch, |_, dot| dot),
                Node::With(branch) => self.branch(branch, |value, _| value),
                Node::Range(branch) => self.branch(branch, |value, _| elements(value)),
                Node::Template { pipe, .. } => {
                    if let Some(pipe) = pipe {
                        self.pipe(pipe);
                    }
                }
            }
        }
    }

    fn branch(&mut self, branch: &'a Branch, dot: impl Fn(Value, Value) -> Value) {
        let (variables, guards) = (self.scope.variables.len(), self.scope.guards.len());
        let value = self.pipe(&branch.pipe);
        self.used(&value, branch.pipe.at, Purpose::Condition);
        let outer = self.scope.dot.clone();
        self.scope.dot = dot(value.clone(), outer.clone());
        // A range's last variable is the element; the key before it is no secret.
        if let [.., last] = &branch.pipe.variables[..]
            && let Some((_, held)) = self.scope.variables.iter_mut().rfind(|(name, _)| name == last)
        {
            *held = dot(held.clone(), held.clone());
        }
        if let [key, _] = &branch.pipe.variables[..]
            && let Some((_, held)) = self.scope.variables.iter_mut().rfind(|(name, _)| name == key)
        {
            held.clear();
        }
        self.scope.guards.extend(value);
        self.list(&branch.list);
        self.scope.guards.truncate(guards);
        self.scope.dot = outer;
        if let Some(list) = &branch.otherwise {
            self.list(list);
        }
        self.scope.variables.truncate(variables);
    }

    /// Notes that a value is used, by the calls that it was made of.
    fn used(&mut self, value: &[Origin], at: usize, purpose: Purpose) {
        let position = self.template.position(at);
        for origin in value {
            let guarded = self.scope.guards.iter().any(|guard| guard.is_same(origin));
            self.calls[origin.call].uses.push(Use {
                path: origin.path.clone(),
                position,
                through: origin.through.clone(),
                purpose,
                guarded,
            });
        }
    }

    fn pipe(&mut self, pipe: &'a Pipe) -> Value {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, value));
        }
        let value = value.unwrap_or_default();
        for name in &pipe.variables {
            let known = self.scope.variables.iter_mut().rfind(|(known, _)| known == name);
            match known {
                // Which of the two it is, nobody knows before it is rendered.
                Some((_, held)) if pipe.assigns => {
                    held.extend(value.iter().cloned());
                    bound(held);
                }
                _ => self.scope.variables.push((name.clone(), value.clone())),
            }
        }
        value
    }

    fn command(&mut self, command: &'a Command, piped: Option<Value>) -> Value {
        let Some((first, arguments)) = command.operands.split_first() else { return Value::new() };
        let Term::Function(function) = &first.term else {
            let mut value = self.operand(first);
            if !arguments.is_empty() && is_setter(first) {
                value.clear();
                return value;
            }
            for operand in arguments {
                value.extend(self.operand(operand));
            }
            bound(&mut value);
            return value;
        };
        let call = self.call(function.name, first.at, arguments, piped.is_some());
        let mut inputs = Value::new();
        for operand in arguments {
            inputs.extend(self.operand(operand));
        }
        inputs.extend(piped.unwrap_or_default());
        match function.name {
            "writeToFile" => return Value::new(),
            name if SOURCES.contains(&name) || inputs.is_empty() => return self.value_of(call),
            _ => {}
        }
        for origin in &mut inputs {
            if function.name == "index" {
                for key in arguments.iter().filter_map(text) {
                    *origin = origin.clone().part(&key);
                }
            }
            if origin.through.len() < REMEMBERED {
                origin.through.push(function.name);
            }
        }
        bound(&mut inputs);
        inputs
    }

    fn call(
        &mut self,
        function: &'static str,
        at: usize,
        arguments: &[Operand],
        piped: bool,
    ) -> usize {
        let mut written: Vec<Argument> = arguments.iter().map(argument).collect();
        written.extend(piped.then_some(Argument::Piped));
        let position = self.template.position(at);
        self.calls.push(Call { function, arguments: written, position, uses: Vec::new() });
        self.calls.len() - 1
    }

    fn value_of(&self, call: usize) -> Value {
        vec![Origin { call, path: String::new(), through: Vec::new() }]
    }

    fn operand(&mut self, operand: &'a Operand) -> Value {
        let (value, names) = match &operand.term {
            Term::Dot => (self.scope.dot.clone(), &[][..]),
            Term::Field(names) => (self.scope.dot.clone(), &names[..]),
            Term::Variable(names) => {
                let Some((name, fields)) = names.split_first() else { return Value::new() };
                let found = self.scope.variables.iter().rfind(|(known, _)| known == name);
                (found.map(|(_, value)| value.clone()).unwrap_or_default(), fields)
            }
            Term::Chain(inner, names) => (self.operand(inner), &names[..]),
            Term::Pipe(pipe) => (self.pipe(pipe), &[][..]),
            Term::Function(function) => {
                let call = self.call(function.name, operand.at, &[], false);
                (self.value_of(call), &[][..])
            }
            Term::Bool(_) | Term::Nil | Term::Number(_) | Term::Text { .. } => return Value::new(),
        };
        let parts = value.into_iter().map(|origin| names.iter().fold(origin, |o, n| o.part(n)));
        parts.collect()
    }
}

fn elements(value: Value) -> Value {
    value.into_iter().map(|origin| origin.part("*")).collect()
}

/// Drops what is there twice, and what is too much to remember.
fn bound(value: &mut Value) {
    let mut kept = Value::new();
    for origin in value.drain(..) {
        if kept.len() < REMEMBERED && !kept.iter().any(|known| known.is_same(&origin)) {
            kept.push(origin);
        }
    }
    *value = kept;
}

/// Whether a method keeps what it is given and returns nothing: `scratch.Set`.
fn is_setter(operand: &Operand) -> bool {
    let (Term::Chain(_, names) | Term::Field(names) | Term::Variable(names)) = &operand.term else {
        return false;
    };
    names.last().is_some_and(|name| name.starts_with("Set") || name.starts_with("MapSet"))
}

fn text(operand: &Operand) -> Option<String> {
    match &operand.term {
        Term::Text { value, .. } => Some(String::from_utf8_lossy(value.bytes()).into_owned()),
        _ => None,
    }
}

fn argument(operand: &Operand) -> Argument {
    match &operand.term {
        Term::Text { value, .. } => Argument::Text(value.bytes().to_vec()),
        Term::Number(number) => Argument::Number(number.text.clone()),
        Term::Bool(value) => Argument::Bool(*value),
        Term::Pipe(pipe) => Argument::Expression(format!("({pipe})")),
        _ => Argument::Expression(operand.to_string()),
    }
}

//! The calls of a template, for checks that do not render it.

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
    /// The functions that its value is piped through, or given to within parentheses, in order.
    /// With [`printed`](Self::printed) this tells text that goes out without quotes.
    pub passes_through: Vec<&'static str>,
    /// Whether its value, or what those functions make of it, is written to the output.
    pub printed: bool,
    /// The fields that are taken of what it returns, in its own pipeline (`(secret "x").Data.y`)
    /// or within its `with`, as far as they are written: `Data.y`.
    pub fields: Vec<String>,
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

pub(crate) fn of(template: &Template) -> Vec<Call> {
    let mut visitor = Visitor { template, calls: Vec::new(), within: Vec::new() };
    for list in template.trees().values() {
        visitor.list(list);
    }
    visitor.calls.sort_by_key(|call| call.position);
    visitor.calls
}

struct Visitor<'a> {
    template: &'a Template,
    calls: Vec<Call>,
    /// The calls whose value is `.`, one for each `with` around: none where `.` is something else.
    within: Vec<Option<usize>>,
}

impl<'a> Visitor<'a> {
    fn list(&mut self, list: &'a List) {
        for node in &list.nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action { pipe, .. } => {
                    self.pipe(pipe, &[], pipe.variables.is_empty());
                }
                Node::If(branch) => {
                    self.pipe(&branch.pipe, &[], false);
                    self.list(&branch.list);
                    self.otherwise(branch);
                }
                Node::With(branch) => {
                    let call = self.pipe(&branch.pipe, &[], false);
                    self.within.push(call);
                    self.list(&branch.list);
                    self.within.pop();
                    self.otherwise(branch);
                }
                Node::Range(branch) => {
                    self.pipe(&branch.pipe, &[], false);
                    self.within.push(None);
                    self.list(&branch.list);
                    self.within.pop();
                    self.otherwise(branch);
                }
                Node::Template { pipe, .. } => {
                    if let Some(pipe) = pipe {
                        self.pipe(pipe, &[], false);
                    }
                }
            }
        }
    }

    fn otherwise(&mut self, branch: &'a Branch) {
        if let Some(list) = &branch.otherwise {
            self.list(list);
        }
    }

    /// Visits a pipeline whose value goes through `after`; returns the call that is its value.
    fn pipe(&mut self, pipe: &'a Pipe, after: &[&'static str], printed: bool) -> Option<usize> {
        let mut last = None;
        for (index, command) in pipe.commands.iter().enumerate() {
            let mut through: Vec<&'static str> =
                pipe.commands[index + 1..].iter().filter_map(function_of).collect();
            through.extend_from_slice(after);
            last = self.command(command, index > 0, &through, printed);
        }
        last
    }

    fn command(
        &mut self,
        command: &'a Command,
        piped: bool,
        through: &[&'static str],
        printed: bool,
    ) -> Option<usize> {
        let (first, arguments) = command.operands.split_first()?;
        let Term::Function(function) = &first.term else {
            for operand in &command.operands {
                self.operand(operand, through, printed);
            }
            return match &first.term {
                Term::Pipe(pipe) if arguments.is_empty() => self.result_of(pipe),
                _ => None,
            };
        };
        let call = self.calls.len();
        let mut written: Vec<Argument> = arguments.iter().map(argument).collect();
        written.extend(piped.then_some(Argument::Piped));
        self.calls.push(Call {
            function: function.name,
            arguments: written,
            position: self.template.position(first.at),
            passes_through: through.to_vec(),
            printed,
            fields: Vec::new(),
        });
        let mut deeper = vec![function.name];
        deeper.extend_from_slice(through);
        for operand in arguments {
            self.operand(operand, &deeper, printed);
        }
        Some(call)
    }

    /// The call that a pipeline within parentheses ends with: visited just now.
    fn result_of(&self, pipe: &Pipe) -> Option<usize> {
        let function = function_of(pipe.commands.last()?)?;
        let at = pipe.commands.last()?.operands.first()?.at;
        let position = self.template.position(at);
        self.calls.iter().rposition(|call| call.function == function && call.position == position)
    }

    fn operand(&mut self, operand: &'a Operand, through: &[&'static str], printed: bool) {
        match &operand.term {
            Term::Pipe(pipe) => {
                self.pipe(pipe, through, printed);
            }
            Term::Field(names) => {
                if let Some(Some(call)) = self.within.last() {
                    self.calls[*call].fields.push(names.join("."));
                }
            }
            Term::Chain(inner, names) => {
                let before = self.calls.len();
                self.operand(inner, through, printed);
                let call = match &inner.term {
                    Term::Pipe(pipe) => self.result_of(pipe),
                    Term::Function(_) => (self.calls.len() > before).then_some(before),
                    _ => None,
                };
                if let Some(call) = call {
                    self.calls[call].fields.push(names.join("."));
                }
            }
            Term::Function(function) => self.calls.push(Call {
                function: function.name,
                arguments: Vec::new(),
                position: self.template.position(operand.at),
                passes_through: through.to_vec(),
                printed,
                fields: Vec::new(),
            }),
            _ => {}
        }
    }
}

fn function_of(command: &Command) -> Option<&'static str> {
    match &command.operands.first()?.term {
        Term::Function(function) => Some(function.name),
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

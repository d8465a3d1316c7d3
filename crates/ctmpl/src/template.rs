//! A parsed template.

use crate::language::ast::List;
use crate::language::parse::{self, Trees};
use crate::{
    Call, Error, Limits, MissingKey, Options, Output, Source, Value, calls, functions, run,
};

/// A parsed template, and the templates that it defines.
pub struct Template {
    name: String,
    trees: Trees,
    left: String,
    right: String,
    missing_key: MissingKey,
    /// Where each line of the text starts, in bytes.
    lines: Vec<usize>,
}

impl Template {
    /// Parses a text. `name` stands in messages.
    ///
    /// # Errors
    /// [`ErrorKind::Parse`](crate::ErrorKind::Parse), in Go's words: `template: NAME:LINE: …`.
    pub fn parse(name: &str, text: &[u8], options: &Options) -> Result<Self, Error> {
        let delimiter = |given: &str, default: &str| {
            if given.is_empty() { default.to_owned() } else { given.to_owned() }
        };
        let left = delimiter(&options.left_delimiter, "{{");
        let right = delimiter(&options.right_delimiter, "}}");
        let trees = parse::parse(name, text, &left, &right, options.depth)?;
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let lines = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Ok(Self {
            name: name.to_owned(),
            trees,
            left,
            right,
            missing_key: options.missing_key,
            lines,
        })
    }

    /// Renders the template, with nil for its data, as consul-template does.
    ///
    /// # Errors
    /// What the template does and cannot be done, in Go's words; a limit that was reached; what the
    /// source says that a secret cannot be had.
    pub fn render(&self, source: &dyn Source, limits: &Limits) -> Result<Output, Error> {
        self.render_with(Value::NIL, source, limits)
    }

    /// Renders the template with `data` for `.` and `$`.
    ///
    /// # Errors
    /// Like [`render`](Self::render).
    pub fn render_with(
        &self,
        data: Value,
        source: &dyn Source,
        limits: &Limits,
    ) -> Result<Output, Error> {
        run::render(self, source, limits, data)
    }

    /// All calls of functions, in the order of the text: for checks of a template that do not
    /// render it.
    pub fn calls(&self) -> Vec<Call> {
        calls::of(self)
    }

    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the templates that the text defines, its own among them.
    pub fn defined(&self) -> impl Iterator<Item = &str> {
        self.trees.keys().map(String::as_str)
    }

    pub(crate) fn trees(&self) -> &Trees {
        &self.trees
    }

    pub(crate) fn tree(&self, name: &str) -> Option<&List> {
        self.trees.get(name)
    }

    pub(crate) fn named(&self, name: &str) -> Option<(&str, &List)> {
        self.trees.get_key_value(name).map(|(name, list)| (name.as_str(), list))
    }

    pub(crate) fn delimiters(&self) -> (&str, &str) {
        (&self.left, &self.right)
    }

    pub(crate) fn missing_key(&self) -> MissingKey {
        self.missing_key
    }

    /// The line of a place, from 1, and the byte within it, from 0.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at);
        (line, at - self.lines.get(line.wrapping_sub(1)).copied().unwrap_or(0))
    }
}

/// The names of all functions that templates can call, sorted.
pub fn function_names() -> Vec<&'static str> {
    functions::names()
}

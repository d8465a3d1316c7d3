//! Reading a body into typed settings.
//!
//! Every setting that is asked for becomes known; what is left over at the end is reported. So is
//! every value of the wrong type: nothing stops at the first mistake, and the operator sees them
//! all at once, each with its place.
//!
//! ```
//! let body = holdfast_hcl::parse(r#"
//!     api_addr = "https://vault.example:8200"
//!     listener "tcp" { address = "127.0.0.1:8200" tls_disable = "true" }
//! "#)?;
//! let mut problems = holdfast_hcl::Problems::default();
//! let mut file = holdfast_hcl::Settings::new(&body, &mut problems);
//! assert_eq!(file.string("api_addr").as_deref(), Some("https://vault.example:8200"));
//! for listener in file.blocks("listener") {
//!     assert_eq!(listener.labels, ["tcp"]);
//!     let mut settings = listener.settings(file.problems());
//!     assert_eq!(settings.string("address").as_deref(), Some("127.0.0.1:8200"));
//!     assert_eq!(settings.bool("tls_disable"), Some(true));
//!     settings.finish();
//! }
//! file.finish();
//! assert!(problems.is_empty());
//! # Ok::<(), holdfast_hcl::Error>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use holdfast_types::{Ttl, closest};

use crate::ast::parse_integer;
use crate::{Body, Item, Position, Value, ValueKind};

/// Something wrong with a setting. Prints as `3:5: listener.tcp.address: expected a string`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub position: Position,
    /// Which setting, with the blocks around it: `listener.tcp.address`.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.position, self.key, self.message)
    }
}

/// All that is wrong with a file, in the order it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, position: Position, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { position, key: key.into(), message: message.into() });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    /// One a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// A block found by [`Settings::blocks`]: `key "label" { ... }`.
#[derive(Debug, Clone)]
pub struct Block<'b> {
    /// Its labels.
    pub labels: Vec<&'b str>,
    /// What is in it.
    pub body: &'b Body,
    /// Where it starts.
    pub position: Position,
    name: String,
}

impl<'b> Block<'b> {
    /// Reads what is in it.
    pub fn settings<'p>(&self, problems: &'p mut Problems) -> Settings<'b, 'p> {
        Settings { body: self.body, prefix: format!("{}.", self.name), known: Vec::new(), problems }
    }
}

/// Typed access to the items of a body.
///
/// The types are as loose as Vault's: `"true"` and `1` are booleans, `"8200"` is a number, `3600`
/// and `"1h"` are durations. Of a setting written twice, the last one counts, and the repetition
/// is a problem.
pub struct Settings<'b, 'p> {
    body: &'b Body,
    /// The names of the blocks around, each followed by a dot.
    prefix: String,
    known: Vec<&'static str>,
    problems: &'p mut Problems,
}

impl<'b, 'p> Settings<'b, 'p> {
    /// The settings of a whole file.
    pub fn new(body: &'b Body, problems: &'p mut Problems) -> Self {
        Self { body, prefix: String::new(), known: Vec::new(), problems }
    }

    /// Where to report what is wrong within a block of this body.
    pub fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// The value of a setting, whatever it is, and where it stands.
    pub fn value(&mut self, key: &'static str) -> Option<&'b Value> {
        let body = self.body;
        let mut found: Option<&Item> = None;
        for item in self.items(body, key) {
            if found.is_some() {
                self.problem(item.position(), key, "set twice");
            }
            if item.keys.len() > 1 {
                self.problem(item.position(), key, "takes no label");
            }
            found = Some(item);
        }
        found.map(|item| &item.value)
    }

    /// Whether a setting is there, whatever it is.
    pub fn is_set(&self, key: &str) -> bool {
        self.body.items.iter().any(|item| item.name() == key)
    }

    /// Whether a setting is text, and no block or list.
    pub fn has_text(&self, key: &str) -> bool {
        let item = self.body.items.iter().rfind(|item| item.name() == key);
        item.is_some_and(|item| item.value.as_text().is_some())
    }

    /// A string. A number is read as it was written.
    pub fn string(&mut self, key: &'static str) -> Option<String> {
        self.read(key, "a string", |value| value.as_text().map(str::to_owned))
    }

    /// A boolean, also written as `"true"`, `"1"` or `1`.
    pub fn bool(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", |value| match &value.kind {
            ValueKind::Bool(value) => Some(*value),
            _ => match value.as_text()? {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => None,
            },
        })
    }

    /// A whole number, also written in quotes.
    pub fn integer(&mut self, key: &'static str) -> Option<i64> {
        self.read(key, "a whole number", |value| parse_integer(value.as_text()?))
    }

    /// A duration: seconds, or such as `"1h30m"`.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.read(key, "a duration such as \"1h30m\", or seconds", |value| {
            Ttl::parse(value.as_text()?).ok().map(|ttl| ttl.0)
        })
    }

    /// A list of strings. A single string is a list of one.
    pub fn strings(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, "a list of strings", |value| match value.as_list() {
            Some(list) => list.iter().map(|v| v.as_text().map(str::to_owned)).collect(),
            None => value.as_text().map(|text| vec![text.to_owned()]),
        })
    }

    /// An object of strings, such as `options { version = "2" }`.
    pub fn string_map(&mut self, key: &'static str) -> Option<BTreeMap<String, String>> {
        self.read(key, "an object of strings", |value| {
            let items = value.as_object()?.items.iter();
            items
                .map(|item| Some((item.name().to_owned(), item.value.as_text()?.to_owned())))
                .collect()
        })
    }

    /// Every block `key { ... }`, `key "label" { ... }` or `key = { ... }`, in order. A list of
    /// objects counts as that many blocks.
    pub fn blocks(&mut self, key: &'static str) -> Vec<Block<'b>> {
        let body = self.body;
        let mut blocks = Vec::new();
        for item in self.items(body, key) {
            let labels: Vec<&str> = item.labels().collect();
            let mut name = format!("{}{key}", self.prefix);
            for label in &labels {
                name.push('.');
                name.push_str(label);
            }
            let values = match item.value.as_list() {
                Some(list) => list,
                None => std::slice::from_ref(&item.value),
            };
            for value in values {
                match value.as_object() {
                    Some(body) => blocks.push(Block {
                        labels: labels.clone(),
                        body,
                        position: item.position(),
                        name: name.clone(),
                    }),
                    None => self.problem(value.position, key, "expected a block"),
                }
            }
        }
        blocks
    }

    /// Accepts a setting that has no effect here.
    pub fn ignore(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// Reports a problem with a setting, at its value where it has one.
    pub fn refuse(&mut self, key: &'static str, message: impl Into<String>) {
        let item = self.body.items.iter().rfind(|item| item.name() == key);
        let start = Position { line: 1, column: 1 };
        self.problem(item.map_or(start, |item| item.value.position), key, message);
    }

    /// Reports every setting that was not asked for.
    pub fn finish(self) {
        for item in &self.body.items {
            let name = item.name();
            if !self.known.contains(&name) {
                let message = match closest(name, self.known.iter().copied()) {
                    Some(known) => format!("unknown setting; did you mean {known:?}?"),
                    None => "unknown setting".to_owned(),
                };
                self.problems.add(item.position(), format!("{}{name}", self.prefix), message);
            }
        }
    }

    fn items(
        &mut self,
        body: &'b Body,
        key: &'static str,
    ) -> impl Iterator<Item = &'b Item> + use<'b> {
        self.known.push(key);
        body.items.iter().filter(move |item| item.name() == key)
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let read = read(value);
        if read.is_none() {
            self.problem(value.position, key, format!("expected {expected}"));
        }
        read
    }

    fn problem(&mut self, position: Position, key: &str, message: impl Into<String>) {
        self.problems.add(position, format!("{}{key}", self.prefix), message);
    }
}

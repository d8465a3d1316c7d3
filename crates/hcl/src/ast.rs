//! What a text says, with the place of each part.

use std::fmt;

/// A place in a text: lines and columns count from 1, columns in characters. Prints as `3:14`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The items of a file or of an object, in the order they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// The items.
    pub items: Vec<Item>,
}

/// `key = value`, `key { ... }`, or `key "label" "label" { ... }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key and the labels after it: at least one.
    pub keys: Vec<Key>,
    /// Where the `=` stands (in JSON the `:`), if there is one.
    pub assign: Option<Position>,
    /// The value.
    pub value: Value,
}

impl Item {
    /// The first key's text.
    pub fn name(&self) -> &str {
        self.keys.first().map_or("", |key| key.text.as_str())
    }

    /// Where the item starts.
    pub fn position(&self) -> Position {
        self.keys.first().map_or(self.value.position, |key| key.position)
    }

    /// The texts of the keys after the first.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().skip(1).map(|key| key.text.as_str())
    }
}

/// A key or a label, bare or quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it says, without its quotes.
    pub text: String,
    /// Where it starts.
    pub position: Position,
}

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: ValueKind,
    /// Where it starts.
    pub position: Position,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueKind {
    /// A quoted string or a heredoc, its escapes resolved; JSON's `null` is an empty one.
    String(String),
    /// A whole number as it was written: `12`, `-3`, `0644`, `0x1F`.
    Number(String),
    /// A number with a fraction or an exponent as it was written.
    Float(String),
    /// `true` or `false`
    Bool(bool),
    /// `[...]`
    List(Vec<Value>),
    /// `{...}`
    Object(Body),
}

impl Value {
    /// The number's value. `0644` is octal and `0x1F` hexadecimal, as in C.
    pub fn as_integer(&self) -> Option<i64> {
        match &self.kind {
            ValueKind::Number(text) => parse_integer(text),
            _ => None,
        }
    }

    /// The items, if the value is an object.
    pub fn as_object(&self) -> Option<&Body> {
        match &self.kind {
            ValueKind::Object(body) => Some(body),
            _ => None,
        }
    }

    /// The elements, if the value is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match &self.kind {
            ValueKind::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The string, or a whole number as it was written: HCL1 gives either where text is asked for.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            ValueKind::String(text) | ValueKind::Number(text) => Some(text),
            _ => None,
        }
    }
}

/// An integer in Go's notation with base prefixes: `0x` hexadecimal, a leading `0` octal.
pub(crate) fn parse_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) =
        if let Some(rest) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            (rest, 16)
        } else if digits.len() > 1 && digits.starts_with('0') {
            (&digits[1..], 8)
        } else {
            (digits, 10)
        };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

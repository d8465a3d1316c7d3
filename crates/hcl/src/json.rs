//! HCL's JSON form: nested objects are blocks with labels.

use crate::ast::{Body, Item, Key, Position, Value, ValueKind};
use crate::{Error, MAX_DEPTH};

/// Parses JSON whose outermost value is an object.
///
/// `{"path": {"a": {...}, "b": {...}}}` gives the items of `path "a" {...} path "b" {...}`, and a
/// list of objects the same item several times. An object of objects alone is always read so:
/// where the inner keys were meant as settings, HCL1 cannot tell.
pub(crate) fn parse(text: &str) -> Result<Body, Error> {
    let mut parser = Parser { text, offset: 0, line: 1, column: 1, depth: 0 };
    let value = parser.value()?;
    parser.skip_space();
    if parser.peek().is_some() {
        return parser.fail("unexpected text after the object");
    }
    match value.kind {
        ValueKind::Object(body) => Ok(flatten(body)),
        _ => Err(Error::at(value.position, "expected an object")),
    }
}

/// Turns nested objects into labels, at every level.
fn flatten(body: Body) -> Body {
    let mut items = Vec::with_capacity(body.items.len());
    for item in body.items {
        flatten_item(item, &mut items);
    }
    for item in &mut items {
        flatten_value(&mut item.value);
    }
    Body { items }
}

fn flatten_value(value: &mut Value) {
    match &mut value.kind {
        ValueKind::Object(body) => *body = flatten(std::mem::take(body)),
        ValueKind::List(elements) => elements.iter_mut().for_each(flatten_value),
        _ => {}
    }
}

fn flatten_item(item: Item, items: &mut Vec<Item>) {
    let is_object = |value: &Value| matches!(value.kind, ValueKind::Object(_));
    match item.value.kind {
        ValueKind::Object(body)
            if !body.items.is_empty() && body.items.iter().all(|item| is_object(&item.value)) =>
        {
            for inner in body.items {
                let keys = item.keys.iter().cloned().chain(inner.keys).collect();
                flatten_item(Item { keys, assign: item.assign, value: inner.value }, items);
            }
        }
        ValueKind::List(elements) if !elements.is_empty() && elements.iter().all(is_object) => {
            for value in elements {
                flatten_item(Item { keys: item.keys.clone(), assign: item.assign, value }, items);
            }
        }
        kind => {
            let value = Value { kind, position: item.value.position };
            items.push(Item { value, ..item });
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    offset: usize,
    line: u32,
    column: u32,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn position(&self) -> Position {
        Position { line: self.line, column: self.column }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(self.position(), message))
    }

    /// What stands here, for a message.
    fn found(&self) -> String {
        match self.text[self.offset..].chars().next() {
            Some(c) => format!("{c:?}"),
            None => "EOF".to_owned(),
        }
    }

    /// Moves over `length` bytes, which hold no line's end.
    fn advance(&mut self, length: usize) {
        let passed = &self.text[self.offset..self.offset + length];
        self.column += passed.chars().count() as u32;
        self.offset += length;
    }

    fn skip_space(&mut self) {
        while let Some(c) = self.text[self.offset..].chars().next().filter(|c| c.is_whitespace()) {
            self.offset += c.len_utf8();
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        self.skip_space();
        let position = self.position();
        let kind = match self.peek() {
            Some(b'{') => ValueKind::Object(self.nested(Self::object)?),
            Some(b'[') => ValueKind::List(self.nested(Self::list)?),
            Some(b'"') => ValueKind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Value { kind, position })
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == MAX_DEPTH {
            return self.fail(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        self.advance(1);
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Items up to the `}`. A comma may follow the last one.
    fn object(&mut self) -> Result<Body, Error> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            let position = self.position();
            match self.peek() {
                Some(b'}') => break,
                Some(b'"') => {}
                _ => return self.fail(format!("expected: STRING got: {}", self.found())),
            }
            let text = self.string()?;
            self.skip_space();
            let assign = Some(self.position());
            if self.peek() != Some(b':') {
                return self.fail(format!("expected: COLON got: {}", self.found()));
            }
            self.advance(1);
            let value = self.value()?;
            items.push(Item { keys: vec![Key { text, position }], assign, value });
            self.skip_space();
            match self.peek() {
                Some(b',') => self.advance(1),
                Some(b'}') => break,
                _ => {
                    let found = self.found();
                    return self.fail(format!("object expected closing RBRACE got: {found}"));
                }
            }
        }
        self.advance(1);
        Ok(Body { items })
    }

    /// Elements up to the `]`. A comma may follow the last one.
    fn list(&mut self) -> Result<Vec<Value>, Error> {
        let mut elements = Vec::new();
        loop {
            self.skip_space();
            if self.peek() == Some(b']') {
                break;
            }
            elements.push(self.value()?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.advance(1),
                Some(b']') => break,
                _ => {
                    let found = self.found();
                    return self.fail(format!(
                        "error parsing list, expected comma or list end, got: {found}"
                    ));
                }
            }
        }
        self.advance(1);
        Ok(elements)
    }

    fn string(&mut self) -> Result<String, Error> {
        let rest = &self.text[self.offset..];
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let Some(end) = end else { return self.fail("literal not terminated") };
        let quoted = &rest[..end + 2];
        let Ok(value) = serde_json::from_str(quoted) else { return self.fail("invalid string") };
        self.advance(quoted.len());
        Ok(value)
    }

    fn number(&mut self) -> Result<ValueKind, Error> {
        let rest = &self.text[self.offset..];
        let digit = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        let end = rest.bytes().position(|b| !digit(b)).unwrap_or(rest.len());
        let text = &rest[..end];
        if serde_json::from_str::<serde_json::Number>(text).is_err() {
            return self.fail("invalid number");
        }
        self.advance(end);
        let whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let text = text.to_owned();
        Ok(if whole { ValueKind::Number(text) } else { ValueKind::Float(text) })
    }

    fn word(&mut self) -> Result<ValueKind, Error> {
        let rest = &self.text[self.offset..];
        let (length, kind) = if rest.starts_with("true") {
            (4, ValueKind::Bool(true))
        } else if rest.starts_with("false") {
            (5, ValueKind::Bool(false))
        } else if rest.starts_with("null") {
            (4, ValueKind::String(String::new()))
        } else {
            return self
                .fail(format!("Expected object value, got unknown token: {}", self.found()));
        };
        self.advance(length);
        Ok(kind)
    }
}

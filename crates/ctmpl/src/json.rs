//! JSON, as Go's `encoding/json` writes and reads it.

use crate::error::{Exceeded, Fault};
use crate::run::{Budget, VALUE_DEPTH};
use crate::text::number::format_float;
use crate::text::{quote, rune};
use crate::value::{Key, Kind, Type};
use crate::{Value, format};

/// How JSON is laid out.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// One item a line, two spaces a level.
    pub(crate) pretty: bool,
    /// `<`, `>` and `&` by number.
    pub(crate) html: bool,
}

/// Writes a value.
pub(crate) fn write(
    budget: &mut Budget<'_>,
    value: &Value,
    style: Style,
) -> Result<Vec<u8>, Fault> {
    let mut writer = Writer { out: Vec::new(), budget, style };
    writer.value(value, 0)?;
    let length = writer.out.len();
    let out = writer.out;
    budget.allow(length)?;
    Ok(out)
}

/// Reads a text into values of no particular type: numbers are floats.
pub(crate) fn parse(budget: &mut Budget<'_>, text: &[u8]) -> Result<Value, Fault> {
    // Each value but the first is behind one of these.
    let before = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
    budget.pieces(text.iter().filter(before).count())?;
    let text = String::from_utf8_lossy(text);
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|problem| {
        // The place, but none of the text: it may be a secret.
        let (line, column) = (problem.line(), problem.column());
        Fault::new(format!("invalid JSON at line {line}, column {column}"))
    })?;
    Ok(Value::from_json(json, false))
}

struct Writer<'w, 'a> {
    out: Vec<u8>,
    budget: &'w mut Budget<'a>,
    style: Style,
}

impl Writer<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        if depth > VALUE_DEPTH {
            return Err(Exceeded::Depth.into());
        }
        if self.out.len() > self.budget.size_limit() {
            return Err(Exceeded::Output.into());
        }
        match &value.kind {
            Kind::Nil | Kind::Null(_) => self.out.extend_from_slice(b"null"),
            Kind::Bool(truth) => {
                self.out.extend_from_slice(if *truth { b"true" } else { b"false" });
            }
            Kind::Int(number, _) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Kind::Uint(number, _) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Kind::Float(number) => {
                let text = float(*number)?;
                self.out.extend_from_slice(text.as_bytes());
            }
            Kind::Text(text, Type::Number) => match text.expose().as_slice() {
                b"" => self.out.push(b'0'),
                digits if is_number(digits) => self.out.extend_from_slice(digits),
                other => {
                    let quoted = quote::quote(other);
                    return Err(Fault::new(format!("json: invalid number literal {quoted}")));
                }
            },
            Kind::Text(text, _) => self.text(text.expose()),
            Kind::Time(_) => {
                let text = format::time::rfc3339_nano(value);
                self.text(text.as_bytes());
            }
            Kind::List(list) => {
                let mut items = list.items().iter();
                self.items(depth, b"[", b"]", |writer| match items.next() {
                    Some(item) => {
                        writer.value(item, depth + 1)?;
                        Ok(true)
                    }
                    None => Ok(false),
                })?;
            }
            Kind::Map(map) => {
                if !matches!(map.key_type(), Type::String | Type::Int) {
                    return Err(unsupported(value));
                }
                let entries = map.entries();
                let mut entries = entries.iter();
                self.items(depth, b"{", b"}", |writer| match entries.next() {
                    Some((key, item)) => {
                        match key {
                            Key::Text(key) => writer.text(key),
                            key => {
                                let text = format::brief(&key.value(), 'v');
                                writer.text(text.as_bytes());
                            }
                        }
                        writer.member(item, depth)?;
                        Ok(true)
                    }
                    None => Ok(false),
                })?;
            }
            Kind::Object(object) => {
                let mut fields = object.fields().iter();
                self.items(depth, b"{", b"}", |writer| match fields.next() {
                    Some((name, item)) => {
                        writer.text(name.as_bytes());
                        writer.member(item, depth)?;
                        Ok(true)
                    }
                    None => Ok(false),
                })?;
            }
            Kind::Complex(..) | Kind::Channel(..) => return Err(unsupported(value)),
        }
        Ok(())
    }

    fn member(&mut self, item: &Value, depth: usize) -> Result<(), Fault> {
        self.out.extend_from_slice(if self.style.pretty { b": " } else { b":" });
        self.value(item, depth + 1)
    }

    /// What `next` writes, between brackets; it says whether it wrote anything.
    fn items(
        &mut self,
        depth: usize,
        open: &[u8],
        close: &[u8],
        mut next: impl FnMut(&mut Self) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        self.out.extend_from_slice(open);
        let mut any = false;
        loop {
            let before = self.out.len();
            if any {
                self.out.push(b',');
            }
            self.line(depth + 1);
            if !next(self)? {
                self.out.truncate(before);
                break;
            }
            any = true;
        }
        if any {
            self.line(depth);
        }
        self.out.extend_from_slice(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if self.style.pretty {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + depth * 2, b' ');
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for (at, character, length) in rune::runes(text) {
            let out = &mut self.out;
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\x08' => out.extend_from_slice(b"\\b"),
                '\x0c' => out.extend_from_slice(b"\\f"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '<' | '>' | '&' if !self.style.html => out.push(character as u8),
                '\0'..'\x20' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
                }
                _ if rune::is_invalid((character, length)) => out.extend_from_slice(b"\\ufffd"),
                _ => out.extend_from_slice(&text[at..at + length]),
            }
        }
        self.out.push(b'"');
    }
}

fn unsupported(value: &Value) -> Fault {
    Fault::new(format!("json: unsupported type: {}", value.type_of()))
}

/// A float as JavaScript writes it: exponents only for very small and very large ones.
pub(crate) fn float(number: f64) -> Result<String, Fault> {
    if !number.is_finite() {
        let shown = format_float(number, b'g', None);
        return Err(Fault::new(format!("json: unsupported value: {shown}")));
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format_float(number, b'e', None);
        // e-09 becomes e-9.
        return Ok(text.replace("e-0", "e-"));
    }
    Ok(format_float(number, b'f', None))
}

/// Whether text is a number of JSON.
pub(crate) fn is_number(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent =
            exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

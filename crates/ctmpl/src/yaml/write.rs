//! Writing.

use std::cmp::Ordering;

use base64::Engine as _;

use super::resolve::{is_confusing, resolve};
use super::scalar::{Allowed, allowed, escaped};
use crate::Value;
use crate::error::{Exceeded, Fault};
use crate::format::time;
use crate::run::{Budget, VALUE_DEPTH};
use crate::text::number::{format_float, parse_float, parse_signed};
use crate::text::rune;
use crate::value::{Key, Kind, Type};

/// Lines are folded behind this column, at a space.
const WIDTH: usize = 80;

/// Writes a value, without the newline at its end.
pub(crate) fn write(budget: &mut Budget<'_>, value: &Value) -> Result<Vec<u8>, Fault> {
    let mut writer = Writer { out: Vec::new(), column: 0, budget };
    let indent = if matches!(value.kind, Kind::Text(..)) { 2 } else { 0 };
    writer.value(value, indent, Place::Start, 0)?;
    let length = writer.out.len();
    let out = writer.out;
    budget.allow(length)?;
    Ok(rune::trim_space(&out).to_vec())
}

/// What stands before a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// `key:`
    Key,
    /// `- `
    Item,
}

struct Writer<'w, 'a> {
    out: Vec<u8>,
    column: usize,
    budget: &'w mut Budget<'a>,
}

impl Writer<'_, '_> {
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.column += text.chars().count();
    }

    fn line(&mut self, indent: usize) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + indent, b' ');
        self.column = indent;
    }

    /// Writes a value whose own lines begin at `indent`.
    fn value(
        &mut self,
        value: &Value,
        indent: usize,
        place: Place,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > VALUE_DEPTH {
            return Err(Exceeded::Depth.into());
        }
        if self.out.len() > self.budget.size_limit() {
            return Err(Exceeded::Output.into());
        }
        self.budget.charge(1)?;
        match &value.kind {
            Kind::List(list) if !list.items().is_empty() => {
                // A list within a map is not indented.
                let indent = if place == Place::Key { indent - 2 } else { indent };
                for (index, item) in list.items().iter().enumerate() {
                    if index > 0 || place == Place::Key {
                        self.line(indent);
                    }
                    self.put("- ");
                    self.value(item, indent + 2, Place::Item, depth + 1)?;
                }
            }
            Kind::Map(map) if !map.entries().is_empty() => {
                let entries = map.entries();
                let mut entries: Vec<(&Key, &Value)> = entries.iter().collect();
                entries.sort_by(|(left, _), (right, _)| natural(left, right));
                for (index, (key, item)) in entries.into_iter().enumerate() {
                    if index > 0 || place == Place::Key {
                        self.line(indent);
                    }
                    self.member(&key.value(), item, indent, depth)?;
                }
            }
            Kind::Object(object) => {
                for (index, (name, item)) in object.fields().iter().enumerate() {
                    if index > 0 || place == Place::Key {
                        self.line(indent);
                    }
                    let name = Value::text(name.to_lowercase());
                    self.member(&name, item, indent, depth)?;
                }
            }
            _ => {
                if place == Place::Key {
                    self.put(" ");
                }
                self.scalar(value, indent, false)?;
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        key: &Value,
        item: &Value,
        indent: usize,
        depth: usize,
    ) -> Result<(), Fault> {
        /// Longer keys are marked as keys.
        const SIMPLE: usize = 128;
        let bytes = key.bytes();
        if bytes.len() > SIMPLE || bytes.contains(&b'\n') {
            self.put("? ");
            self.scalar(key, indent + 2, false)?;
            self.line(indent);
        } else {
            self.scalar(key, indent, true)?;
        }
        self.put(":");
        self.value(item, indent + 2, Place::Key, depth + 1)
    }

    fn scalar(&mut self, value: &Value, indent: usize, key: bool) -> Result<(), Fault> {
        match &value.kind {
            Kind::Nil | Kind::Null(_) => self.put("null"),
            Kind::Bool(truth) => self.put(if *truth { "true" } else { "false" }),
            Kind::Int(nanoseconds, Type::Duration) => self.put(&time::duration(*nanoseconds)),
            Kind::Int(number, _) => self.put(&number.to_string()),
            Kind::Uint(number, _) => self.put(&number.to_string()),
            Kind::Float(number) => self.put(&float(*number)),
            Kind::Text(text, Type::Number) => {
                let text = text.expose();
                match (parse_signed(text, 10), parse_float(text)) {
                    (Ok(number), _) => self.put(&number.to_string()),
                    (_, Ok(number)) => self.put(&float(number)),
                    _ => self.text(text, indent, key),
                }
            }
            Kind::Text(text, _) => self.text(text.expose(), indent, key),
            Kind::Time(_) => self.put(&time::rfc3339_nano(value)),
            Kind::List(_) => self.put("[]"),
            Kind::Map(_) => self.put("{}"),
            _ => {
                let kind = value.type_of();
                return Err(Fault::new(format!("cannot marshal type: {kind}")));
            }
        }
        Ok(())
    }

    fn text(&mut self, bytes: &[u8], indent: usize, key: bool) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.put("!!binary ");
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            if encoded.len() < 70 {
                return self.put(&encoded);
            }
            let lines: Vec<&str> = encoded
                .as_bytes()
                .chunks(70)
                .map(|line| std::str::from_utf8(line).unwrap_or_default())
                .collect();
            return self.block(&format!("{}\n", lines.join("\n")), indent);
        };
        let plain = resolve(text).is_none() && !is_confusing(text) && text != "<<";
        let Allowed { plain: as_plain, single, block } = allowed(text);
        if text.contains('\n') {
            if block && !key {
                return self.block(text, indent);
            }
            return self.double(text, indent, key);
        }
        match (plain, as_plain, single) {
            (true, true, _) => self.folded(text, indent, key),
            (true, false, true) => {
                self.put("'");
                self.folded(&text.replace('\'', "''"), indent, key);
                self.put("'");
            }
            _ => self.double(text, indent, key),
        }
    }

    /// Text as it is, folded at single spaces.
    fn folded(&mut self, text: &str, indent: usize, key: bool) {
        let mut characters = text.chars().peekable();
        let (mut first, mut spaces) = (true, false);
        while let Some(character) = characters.next() {
            let ends = characters.peek().is_none_or(|next| *next == ' ');
            if character == ' ' && !key && !spaces && !first && self.column > WIDTH && !ends {
                self.line(indent);
            } else {
                self.put(character.encode_utf8(&mut [0; 4]));
            }
            spaces = character == ' ';
            first = false;
        }
    }

    fn double(&mut self, text: &str, indent: usize, key: bool) {
        self.put("\"");
        let pieces = escaped(text);
        let mut spaces = false;
        for (index, piece) in pieces.iter().enumerate() {
            let inside = index > 0 && index + 1 < pieces.len();
            if piece == " " && !key && !spaces && self.column > WIDTH && inside {
                self.line(indent);
                if pieces[index + 1] == " " {
                    self.put("\\");
                }
                spaces = true;
            } else {
                spaces = piece == " ";
                self.put(piece);
            }
        }
        self.put("\"");
    }

    fn block(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put("2");
        }
        if !text.ends_with('\n') {
            self.put("-");
        } else if text.ends_with("\n\n") || text == "\n" {
            self.put("+");
        }
        let indent = indent.max(2);
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            if line.is_empty() {
                self.out.push(b'\n');
                self.column = 0;
            } else {
                self.line(indent);
                self.put(line);
            }
        }
    }
}

fn float(number: f64) -> String {
    match number {
        _ if number.is_nan() => ".nan".to_owned(),
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        _ => format_float(number, b'g', None),
    }
}

/// The library's order of keys: numbers within text by their value, other characters before
/// letters.
fn natural(left: &Key, right: &Key) -> Ordering {
    let (Key::Text(left), Key::Text(right)) = (left, right) else {
        // Truth values are 0 and 1, and stand before numbers; text comes last.
        let order = |key: &Key| match key {
            Key::Bool(value) => (0, f64::from(u8::from(*value)), 0),
            #[expect(clippy::cast_precision_loss, reason = "only for their order")]
            Key::Int(value) => (0, *value as f64, 1),
            Key::Float(value) => (0, *value, 2),
            Key::Text(_) => (1, 0.0, 3),
        };
        let (left, right) = (order(left), order(right));
        return left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)).then(left.2.cmp(&right.2));
    };
    let left: Vec<char> = rune::runes(left).map(|(_, character, _)| character).collect();
    let right: Vec<char> = rune::runes(right).map(|(_, character, _)| character).collect();
    let Some(at) = left.iter().zip(&right).position(|(left, right)| left != right) else {
        return left.len().cmp(&right.len());
    };
    let letters = (rune::is_letter(left[at]), rune::is_letter(right[at]));
    match letters {
        (true, true) => return left[at].cmp(&right[at]),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        _ => {}
    }
    let start = if left[at] == '0' || right[at] == '0' {
        // Zeros count if other digits stand before them.
        let before = left[..at].iter().rev().take_while(|digit| digit.is_ascii_digit());
        i64::from(before.into_iter().any(|digit| *digit != '0'))
    } else {
        0
    };
    let number = |text: &[char]| {
        let digits = text[at..].iter().take_while(|character| character.is_ascii_digit());
        digits.fold((start, 0_usize), |(value, count), digit| {
            let digit = i64::from(u32::from(*digit) - u32::from('0'));
            (value.wrapping_mul(10).wrapping_add(digit), count + 1)
        })
    };
    number(&left).cmp(&number(&right)).then(left[at].cmp(&right[at]))
}

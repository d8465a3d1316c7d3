//! TOML, laid out as consul-template's encoder does: plain keys first, tables after them, sorted
//! and indented.

use crate::Value;
use crate::error::{Exceeded, Fault};
use crate::run::{Budget, VALUE_DEPTH};
use crate::text::number::{format_float, parse_float, parse_signed};
use crate::text::rune;
use crate::value::{Key, Kind, Map, Type};

/// Writes a map, or a single value as it stands behind a key.
pub(crate) fn write(budget: &mut Budget<'_>, value: &Value) -> Result<Vec<u8>, Fault> {
    let mut writer = Writer { out: Vec::new(), budget };
    match &value.kind {
        Kind::Map(map) => writer.table(map, &[])?,
        Kind::Nil => {
            return Err(Fault::new("reflect: call of reflect.Value.Type on zero Value"));
        }
        _ if is_table_list(value) => {
            return Err(Fault::new("toTOML: toml: top-level values must be Go maps or structs"));
        }
        _ => writer.element(value, 0)?,
    }
    let length = writer.out.len();
    let out = writer.out;
    budget.allow(length)?;
    Ok(rune::trim_space(&out).to_vec())
}

struct Writer<'w, 'a> {
    out: Vec<u8>,
    budget: &'w mut Budget<'a>,
}

impl Writer<'_, '_> {
    fn line(&mut self) {
        if !self.out.is_empty() {
            self.out.push(b'\n');
        }
    }

    fn indent(&mut self, path: &[Vec<u8>]) {
        let width = path.len().saturating_sub(1) * 2;
        self.out.resize(self.out.len() + width, b' ');
    }

    fn check(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > VALUE_DEPTH {
            return Err(Exceeded::Depth.into());
        }
        if self.out.len() > self.budget.size_limit() {
            return Err(Exceeded::Output.into());
        }
        Ok(self.budget.charge(1)?)
    }

    /// The keys of a map, then its tables.
    fn table(&mut self, map: &Map, path: &[Vec<u8>]) -> Result<(), Fault> {
        self.check(path.len())?;
        let mut tables = Vec::new();
        for (key, value) in map.entries().iter() {
            let Key::Text(key) = key else {
                return Err(Fault::new(
                    "toTOML: toml: cannot encode a map with non-string key type",
                ));
            };
            let mut path = path.to_vec();
            path.push(quoted_key(key));
            if is_table(value) || is_table_list(value) {
                tables.push((path, value.clone()));
            } else if !matches!(value.kind, Kind::Nil | Kind::Null(_)) {
                self.indent(&path);
                self.out.extend_from_slice(path.last().map_or(&[], Vec::as_slice));
                self.out.extend_from_slice(b" = ");
                self.element(value, path.len())?;
                self.line();
            }
        }
        for (path, value) in tables {
            match &value.kind {
                Kind::Map(map) => {
                    if path.len() == 1 {
                        self.line();
                    }
                    self.header(&path, b"[", b"]");
                    self.table(map, &path)?;
                }
                Kind::List(list) => {
                    for item in list.items() {
                        if let Kind::Map(map) = &item.kind {
                            self.line();
                            self.header(&path, b"[[", b"]]");
                            self.table(map, &path)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn header(&mut self, path: &[Vec<u8>], open: &[u8], close: &[u8]) {
        self.indent(path);
        self.out.extend_from_slice(open);
        self.out.extend_from_slice(&path.join(&b'.'));
        self.out.extend_from_slice(close);
        self.line();
    }

    fn element(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        self.check(depth)?;
        match &value.kind {
            Kind::Bool(truth) => self.out.extend_from_slice(truth.to_string().as_bytes()),
            Kind::Int(number, Type::Duration) => {
                let text = crate::format::time::duration(*number);
                self.text(text.as_bytes());
            }
            Kind::Int(number, _) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Kind::Uint(number, _) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Kind::Float(number) => self.float(*number),
            Kind::Text(text, Type::Number) => match parse_signed(text.expose(), 10) {
                Ok(number) => self.out.extend_from_slice(number.to_string().as_bytes()),
                Err(_) => match parse_float(text.expose()) {
                    Ok(number) => self.float(number),
                    Err(_) => return Err(Fault::new("toTOML: unable to convert a number")),
                },
            },
            Kind::Text(text, _) => self.text(text.expose()),
            Kind::Time(_) => {
                self.out.extend_from_slice(crate::format::time::rfc3339_nano(value).as_bytes());
            }
            Kind::List(list) => {
                self.out.push(b'[');
                for (index, item) in list.items().iter().enumerate() {
                    if matches!(item.kind, Kind::Nil | Kind::Null(_)) {
                        return Err(Fault::new(
                            "toTOML: toml: cannot encode array with nil element",
                        ));
                    }
                    if index > 0 {
                        self.out.extend_from_slice(b", ");
                    }
                    self.element(item, depth + 1)?;
                }
                self.out.push(b']');
            }
            Kind::Map(map) => {
                self.out.push(b'{');
                let mut any = false;
                for (key, item) in map.entries().iter() {
                    let Key::Text(key) = key else { continue };
                    if matches!(item.kind, Kind::Nil | Kind::Null(_)) {
                        continue;
                    }
                    if any {
                        self.out.extend_from_slice(b", ");
                    }
                    any = true;
                    self.out.extend_from_slice(&quoted_key(key));
                    self.out.extend_from_slice(b" = ");
                    self.element(item, depth + 1)?;
                }
                self.out.push(b'}');
            }
            _ => {
                let kind = value.type_of();
                return Err(Fault::new(format!("toTOML: unsupported type: {kind}")));
            }
        }
        Ok(())
    }

    fn float(&mut self, number: f64) {
        let text = if number.is_nan() {
            "nan".to_owned()
        } else if number.is_infinite() {
            if number > 0.0 { "+inf" } else { "-inf" }.to_owned()
        } else {
            let text = format_float(number, b'f', None);
            if text.contains('.') { text } else { format!("{text}.0") }
        };
        self.out.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.out.extend_from_slice(&quoted(text));
    }
}

fn is_table(value: &Value) -> bool {
    matches!(value.kind, Kind::Map(_))
}

fn is_table_list(value: &Value) -> bool {
    match &value.kind {
        Kind::List(list) => !list.items().is_empty() && list.items().iter().all(is_table),
        _ => false,
    }
}

fn quoted_key(key: &[u8]) -> Vec<u8> {
    let bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.iter().all(bare) { key.to_vec() } else { quoted(key) }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\x08' => out.extend_from_slice(b"\\b"),
            b'\x0c' => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

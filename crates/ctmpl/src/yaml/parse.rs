//! Reading.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::resolve::resolve;
use crate::Value;
use crate::error::{Exceeded, Fault};
use crate::run::{Budget, VALUE_DEPTH};
use crate::value::{Entries, Key, Kind, Map, Type};

/// Reads the first document of a text.
pub(crate) fn parse(budget: &mut Budget<'_>, text: &[u8]) -> Result<Value, Fault> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Fault::new("yaml: control characters are not allowed"))?;
    // The scanner goes down a level for each of these without asking.
    if nesting(text) > VALUE_DEPTH {
        return Err(Exceeded::Depth.into());
    }
    let length = text.chars().count();
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), done: None };
    for event in Parser::new_from_str(text) {
        budget.charge(1)?;
        let (mut event, span) = event.map_err(|problem| {
            // The place, but none of the text: it may be a secret.
            let line = problem.marker().line();
            Fault::new(format!("yaml: line {line}: not YAML"))
        })?;
        if let Event::Scalar(scalar, ScalarStyle::Literal | ScalarStyle::Folded, ..) = &mut event
            && !text.ends_with('\n')
            && span.end.index() >= length
            && let Some(shorter) = scalar.strip_suffix('\n')
        {
            // The text's last line has no newline to give.
            *scalar = shorter.to_owned().into();
        }
        if !builder.event(budget, event)? {
            break;
        }
    }
    Ok(builder.done.unwrap_or(Value::NIL))
}

/// At most how deep the text's collections are nested: brackets, and the markers of blocks, which
/// deepen by a column each.
fn nesting(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for line in text.lines() {
        let markers = line.bytes().take_while(|byte| matches!(byte, b' ' | b'-' | b'?' | b':'));
        deepest = deepest.max(markers.filter(|byte| *byte != b' ').count());
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(open);
        }
    }
    deepest
}

/// A collection that is not closed yet, and its anchor.
enum Open {
    List(Vec<Value>, usize),
    Map { entries: Entries, key: Option<Value>, merges: Vec<Value>, anchor: usize },
}

struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    done: Option<Value>,
}

impl Builder {
    /// Takes an event; false at the end of the document.
    fn event(&mut self, budget: &mut Budget<'_>, event: Event<'_>) -> Result<bool, Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                let value = scalar(&text, style, tag.as_deref())?;
                self.value(budget, value, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.open.push(Open::List(Vec::new(), anchor)),
            Event::MappingStart(anchor, _) => self.open.push(Open::Map {
                entries: Entries::new(),
                key: None,
                merges: Vec::new(),
                anchor,
            }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items, anchor)) => {
                    self.value(budget, Value::list(items), anchor)?;
                }
                Some(Open::Map { mut entries, merges, anchor, .. }) => {
                    for merged in merges {
                        merge(&mut entries, &merged);
                    }
                    let map = Map::shared(Type::Any, Type::Any, entries);
                    self.value(budget, Kind::Map(Arc::new(map)).into(), anchor)?;
                }
                None => {}
            },
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or_else(|| Fault::new("yaml: unknown anchor referenced"))?;
                self.value(budget, value, 0)?;
            }
            Event::DocumentEnd => return Ok(false),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        if self.open.len() > VALUE_DEPTH {
            return Err(Exceeded::Depth.into());
        }
        Ok(true)
    }

    fn value(&mut self, budget: &mut Budget<'_>, value: Value, anchor: usize) -> Result<(), Fault> {
        budget.pieces(1)?;
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some(Open::List(items, _)) => items.push(value),
            Some(Open::Map { entries, key, merges, .. }) => match key.take() {
                None => *key = Some(value),
                Some(key) if key.as_bytes() == Some(b"<<") => merges.push(value),
                Some(key) => {
                    let key = Key::of(&key).ok_or_else(|| {
                        Fault::new(format!("yaml: invalid map key of type {}", key.type_of()))
                    })?;
                    if entries.insert(key, value).is_some() {
                        return Err(Fault::new("yaml: a key of a map stands twice"));
                    }
                }
            },
        }
        Ok(())
    }
}

/// `<<`: what a map has not itself it takes from another.
fn merge(entries: &mut Entries, from: &Value) {
    match &from.kind {
        Kind::Map(map) => {
            for (key, value) in map.entries().iter() {
                entries.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        Kind::List(list) => list.items().iter().for_each(|item| merge(entries, item)),
        _ => {}
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Result<Value, Fault> {
    match tag {
        Some("tag:yaml.org,2002:binary") => {
            use base64::Engine as _;
            let compact: String = text.split_whitespace().collect();
            let decoded = base64::engine::general_purpose::STANDARD.decode(compact);
            decoded
                .map(Value::text)
                .map_err(|_| Fault::new("yaml: !!binary value contains invalid base64 data"))
        }
        Some("tag:yaml.org,2002:str") => Ok(Value::text(text)),
        None if style == ScalarStyle::Plain => {
            Ok(resolve(text).unwrap_or_else(|| Value::text(text)))
        }
        Some("tag:yaml.org,2002:float") => Ok(match resolve(text) {
            #[expect(clippy::cast_precision_loss, reason = "the tag says so")]
            Some(Value { kind: Kind::Int(value, _), .. }) => Value::float(value as f64),
            Some(value) => value,
            None => Value::text(text),
        }),
        Some(_) if style == ScalarStyle::Plain => {
            Ok(resolve(text).unwrap_or_else(|| Value::text(text)))
        }
        _ => Ok(Value::text(text)),
    }
}

//! YAML with the line of everything, read strictly: no anchors, no tags, no key twice.

use std::collections::HashSet;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Collections are nested at most this deep.
const DEPTH: usize = 64;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A text; whether it was written without quotes.
    Scalar(String, bool),
    List(Vec<Node>),
    /// Keys in their order, each with its line.
    Map(Vec<(String, usize, Node)>),
}

/// A line and what is wrong there.
pub(super) type Fault = (usize, String);

impl Node {
    /// Whether nothing is said: an empty plain value, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null"))
    }
}

enum Open {
    List(usize, Vec<Node>),
    Map(Mapping),
}

struct Mapping {
    line: usize,
    fields: Vec<(String, usize, Node)>,
    /// The keys so far: a long mapping is not searched for each of them.
    known: HashSet<String>,
    key: Option<(String, usize)>,
}

/// The documents of a text; empty ones are left out.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Fault> {
    // The scanner goes down a level for each of these without asking.
    if nesting(text) > DEPTH {
        return Err((0, format!("nested deeper than {DEPTH} levels")));
    }
    let mut done = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|problem| (problem.marker().line(), "not YAML".to_owned()))?;
        let line = span.start.line();
        let refused = |what: &str| Err((line, format!("{what} are not read here")));
        let node = match event {
            Event::Scalar(_, _, _, Some(_)) => return refused("tags"),
            Event::Alias(_) => return refused("aliases"),
            Event::Scalar(text, style, _, None) => {
                let content = Content::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                Node { line, content }
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(line, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                let (fields, known) = (Vec::new(), HashSet::new());
                open.push(Open::Map(Mapping { line, fields, known, key: None }));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(line, items)) => Node { line, content: Content::List(items) },
                Some(Open::Map(Mapping { line, fields, .. })) => {
                    Node { line, content: Content::Map(fields) }
                }
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None if node.is_null() => {}
            None => done.push(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(map)) => match (map.key.take(), node.content) {
                (Some((name, at)), content) => {
                    map.fields.push((name, at, Node { line: node.line, content }));
                }
                (None, Content::Scalar(name, _)) => {
                    if !map.known.insert(name.clone()) {
                        return Err((node.line, format!("key {name:?} stands here twice")));
                    }
                    map.key = Some((name, node.line));
                }
                (None, _) => return Err((node.line, "a key must be a text".to_owned())),
            },
        }
        if open.len() > DEPTH {
            return Err((line, format!("nested deeper than {DEPTH} levels")));
        }
    }
    Ok(done)
}

/// At most how deep the collections are nested: brackets, and the markers of blocks on a line.
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

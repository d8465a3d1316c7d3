//! Keeps secrets out of messages.

use crate::value::Kind;
use crate::{Value, format};

/// What stands for a secret.
const REDACTED: &str = "[redacted]";

/// A value as Go's `%v` shows it, unless it came from a secret.
pub(crate) fn shown(value: &Value) -> String {
    shown_as(value, 'v')
}

/// The same by another verb.
pub(crate) fn shown_as(value: &Value, verb: char) -> String {
    if is_secret(value, 0) { REDACTED.to_owned() } else { format::brief(value, verb) }
}

/// `message` without the text of those arguments that came from secrets.
pub(crate) fn message(message: &str, arguments: &[Value]) -> String {
    let mut texts = Vec::new();
    for argument in arguments {
        gather(argument, &mut texts, 0);
    }
    // The longest first: one secret can be part of another.
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let found = texts.iter().find(|text| rest.starts_with(*text) && stands(&out, rest, text));
        match found {
            Some(text) => {
                out.push_str(REDACTED);
                rest = &rest[text.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// Whether a text at the start of `rest` is to be taken for the secret: a short one only within
/// quotes or brackets or as all of the message, for else every `a` of a message would be one.
fn stands(before: &str, rest: &str, text: &str) -> bool {
    const SHORT: usize = 4;
    let edge = |character: char| character.is_ascii_punctuation();
    let behind = &rest[text.len()..];
    text.len() >= SHORT
        || ((before.is_empty() || before.ends_with(edge))
            && (behind.is_empty() || behind.starts_with(edge)))
}

/// How deep values are looked into for a message.
const DEPTH: usize = 20;

fn is_secret(value: &Value, depth: usize) -> bool {
    if !value.origins.is_empty() || depth > DEPTH {
        return true;
    }
    match &value.kind {
        Kind::List(list) => list.items().iter().any(|item| is_secret(item, depth + 1)),
        Kind::Map(map) => map.entries().values().any(|item| is_secret(item, depth + 1)),
        Kind::Object(_) => true,
        _ => false,
    }
}

/// The texts that a message could show of a secret: as they are, and as `%q` writes them.
fn gather(value: &Value, texts: &mut Vec<String>, depth: usize) {
    if depth > DEPTH || texts.len() > 10_000 {
        return;
    }
    match &value.kind {
        Kind::List(list) => list.items().iter().for_each(|item| gather(item, texts, depth + 1)),
        Kind::Map(map) => {
            map.entries().values().for_each(|item| gather(item, texts, depth + 1));
        }
        Kind::Object(object) => {
            object.fields().iter().for_each(|(_, item)| gather(item, texts, depth + 1));
        }
        _ if value.origins.is_empty() => {}
        _ => {
            let text = format::brief(value, 'v');
            let quoted = crate::text::quote::quote(text.as_bytes());
            let quoted = quoted[1..quoted.len() - 1].to_owned();
            texts.extend((!text.is_empty() && quoted != text).then_some(quoted));
            texts.extend((!text.is_empty()).then_some(text));
        }
    }
}

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
    let mut message = message.to_owned();
    for text in texts {
        message = message.replace(&text, REDACTED);
    }
    message
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

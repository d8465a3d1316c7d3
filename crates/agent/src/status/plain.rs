//! What an agent says, as it can be shown: whoever answers on a socket may not be who he says, and a
//! terminal obeys what is printed on it.

use serde_json::Value;

use super::Status;

/// Reads a status. Its texts are of one line, and without characters that a terminal obeys.
pub(super) fn parse(text: &[u8]) -> Option<Status> {
    let mut value = serde_json::from_slice(text).ok()?;
    clean(&mut value);
    serde_json::from_value(value).ok()
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(is_obeyed) => {
            *text = text.chars().map(shown).collect();
        }
        Value::Array(list) => list.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        _ => {}
    }
}

/// Control characters, and those that change the direction of what is around them.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

fn shown(c: char) -> char {
    match c {
        '\n' | '\t' => ' ',
        c if is_obeyed(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let mut value =
            serde_json::json!({ "a": ["one\n\u{1b}[2Jtwo"], "b": "\u{9b}x\u{202e}y", "c": 1 });
        clean(&mut value);
        let want =
            serde_json::json!({ "a": ["one \u{fffd}[2Jtwo"], "b": "\u{fffd}x\u{fffd}y", "c": 1 });
        assert_eq!(value, want);
        assert_eq!(parse(b"{}"), None);
    }
}

//! Escapes for HTML, JavaScript, URLs, and the shell.

use super::Function;
use super::Parameter::{Any, Text};
use crate::error::Fault;
use crate::run::Run;
use crate::text::rune;
use crate::{Value, format};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("html", &[], |run, arguments| escaped(run, arguments, html)).rest(Any),
    Function::derives("js", &[], |run, arguments| escaped(run, arguments, javascript)).rest(Any),
    Function::derives("urlquery", &[], |run, arguments| escaped(run, arguments, url)).rest(Any),
    Function::derives("shquote", &[Text], |_, arguments| shell(arguments[0].bytes())),
];

fn escaped(
    run: &mut Run<'_>,
    arguments: &[Value],
    escape: fn(&[u8]) -> Vec<u8>,
) -> Result<Value, Fault> {
    let text = match arguments {
        [only] if only.as_bytes().is_some() => only.clone(),
        _ => {
            // Go shows nil here as actions do, not as `print` does.
            let shown: Vec<Value> = arguments
                .iter()
                .map(|value| if value.is_nil() { Value::text("<no value>") } else { value.clone() })
                .collect();
            format::print(&mut run.budget, &shown)?
        }
    };
    Ok(Value::text(escape(text.bytes())))
}

/// `text` for HTML: `"`, `'`, `&`, `<`, `>` by name or number, NUL as U+FFFD.
pub(super) fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'\0' => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            _ => out.push(byte),
        }
    }
    out
}

fn javascript(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (at, character, length) in rune::runes(text) {
        match character {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\'' => out.extend_from_slice(b"\\'"),
            '"' => out.extend_from_slice(b"\\\""),
            '<' | '>' | '&' | '=' | '\0'..'\x20' => {
                out.extend_from_slice(format!("\\u{:04X}", u32::from(character)).as_bytes());
            }
            _ if character.is_ascii() || rune::is_print(character) => {
                out.extend_from_slice(&text[at..at + length]);
            }
            _ => out.extend_from_slice(format!("\\u{:04X}", u32::from(character)).as_bytes()),
        }
    }
    out
}

/// `text` for a query: all but letters, digits and `-_.~` as `%XX`, a space as `+`.
pub(super) fn url(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

/// `text` as one word of a POSIX shell: within single quotes, where nothing is expanded.
fn shell(text: &[u8]) -> Result<Value, Fault> {
    if text.contains(&0) {
        return Err(Fault::new("shquote: a shell's word cannot hold NUL"));
    }
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'\'');
    for &byte in text {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            _ => out.push(byte),
        }
    }
    out.push(b'\'');
    Ok(Value::text(out))
}

//! Text.

use std::sync::Arc;

use super::convert::text;
use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::{Any, Int, Text};
use crate::functions::text::{contains, replace, split};
use crate::run::Run;
use crate::text::{quote, rune};
use crate::value::{Entries, Key, Kind, Map, Type};
use crate::{Value, format};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_abbrev", &[Int, Text], |_, arguments| {
        let text = arguments[1].bytes();
        Ok(Value::text(match arguments[0].integer() {
            ..4 => text.to_vec(),
            width => abbreviate(text, 0, length(width)),
        }))
    }),
    Function::derives("sprig_abbrevboth", &[Int, Int, Text], |_, arguments| {
        let (left, right) = (arguments[0].integer(), arguments[1].integer());
        let text = arguments[2].bytes();
        Ok(Value::text(if right < 4 || (left > 0 && right < 7) {
            text.to_vec()
        } else {
            abbreviate(text, length(left), length(right))
        }))
    }),
    Function::derives("sprig_trunc", &[Int, Text], |_, arguments| {
        let (count, text) = (arguments[0].integer(), arguments[1].bytes());
        let size = length(count.saturating_abs());
        Ok(Value::text(match count {
            ..0 if size < text.len() => &text[text.len() - size..],
            0.. if size < text.len() => &text[..size],
            _ => text,
        }))
    }),
    Function::derives("sprig_trim", &[Text], |_, arguments| {
        Ok(Value::text(rune::trim_space(arguments[0].bytes())))
    }),
    Function::derives("sprig_upper", &[Text], |_, arguments| {
        Ok(Value::text(rune::map(arguments[0].bytes(), rune::upper)))
    }),
    Function::derives("sprig_lower", &[Text], |_, arguments| {
        Ok(Value::text(rune::map(arguments[0].bytes(), rune::lower)))
    }),
    Function::derives("sprig_title", &[Text], |_, arguments| {
        Ok(words(&arguments[0], rune::is_alphanumeric, rune::upper))
    }),
    Function::derives("sprig_untitle", &[Text], |_, arguments| {
        Ok(words(&arguments[0], |character| !character.is_whitespace(), rune::lower))
    }),
    Function::derives("sprig_swapcase", &[Text], |_, arguments| {
        Ok(Value::text(rune::map(arguments[0].bytes(), |character| {
            if character.is_uppercase() { rune::lower(character) } else { rune::upper(character) }
        })))
    }),
    Function::derives("sprig_substr", &[Int, Int, Text], |_, arguments| {
        let (start, end) = (arguments[0].integer(), arguments[1].integer());
        let text = arguments[2].bytes();
        let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
        let range = match (start, end) {
            (..0, end) if end < 0 => Err(format!("[:{end}]")),
            (..0, end) if end > size => Err(format!("[:{end}] with length {size}")),
            (..0, end) => Ok((0, end)),
            (start, end) if end < 0 || end > size => Ok((start, size)),
            range => Ok(range),
        };
        range
            .and_then(|(start, end)| {
                let part = text.get(length(start)..length(end));
                part.map(Value::text).ok_or_else(|| format!("[{start}:{end}]"))
            })
            .map_err(|bounds| {
                Fault::new(format!("runtime error: slice bounds out of range {bounds}"))
            })
    }),
    Function::derives("sprig_repeat", &[Int, Text], |run, arguments| {
        let text = arguments[1].bytes();
        let count = usize::try_from(arguments[0].integer())
            .map_err(|_| Fault::new("strings: negative Repeat count"))?;
        run.budget.allow(text.len().saturating_mul(count))?;
        Ok(Value::text(if text.is_empty() { Vec::new() } else { text.repeat(count) }))
    }),
    Function::derives("sprig_trimall", &[Text, Text], |_, arguments| Ok(trim_all(arguments))),
    Function::derives("sprig_trimAll", &[Text, Text], |_, arguments| Ok(trim_all(arguments))),
    Function::derives("sprig_trimSuffix", &[Text, Text], |_, arguments| {
        let text = arguments[1].bytes();
        Ok(Value::text(text.strip_suffix(arguments[0].bytes()).unwrap_or(text)))
    }),
    Function::derives("sprig_trimPrefix", &[Text, Text], |_, arguments| {
        let text = arguments[1].bytes();
        Ok(Value::text(text.strip_prefix(arguments[0].bytes()).unwrap_or(text)))
    }),
    Function::derives("sprig_nospace", &[Text], |_, arguments| {
        let mut out = Vec::new();
        for (_, character, _) in rune::runes(arguments[0].bytes()) {
            if !character.is_whitespace() {
                rune::push(&mut out, character);
            }
        }
        Ok(Value::text(out))
    }),
    Function::derives("sprig_initials", &[Text], |_, arguments| {
        let (mut out, mut gap) = (Vec::new(), true);
        for (_, character, _) in rune::runes(arguments[0].bytes()) {
            if gap && !character.is_whitespace() {
                rune::push(&mut out, character);
            }
            gap = character.is_whitespace();
        }
        Ok(Value::text(out))
    }),
    Function::derives("sprig_snakecase", &[Text], |_, arguments| {
        Ok(Value::text(parts(&arguments[0].lossy()).join("_").to_lowercase()))
    }),
    Function::derives("sprig_kebabcase", &[Text], |_, arguments| {
        Ok(Value::text(parts(&arguments[0].lossy()).join("-").to_lowercase()))
    }),
    Function::derives("sprig_camelcase", &[Text], |_, arguments| {
        Ok(Value::text(pascal(&arguments[0].lossy())))
    }),
    Function::derives("sprig_wrap", &[Int, Text], |run, arguments| {
        let (width, text) = (arguments[0].integer(), arguments[1].bytes());
        wrap(run, text, width, b"\n", false)
    }),
    Function::derives("sprig_wrapWith", &[Int, Text, Text], |run, arguments| {
        let (width, text) = (arguments[0].integer(), arguments[2].bytes());
        let separator = match arguments[1].bytes() {
            b"" => b"\n",
            other => other,
        };
        wrap(run, text, width, separator, true)
    }),
    Function::derives("sprig_contains", &[Text, Text], |_, arguments| {
        Ok(Value::bool(contains(arguments[1].bytes(), arguments[0].bytes())))
    }),
    Function::derives("sprig_hasPrefix", &[Text, Text], |_, arguments| {
        Ok(Value::bool(arguments[1].bytes().starts_with(arguments[0].bytes())))
    }),
    Function::derives("sprig_hasSuffix", &[Text, Text], |_, arguments| {
        Ok(Value::bool(arguments[1].bytes().ends_with(arguments[0].bytes())))
    }),
    Function::derives("sprig_quote", &[], |run, arguments| {
        joined(run, arguments, |text| quote::quote(text).into_bytes())
    })
    .rest(Any),
    Function::derives("sprig_squote", &[], |run, arguments| {
        joined(run, arguments, |text| [b"'", text, b"'"].concat())
    })
    .rest(Any),
    Function::derives("sprig_cat", &[], |run, arguments| joined(run, arguments, <[u8]>::to_vec))
        .rest(Any),
    Function::derives("sprig_indent", &[Int, Text], |run, arguments| {
        Ok(Value::text(indented(run, arguments)?))
    }),
    Function::derives("sprig_nindent", &[Int, Text], |run, arguments| {
        let mut out = indented(run, arguments)?;
        out.insert(0, b'\n');
        Ok(Value::text(out))
    }),
    Function::derives("sprig_replace", &[Text, Text, Text], |run, arguments| {
        let [from, to, text] = [0, 1, 2].map(|index| arguments[index].bytes());
        Ok(Value::text(replace(run, text, from, to, usize::MAX)?))
    }),
    Function::passes("sprig_plural", &[Text, Text, Int], |_, arguments| {
        Ok(arguments[usize::from(arguments[2].integer() != 1)].clone())
    }),
    Function::derives("sprig_split", &[Text, Text], |run, arguments| {
        run.budget.allow(arguments[1].bytes().len() * 8)?;
        let parts = split(run, arguments[1].bytes(), arguments[0].bytes(), usize::MAX)?;
        Ok(numbered(parts))
    }),
    Function::derives("sprig_splitn", &[Text, Int, Text], |run, arguments| {
        run.budget.allow(arguments[2].bytes().len() * 8)?;
        let most = usize::try_from(arguments[1].integer()).unwrap_or(usize::MAX);
        Ok(numbered(match most {
            0 => Vec::new(),
            most => split(run, arguments[2].bytes(), arguments[0].bytes(), most)?,
        }))
    }),
    Function::derives("sprig_splitList", &[Text, Text], |run, arguments| {
        run.budget.allow(arguments[1].bytes().len() * 8)?;
        Ok(Value::texts(split(run, arguments[1].bytes(), arguments[0].bytes(), usize::MAX)?))
    }),
];

fn length(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

fn trim_all(arguments: &[Value]) -> Value {
    let set = arguments[0].lossy();
    Value::text(rune::trim(arguments[1].bytes(), |character| set.contains(character)))
}

/// `text` cut to `width` bytes, dots included, from about `offset`.
fn abbreviate(text: &[u8], offset: usize, width: usize) -> Vec<u8> {
    if text.len() <= width {
        return text.to_vec();
    }
    let kept = width - 3;
    let offset = offset.min(text.len()).min(text.len() - kept);
    if offset <= 4 {
        return [&text[..kept], b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + kept < text.len() {
        return [b"...", abbreviate(&text[offset..], 0, kept).as_slice()].concat();
    }
    [b"...", &text[text.len() - kept..]].concat()
}

/// `value` with the first character of each word changed.
fn words(value: &Value, inside: fn(char) -> bool, change: fn(char) -> char) -> Value {
    let (mut out, mut within) = (Vec::new(), false);
    for (_, character, _) in rune::runes(value.bytes()) {
        rune::push(&mut out, if within { character } else { change(character) });
        within = inside(character);
    }
    Value::text(out)
}

/// The words of a name: `HTTPServer2x` is `HTTP`, `Server`, `2x`.
fn parts(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    for (index, &character) in characters.iter().enumerate() {
        if matches!(character, '_' | '-') || character.is_whitespace() {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        let before = index.checked_sub(1).map(|before| characters[before]);
        let next = characters.get(index + 1);
        let begins = if character.is_uppercase() {
            before.is_some_and(|before| !before.is_uppercase())
                || next.is_some_and(|next| next.is_lowercase())
        } else if character.is_ascii_digit() {
            // Digits belong to what is in small letters behind them.
            let behind = characters[index..].iter().find(|character| !character.is_ascii_digit());
            before.is_some_and(|before| !before.is_ascii_digit())
                && behind.is_some_and(|behind| behind.is_lowercase())
                && !part.starts_with(|first: char| first.is_ascii_digit())
        } else {
            false
        };
        if begins && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
        }
        part.push(character);
    }
    parts.push(part);
    parts
}

/// `some_words` as `SomeWords`.
fn pascal(text: &str) -> String {
    let shouts = !text.contains(char::is_lowercase);
    let split =
        text.split(|character: char| matches!(character, '_' | '-') || character.is_whitespace());
    split
        .map(|word| {
            let mut characters = word.chars();
            let first: String = characters.next().map(rune::upper).into_iter().collect();
            let rest = characters.as_str();
            if shouts { first + &rest.to_lowercase() } else { first + rest }
        })
        .collect()
}

fn wrap(
    run: &mut Run<'_>,
    text: &[u8],
    width: i64,
    separator: &[u8],
    cuts: bool,
) -> Result<Value, Fault> {
    let width = length(width).max(1);
    run.budget.allow(text.len().saturating_mul(1 + separator.len()))?;
    let mut out = Vec::new();
    let mut rest = text;
    while rest.len() > width {
        if rest[0] == b' ' {
            rest = &rest[1..];
            continue;
        }
        let cut = rest[..=width].iter().rposition(|byte| *byte == b' ');
        let later = || rest[width..].iter().position(|byte| *byte == b' ').map(|at| at + width);
        match cut {
            None if cuts => {
                out.extend_from_slice(&rest[..width]);
                rest = &rest[width..];
            }
            cut => {
                let Some(at) = cut.or_else(later) else { break };
                out.extend_from_slice(&rest[..at]);
                rest = &rest[at + 1..];
            }
        }
        out.extend_from_slice(separator);
    }
    out.extend_from_slice(rest);
    Ok(Value::text(out))
}

/// All values but nils as text, each changed, with spaces between them.
fn joined(
    run: &mut Run<'_>,
    values: &[Value],
    change: fn(&[u8]) -> Vec<u8>,
) -> Result<Value, Fault> {
    let mut out = Vec::new();
    for (index, value) in values.iter().filter(|value| !value.is_nil()).enumerate() {
        let text = match &value.kind {
            Kind::Text(..) => text(run, value)?,
            _ => format::print(&mut run.budget, std::slice::from_ref(value))?,
        };
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(&change(text.bytes()));
        run.budget.allow(out.len())?;
    }
    Ok(Value::text(out))
}

fn indented(run: &mut Run<'_>, arguments: &[Value]) -> Result<Vec<u8>, Fault> {
    let spaces = usize::try_from(arguments[0].integer())
        .map_err(|_| Fault::new("strings: negative Repeat count"))?;
    run.budget.allow(spaces)?;
    let pad = vec![b' '; spaces];
    let line = [b"\n", pad.as_slice()].concat();
    let text = replace(run, arguments[1].bytes(), b"\n", &line, usize::MAX)?;
    Ok([pad, text].concat())
}

/// `{_0: …, _1: …}`
fn numbered(parts: Vec<Vec<u8>>) -> Value {
    let entries: Entries = parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| (Key::text(format!("_{index}").as_bytes()), Value::text(part)))
        .collect();
    Kind::Map(Arc::new(Map::shared(Type::String, Type::String, entries))).into()
}

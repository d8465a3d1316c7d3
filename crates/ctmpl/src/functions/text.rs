//! consul-template's functions of text.

use super::Function;
use super::Parameter::{Any, Int, Text, Texts};
use crate::Value;
use crate::error::Fault;
use crate::run::Run;
use crate::text::number::{self, Fault as NumberFault};
use crate::text::{quote, rune};
use crate::value::{Entries, Key, Kind, Map, Type};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("indent", &[Int, Text], indent),
    Function::derives("join", &[Text, Texts], |run, arguments| {
        let separator = arguments[0].bytes();
        let items = super::collection::items(&arguments[1]);
        let length = items.iter().map(|item| item.bytes().len() + separator.len()).sum();
        run.budget.allow(length)?;
        let parts: Vec<&[u8]> = items.iter().map(Value::bytes).collect();
        Ok(Value::text(parts.join(separator)))
    }),
    Function::derives("loop", &[], integers).rest(Any),
    Function::derives("parseBool", &[Text], |_, arguments| {
        let text = arguments[0].bytes();
        match text {
            b"" => Ok(Value::bool(false)),
            _ => parse_bool(text)
                .map(Value::bool)
                .ok_or_else(|| refused("parseBool", "ParseBool", text, NumberFault::Syntax)),
        }
    }),
    Function::derives("parseFloat", &[Text], |_, arguments| match arguments[0].bytes() {
        b"" => Ok(Value::float(0.0)),
        text => number::parse_float(text)
            .map(Value::float)
            .map_err(|fault| refused("parseFloat", "ParseFloat", text, fault)),
    }),
    Function::derives("parseInt", &[Text], |_, arguments| {
        let text = arguments[0].bytes();
        let value = if text.is_empty() { Ok(0) } else { number::parse_signed(text, 10) };
        value
            .map(|value| Kind::Int(value, Type::Int64).into())
            .map_err(|fault| refused("parseInt", "ParseInt", text, fault))
    }),
    Function::derives("parseUint", &[Text], |_, arguments| {
        let text = arguments[0].bytes();
        let value = if text.is_empty() { Ok(0) } else { number::parse_unsigned(text, 10) };
        value
            .map(|value| Kind::Uint(value, Type::Uint64).into())
            .map_err(|fault| refused("parseUint", "ParseUint", text, fault))
    }),
    Function::derives("replaceAll", &[Text, Text, Text], |run, arguments| {
        let [from, to, text] = [&arguments[0], &arguments[1], &arguments[2]].map(Value::bytes);
        Ok(Value::text(replace(run, text, from, to, usize::MAX)?))
    }),
    Function::derives("split", &[Text, Text], |run, arguments| {
        let text = rune::trim_space(arguments[1].bytes());
        if text.is_empty() {
            return Ok(Value::texts(Vec::new()));
        }
        run.budget.allow(text.len())?;
        Ok(Value::texts(split(run, text, arguments[0].bytes(), usize::MAX)?))
    }),
    Function::derives("splitToMap", &[Text, Text, Text], |run, arguments| {
        let mut entries = Entries::new();
        let text = rune::trim_space(arguments[2].bytes());
        run.budget.allow(text.len())?;
        for pair in split(run, text, arguments[0].bytes(), usize::MAX)? {
            if let Some(at) = find(&pair, arguments[1].bytes()) {
                let value = Value::text(&pair[at + arguments[1].bytes().len()..]);
                entries.insert(Key::text(&pair[..at]), value);
            }
        }
        let map = Map::shared(Type::String, Type::String, entries);
        Ok(Kind::Map(std::sync::Arc::new(map)).into())
    }),
    Function::derives("toLower", &[Text], |_, arguments| {
        Ok(Value::text(rune::map(arguments[0].bytes(), rune::lower)))
    }),
    Function::derives("toUpper", &[Text], |_, arguments| {
        Ok(Value::text(rune::map(arguments[0].bytes(), rune::upper)))
    }),
    Function::derives("toTitle", &[Text], |_, arguments| {
        Ok(Value::text(title(arguments[0].bytes())))
    }),
    Function::derives("trim", &[Text, Text], |_, arguments| {
        let set = arguments[0].lossy();
        let text = rune::trim(arguments[1].bytes(), |character| set.contains(character));
        Ok(Value::text(text))
    }),
    Function::derives("trimPrefix", &[Text, Text], |_, arguments| {
        let text = arguments[1].bytes();
        Ok(Value::text(text.strip_prefix(arguments[0].bytes()).unwrap_or(text)))
    }),
    Function::derives("trimSuffix", &[Text, Text], |_, arguments| {
        let text = arguments[1].bytes();
        Ok(Value::text(text.strip_suffix(arguments[0].bytes()).unwrap_or(text)))
    }),
    Function::derives("trimSpace", &[Text], |_, arguments| {
        Ok(Value::text(rune::trim_space(arguments[0].bytes())))
    }),
];

/// What consul-template says of text that is no number.
fn refused(function: &str, parser: &str, text: &[u8], fault: NumberFault) -> Fault {
    let quoted = quote::quote(text);
    Fault::new(format!("{function}: strconv.{parser}: parsing {quoted}: {}", fault.words()))
}

/// `1 t T true TRUE True`, `0 f F false FALSE False`.
pub(super) fn parse_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

/// Where `part` first stands in `text`.
pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == part[0]) {
        if text[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

/// The parts of `text` between separators, `most` at most; between all characters if the
/// separator is empty.
pub(super) fn split(
    run: &mut Run<'_>,
    text: &[u8],
    separator: &[u8],
    most: usize,
) -> Result<Vec<Vec<u8>>, Fault> {
    let mut parts = Vec::new();
    let mut rest = text;
    if separator.is_empty() {
        while let Some((_, length)) = rune::decode(rest) {
            run.budget.pieces(1)?;
            if parts.len() + 1 >= most {
                parts.push(rest.to_vec());
                return Ok(parts);
            }
            parts.push(rest[..length].to_vec());
            rest = &rest[length..];
        }
        return Ok(parts);
    }
    while parts.len() + 1 < most
        && let Some(at) = find(rest, separator)
    {
        run.budget.pieces(1)?;
        parts.push(rest[..at].to_vec());
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest.to_vec());
    Ok(parts)
}

/// `text` with `to` for the first `most` places of `from`; before each character and at the end
/// if `from` is empty.
pub(super) fn replace(
    run: &mut Run<'_>,
    text: &[u8],
    from: &[u8],
    to: &[u8],
    most: usize,
) -> Result<Vec<u8>, Fault> {
    let places = if from.is_empty() {
        rune::count(text) + 1
    } else {
        let mut places = 0;
        let mut rest = text;
        while let Some(at) = find(rest, from) {
            places += 1;
            rest = &rest[at + from.len()..];
        }
        places
    };
    let places = places.min(most);
    run.budget.allow(text.len().saturating_add(places.saturating_mul(to.len())))?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    for index in 0..places {
        if from.is_empty() {
            if index > 0
                && let Some((_, length)) = rune::decode(rest)
            {
                out.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
            }
        } else if let Some(at) = find(rest, from) {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at + from.len()..];
        }
        out.extend_from_slice(to);
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn indent(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let Ok(spaces) = usize::try_from(arguments[0].integer()) else {
        return Err(Fault::new("indent value must be a positive integer"));
    };
    let text = arguments[1].bytes();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    run.budget.allow(text.len().saturating_add(lines.saturating_mul(spaces)))?;
    let mut out = Vec::with_capacity(text.len() + lines * spaces);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        if !line.is_empty() {
            out.resize(out.len() + spaces, b' ');
        }
        out.extend_from_slice(line);
    }
    Ok(Value::text(out))
}

fn integers(_: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let integer = |value: &Value| match &value.kind {
        Kind::Int(value, _) => Ok(*value),
        Kind::Uint(value, _) => Ok(value.cast_signed()),
        Kind::Text(text, _) if text.expose().is_empty() => Ok(0),
        Kind::Text(text, _) => number::parse_signed(text.expose(), 10)
            .map_err(|fault| refused("parseInt", "ParseInt", text.expose(), fault)),
        Kind::Nil => Err(Fault::new("loop: bad argument type: <nil>")),
        _ => Err(Fault::new(format!("loop: bad argument type: {}", value.type_of()))),
    };
    match arguments {
        [to] => Ok(Kind::Channel(0, integer(to)?).into()),
        [from, to] => Ok(Kind::Channel(integer(from)?, integer(to)?).into()),
        _ => Err(Fault::new(format!(
            "loop: wrong number of arguments, expected 1 or 2, but got {}",
            arguments.len()
        ))),
    }
}

/// The first letter of each word in upper case, the others as they are. Words are letters, digits,
/// marks and what joins them: an apostrophe or a full stop between letters, a low line.
pub(super) fn title(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    // Whether a word goes on, and whether it has had its letter.
    let (mut inside, mut titled) = (false, false);
    let characters: Vec<char> = rune::runes(text).map(|(_, character, _)| character).collect();
    for (index, &character) in characters.iter().enumerate() {
        if rune::is_alphanumeric(character) {
            titled &= inside;
            if rune::is_letter(character) && !titled {
                push_title(&mut out, character);
                titled = true;
            } else {
                rune::push(&mut out, character);
            }
            inside = true;
        } else {
            let next = characters.get(index + 1).copied();
            let joins = matches!(character, '\'' | '’' | '.' | ':' | '·')
                && next.is_some_and(rune::is_letter);
            inside &= joins || is_mark(character);
            rune::push(&mut out, character);
        }
    }
    out
}

/// The character in upper case; where that is several, the first of them.
fn push_title(out: &mut Vec<u8>, character: char) {
    let mut upper = character.to_uppercase();
    if let Some(first) = upper.next() {
        rune::push(out, first);
    }
    upper.for_each(|character| rune::push(out, rune::lower(character)));
}

fn is_mark(character: char) -> bool {
    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
    character.general_category_group() == GeneralCategoryGroup::Mark
}

//! Go's quoting and unquoting of strings and characters.

use std::fmt::Write as _;

use super::rune;

/// `bytes` between double quotes, as Go's `%q` writes them.
pub(crate) fn quote(bytes: &[u8]) -> String {
    quote_with(bytes, '"', false)
}

/// The same with nothing beyond ASCII, as `%+q` writes them.
pub(crate) fn quote_ascii(bytes: &[u8]) -> String {
    quote_with(bytes, '"', true)
}

/// A character between single quotes; a number that is no character is U+FFFD.
pub(crate) fn quote_rune(code: u64, ascii: bool) -> String {
    let character = character(code);
    let mut out = String::from("'");
    escape(&mut out, character, '\'', ascii);
    out.push('\'');
    out
}

/// The character of a code, U+FFFD where there is none.
pub(crate) fn character(code: u64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Whether Go would write the text between back quotes: UTF-8 in one line, without control
/// characters but the tab, and without back quotes.
pub(crate) fn can_backquote(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        text.chars().all(|character| match character {
            '\t' => true,
            '`' | '\u{7f}' | '\u{feff}' => false,
            _ => character >= ' ',
        })
    })
}

fn quote_with(bytes: &[u8], quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(quote);
    for (at, character, length) in rune::runes(bytes) {
        if rune::is_invalid((character, length)) {
            // Writing to a string does not fail.
            let _ = write!(out, "\\x{:02x}", bytes[at]);
        } else {
            escape(&mut out, character, quote, ascii);
        }
    }
    out.push(quote);
    out
}

fn escape(out: &mut String, character: char, quote: char, ascii: bool) {
    if character == quote || character == '\\' {
        out.push('\\');
        out.push(character);
        return;
    }
    if rune::is_print(character) && (!ascii || character.is_ascii()) {
        out.push(character);
        return;
    }
    let code = u32::from(character);
    let _ = match character {
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        '\0'..'\x20' | '\x7f' => write!(out, "\\x{code:02x}"),
        '\0'..='\u{ffff}' => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// The text of a string literal, with its quotes: `"a\n"` or `` `raw` ``. `None` where Go says
/// `invalid syntax`.
pub(crate) fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = literal.split_first()?;
    let (&last, body) = rest.split_last()?;
    if last != quote {
        return None;
    }
    match quote {
        b'`' => (!body.contains(&b'`'))
            .then(|| body.iter().copied().filter(|byte| *byte != b'\r').collect()),
        b'"' => {
            let mut out = Vec::with_capacity(body.len());
            let mut rest = body;
            while !rest.is_empty() {
                if rest[0] == b'"' || rest[0] == b'\n' {
                    return None;
                }
                let piece;
                (piece, rest) = unquote_character(rest, b'"')?;
                match piece {
                    Piece::Character(character) => rune::push(&mut out, character),
                    Piece::Byte(byte) => out.push(byte),
                }
            }
            Some(out)
        }
        _ => None,
    }
}

/// What one escape of a literal stands for.
pub(crate) enum Piece {
    Character(char),
    Byte(u8),
}

/// Reads one character or escape of a literal within `quote`, and what follows it.
pub(crate) fn unquote_character(text: &[u8], quote: u8) -> Option<(Piece, &[u8])> {
    let (&first, rest) = text.split_first()?;
    if first == quote && (quote == b'\'' || quote == b'"') {
        return None;
    }
    if first != b'\\' {
        let (character, length) = rune::decode(text)?;
        let piece = if rune::is_invalid((character, length)) {
            Piece::Byte(first)
        } else {
            Piece::Character(character)
        };
        return Some((piece, &text[length..]));
    }
    let (&kind, rest) = rest.split_first()?;
    let simple = |character| Some((Piece::Character(character), rest));
    match kind {
        b'a' => simple('\x07'),
        b'b' => simple('\x08'),
        b'f' => simple('\x0c'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'v' => simple('\x0b'),
        b'\\' => simple('\\'),
        b'\'' | b'"' if kind == quote => simple(char::from(kind)),
        b'x' => {
            let (code, rest) = digits(rest, 2, 16)?;
            Some((Piece::Byte(u8::try_from(code).ok()?), rest))
        }
        b'u' | b'U' => {
            let (code, rest) = digits(rest, if kind == b'u' { 4 } else { 8 }, 16)?;
            Some((Piece::Character(char::from_u32(code)?), rest))
        }
        b'0'..=b'7' => {
            let (code, rest) = digits(&text[1..], 3, 8)?;
            Some((Piece::Byte(u8::try_from(code).ok()?), rest))
        }
        _ => None,
    }
}

fn digits(text: &[u8], count: usize, radix: u32) -> Option<(u32, &[u8])> {
    let digits = std::str::from_utf8(text.get(..count)?).ok()?;
    if !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    Some((u32::from_str_radix(digits, radix).ok()?, &text[count..]))
}

//! Numbers of templates: one text, and every type that can hold its value, as Go's ideal constants.

use crate::text::number::{self, parse_float};
use crate::text::quote::{self, Piece};

use super::ast::Number;

/// The number of a character constant such as `'a'`.
pub(super) fn character(text: &[u8]) -> Result<Number, String> {
    let (piece, tail) = quote::unquote_character(&text[1..], b'\'').ok_or("invalid syntax")?;
    if tail != b"'" {
        return Err(format!("malformed character constant: {}", String::from_utf8_lossy(text)));
    }
    let code = match piece {
        // A byte that is no character is U+FFFD to Go when it stands there as it is.
        Piece::Byte(_) if text[1] != b'\\' => u32::from(char::REPLACEMENT_CHARACTER),
        Piece::Byte(byte) => u32::from(byte),
        Piece::Character(character) => u32::from(character),
    };
    Ok(Number {
        integer: Some(i64::from(code)),
        float: Some(f64::from(code)),
        complex: None,
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

/// The number of a pair such as `1+2i`.
pub(super) fn complex(text: &[u8]) -> Result<Number, String> {
    let fault = || "syntax error scanning complex number".to_owned();
    let body = text.strip_suffix(b"i").ok_or_else(fault)?;
    // The sign of the imaginary part is the last that does not belong to an exponent.
    let hexadecimal = |upto: usize| {
        let start = body[..upto].iter().rposition(|byte| matches!(byte, b'+' | b'-'));
        let part = &body[start.map_or(0, |sign| sign + 1)..upto];
        part.starts_with(b"0x") || part.starts_with(b"0X")
    };
    let split = (1..body.len())
        .rev()
        .find(|&at| {
            matches!(body[at], b'+' | b'-')
                && match body[at - 1] {
                    b'p' | b'P' => false,
                    b'e' | b'E' => hexadecimal(at),
                    _ => true,
                }
        })
        .ok_or_else(fault)?;
    let part = |text: &[u8]| {
        parse_float(text).map_err(|problem| {
            let quoted = quote::quote(text);
            match problem {
                number::Fault::Syntax => fault(),
                number::Fault::Range => {
                    format!("strconv.ParseFloat: parsing {quoted}: value out of range")
                }
            }
        })
    };
    let (real, imaginary) = (part(&body[..split])?, part(&body[split..])?);
    Ok(of_complex(real, imaginary, text))
}

/// A pair, and what else it is if its imaginary part is zero.
fn of_complex(real: f64, imaginary: f64, text: &[u8]) -> Number {
    let float = (imaginary == 0.0).then_some(real);
    Number {
        integer: float.and_then(whole),
        float,
        complex: Some((real, imaginary)),
        text: String::from_utf8_lossy(text).into_owned(),
    }
}

/// The number of any other number token.
pub(super) fn number(text: &[u8]) -> Result<Number, String> {
    if let Some(body) = text.strip_suffix(b"i")
        && let Ok(imaginary) = parse_float(body)
    {
        return Ok(of_complex(0.0, imaginary, text));
    }
    let integer = number::parse_signed(text, 0).ok();
    let unsigned = number::parse_unsigned(text, 0).ok();
    #[expect(clippy::cast_precision_loss, reason = "Go's constants round so")]
    let float = integer.map(|value| value as f64).or(unsigned.map(|value| value as f64));
    let readable = String::from_utf8_lossy(text).into_owned();
    if float.is_some() {
        return Ok(Number { integer, float, complex: None, text: readable });
    }
    let Ok(float) = parse_float(text) else {
        return Err(format!("illegal number syntax: {}", quote::quote(text)));
    };
    if !text.iter().any(|byte| b".eEpP".contains(byte)) {
        return Err(format!("integer overflow: {}", quote::quote(text)));
    }
    Ok(Number { integer: whole(float), float: Some(float), complex: None, text: readable })
}

/// The integer that a float is. 2^63 and beyond are none.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked here")]
fn whole(value: f64) -> Option<i64> {
    let integer = value as i64;
    (integer as f64 == value && integer != i64::MAX).then_some(integer)
}

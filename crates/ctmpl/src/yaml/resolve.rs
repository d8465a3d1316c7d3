//! What a plain scalar means.

use crate::Value;
use crate::text::number::{parse_float, parse_signed, parse_unsigned};
use crate::value::{Kind, Type};

/// The value of a scalar without quotes; `None` if it is text.
pub(super) fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::NIL),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return Some(Value::float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(Value::float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::float(f64::NEG_INFINITY)),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => parse_float(text.as_bytes()).ok().map(Value::float),
        b'0'..=b'9' | b'+' | b'-' => number(text),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let bytes = plain.as_bytes();
    if let Ok(value) = parse_signed(bytes, 0) {
        return Some(Value::int(value));
    }
    if let Ok(value) = parse_unsigned(bytes, 0) {
        return Some(Kind::Uint(value, Type::Uint64).into());
    }
    is_float(bytes).then(|| parse_float(bytes).ok().map(Value::float)).flatten()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &[u8]) -> bool {
    let unsigned = |text: &[u8]| usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = &text[unsigned(text)..];
    let whole = digits(rest);
    rest = &rest[whole..];
    if let [b'.', fraction @ ..] = rest {
        let count = digits(fraction);
        if whole == 0 && count == 0 {
            return false;
        }
        rest = &fraction[count..];
    } else if whole == 0 {
        return false;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = &exponent[unsigned(exponent)..];
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// Whether other readers of YAML 1.1 take the text for a number of base 60, such as `1:30`, or a
/// date.
pub(super) fn is_confusing(text: &str) -> bool {
    is_base_60(text) || is_date(text)
}

fn is_base_60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = body.split(':');
    let Some(first) = parts.next() else { return false };
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if !first.starts_with(|first: char| first.is_ascii_digit()) || !number(first) {
        return false;
    }
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return false };
    let sexagesimal = |part: &str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [tens, digit] => (b'0'..=b'5').contains(tens) && digit.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|part| sexagesimal(part)) && sexagesimal(last) && number(fraction)
}

/// Whether the text is a date, with or without a time, as the library reads it.
pub(super) fn is_date(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (Some(year), Some(month), Some(day), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let within = |text: &str, from: u32, to: u32| {
        (1..=2).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|value| (from..=to).contains(&value))
    };
    if year.len() != 4
        || !year.bytes().all(|byte| byte.is_ascii_digit())
        || !within(month, 1, 12)
        || !within(day, 1, 31)
    {
        return false;
    }
    let Some((separator, time)) = time else { return true };
    let (clock, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    // With a letter there is a zone, with a space there is none.
    if (separator == b' ') != zone.is_empty() {
        return false;
    }
    let zone_fits = zone.is_empty() || zone == "Z" || {
        let mut parts = zone[1..].split(':');
        zone.len() == 6
            && parts.next().is_some_and(|part| within(part, 0, 24))
            && parts.next().is_some_and(|part| within(part, 0, 60))
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    zone_fits
        && parts.len() == 3
        && within(parts[0], 0, 23)
        && within(parts[1], 0, 59)
        && within(parts[2], 0, 59)
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

//! Numbers, durations and times in policies, with Go's words for those that are none.

use std::num::IntErrorKind;
use std::time::Duration;

use holdfast_types::{Timestamp, Ttl, TtlError};

/// A whole number as Go reads it: a leading `0` is octal, `0x` hexadecimal.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let fail = |reason| Err(format!("strconv.ParseInt: parsing {text:?}: {reason}"));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return fail("invalid syntax");
    }
    match i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        Ok(number) => Ok(number),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => fail("value out of range"),
            _ => fail("invalid syntax"),
        },
    }
}

/// A number of seconds, with a fraction if need be.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let fail = || format!("duration {text:?} is negative or too long");
    let seconds = match parse(text) {
        Ok(seconds) => seconds as f64,
        Err(error) => text.parse().map_err(|_| error)?,
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| fail())
}

/// A duration such as `1h30m`, or seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text != text.trim() {
        return Err(invalid_duration(text));
    }
    match Ttl::parse(text) {
        Ok(ttl) => Ok(ttl.0),
        Err(TtlError::Invalid(_)) => Err(invalid_duration(text)),
        // OpenBao reads a negative bound as none.
        Err(error) => Err(error.to_string()),
    }
}

/// A point in time: RFC 3339, or seconds after 1970.
pub(super) fn absolute_time(text: &str) -> Result<Timestamp, &'static str> {
    let parsed = match text.parse() {
        Ok(seconds) => Timestamp::from_second(seconds).ok(),
        Err(_) => text.parse().ok(),
    };
    parsed.ok_or("invalid expiration time: could not parse string as date and time")
}

/// What Go says of a text that is no duration.
fn invalid_duration(text: &str) -> String {
    let number = text.trim_start_matches(['+', '-']);
    let rest = number.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let unit = rest.split(|c: char| c.is_ascii_digit() || c == '.').next().unwrap_or_default();
    if rest.len() == number.len() {
        format!("time: invalid duration {text:?}")
    } else if unit.is_empty() || matches!(unit, "h" | "m" | "s" | "ms") {
        format!("time: missing unit in duration {text:?}")
    } else {
        format!("time: unknown unit {unit:?} in duration {text:?}")
    }
}

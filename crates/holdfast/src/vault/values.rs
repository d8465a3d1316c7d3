//! Values of flags, with the official client's words for what is wrong with them.

use std::time::Duration;

use holdfast_types::{Ttl, format_go_duration};

/// A whole number; `0x` and `0o` are understood.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parsed = match digits.get(..2) {
        Some("0x" | "0X") => i64::from_str_radix(&digits[2..], 16),
        Some("0o" | "0O") => i64::from_str_radix(&digits[2..], 8),
        _ => digits.parse(),
    };
    match parsed {
        Ok(number) if number >= 0 => Ok(if negative { -number } else { number }),
        _ => Err(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
    }
}

/// As Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// A duration: seconds, or as Go writes one.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    Ttl::parse(text).map(|ttl| ttl.0).map_err(|_| format!("time: invalid duration {text:?}"))
}

/// The same as the API takes it; `system` or a negative one stands for the server's default.
pub(super) fn system_duration(text: &str) -> Result<String, String> {
    if text == "system" || text.strip_prefix('-').is_some_and(|rest| duration(rest).is_ok()) {
        return Ok("system".to_owned());
    }
    duration(text).map(format_go_duration)
}

/// A level of the server's log, in any case.
pub(crate) fn log_level(text: &str) -> Option<tracing::Level> {
    use tracing::Level;
    let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
    levels.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text))
}

/// `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| format!("missing = in KV pair: {text:?}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, want) in [("7", Some(7)), ("-1", Some(-1)), ("0x10", Some(16)), ("--1", None)] {
            assert_eq!(integer(text).ok(), want, "{text}");
        }
        for (text, want) in
            [("system", Some("system")), ("-1", Some("system")), ("1h", Some("1h0m0s"))]
        {
            assert_eq!(system_duration(text).ok().as_deref(), want, "{text}");
        }
    }
}

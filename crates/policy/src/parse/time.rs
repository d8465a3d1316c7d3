//! Times and durations in policies.

use super::Timestamp;

/// A point in time: RFC 3339, or seconds after 1970.
pub(super) fn absolute(text: &str) -> Result<Timestamp, &'static str> {
    let parsed = match text.parse::<i64>() {
        Ok(seconds) => Timestamp::from_second(seconds).ok(),
        Err(_) => text.parse().ok(),
    };
    parsed.ok_or("invalid expiration time: could not parse string as date and time")
}

/// What Go says of a text that is no duration.
pub(super) fn invalid_duration(text: &str) -> String {
    let unit_start = text.trim_start_matches(['+', '-']);
    let digits = unit_start.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let unit = digits.split(|c: char| c.is_ascii_digit() || c == '.').next().unwrap_or_default();
    if digits.len() == unit_start.len() {
        format!("time: invalid duration {text:?}")
    } else if unit.is_empty() {
        format!("time: missing unit in duration {text:?}")
    } else {
        format!("time: unknown unit {unit:?} in duration {text:?}")
    }
}

//! Times and durations.

use super::convert::integer;
use crate::functions::Function;
use crate::functions::Parameter::{Any, Time};
use crate::text::number::parse_signed;
use crate::value::{Kind, Type};
use crate::{Value, format};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_ago", &[Any], |run, arguments| {
        let now = run.source.now();
        let then = match arguments[0].kind {
            Kind::Time(time) => time.as_second(),
            Kind::Int(seconds, Type::Int | Type::Int64) => seconds,
            _ => now.as_second(),
        };
        let seconds = now.as_second().saturating_sub(then);
        Ok(Value::text(format::time::duration(seconds.saturating_mul(SECOND))))
    }),
    Function::derives("sprig_duration", &[Any], |_, arguments| {
        let seconds = match &arguments[0].kind {
            Kind::Text(text, Type::String) => parse_signed(text.expose(), 10).unwrap_or(0),
            Kind::Int(seconds, Type::Int64) => *seconds,
            _ => 0,
        };
        Ok(Value::text(format::time::duration(seconds.wrapping_mul(SECOND))))
    }),
    Function::derives("sprig_durationRound", &[Any], |run, arguments| {
        let nanoseconds = match &arguments[0].kind {
            Kind::Text(text, Type::String) => {
                format::time::parse_duration(text.expose()).unwrap_or(0)
            }
            Kind::Int(_, Type::Int64) => integer(&arguments[0]),
            Kind::Time(time) => {
                run.source.now().as_second().saturating_sub(time.as_second()).saturating_mul(SECOND)
            }
            _ => 0,
        };
        Ok(Value::text(rounded(nanoseconds.unsigned_abs())))
    }),
    Function::derives("sprig_unixEpoch", &[Time], |_, arguments| match arguments[0].kind {
        Kind::Time(time) => Ok(Value::text(time.as_second().to_string())),
        _ => Ok(Value::text("0")),
    }),
];

const SECOND: i64 = 1_000_000_000;

/// A duration in its largest unit: `3d`.
fn rounded(nanoseconds: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;
    for (unit, name) in [
        (HOUR * 24 * 365, "y"),
        (HOUR * 24 * 30, "mo"),
        (HOUR * 24, "d"),
        (HOUR, "h"),
        (60 * SECOND, "m"),
        (SECOND, "s"),
    ] {
        if nanoseconds > unit {
            return format!("{}{name}", nanoseconds / unit);
        }
    }
    "0s".to_owned()
}

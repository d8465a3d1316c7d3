//! Times and durations as Go writes them.

use holdfast_types::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::Value;
use crate::value::Kind;

/// A time or duration by Go's `String` method; nothing for other values.
pub(crate) fn string(value: &Value) -> String {
    match &value.kind {
        Kind::Time(time) => {
            let layout = b"2006-01-02 15:04:05.999999999 -0700 MST";
            String::from_utf8_lossy(&format(*time, layout)).into_owned()
        }
        Kind::Int(nanoseconds, _) => duration(*nanoseconds),
        _ => String::new(),
    }
}

/// A time by RFC 3339, with as many decimals as it has.
pub(crate) fn rfc3339_nano(value: &Value) -> String {
    match &value.kind {
        Kind::Time(time) => {
            let layout = b"2006-01-02T15:04:05.999999999Z07:00";
            String::from_utf8_lossy(&format(*time, layout)).into_owned()
        }
        _ => String::new(),
    }
}

/// A duration such as `1h0m5s`, `1.5ms`.
pub(crate) fn duration(nanoseconds: i64) -> String {
    let magnitude = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let decimal = |value: u64, unit: u64, name: &str| {
        let digits = unit.ilog10() as usize;
        let fraction = format!("{:0digits$}", value % unit);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() || digits == 0 { "" } else { "." };
        let fraction = if digits == 0 { "" } else { fraction };
        format!("{}{point}{fraction}{name}", value / unit)
    };
    let text = match magnitude {
        0 => return "0s".to_owned(),
        1..1_000 => format!("{magnitude}ns"),
        1_000..1_000_000 => decimal(magnitude, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(magnitude, 1_000_000, "ms"),
        _ => {
            const MINUTE: u64 = 60_000_000_000;
            let seconds = decimal(magnitude % MINUTE, 1_000_000_000, "s");
            let minutes = magnitude / MINUTE;
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

/// A time in UTC by a layout of Go's: the parts of Mon Jan 2 15:04:05 2006 -0700.
pub(crate) fn format(time: Timestamp, layout: &[u8]) -> Vec<u8> {
    let time = TimeZone::UTC.to_datetime(time);
    let mut out = Vec::new();
    let mut rest = layout;
    while let Some(&first) = rest.first() {
        match element(rest) {
            Some((element, length)) => {
                out.extend_from_slice(write(time, element).as_bytes());
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// A part of a layout.
#[derive(Clone, Copy)]
enum Element<'a> {
    /// By its writing in the layout.
    Plain(&'static str),
    /// `.000`, `,999`: decimals of the second.
    Decimals(&'a [u8]),
}

const ELEMENTS: &[&str] = &[
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "2006",
    "_2006",
    "_2",
    "__2",
    "15",
    "PM",
    "pm",
    "-07:00:00",
    "-070000",
    "-07:00",
    "-0700",
    "-07",
    "Z07:00:00",
    "Z070000",
    "Z07:00",
    "Z0700",
    "Z07",
    "1",
    "2",
    "3",
    "4",
    "5",
];

/// The part that a layout begins with, and its length.
fn element(layout: &[u8]) -> Option<(Element<'_>, usize)> {
    if let [b'.' | b',', digit @ (b'0' | b'9'), ..] = layout {
        let count = layout[1..].iter().take_while(|byte| *byte == digit).count();
        // Not before further digits.
        let ends = !layout.get(count + 1).is_some_and(u8::is_ascii_digit);
        return ends.then(|| (Element::Decimals(&layout[..=count]), count + 1));
    }
    let found = ELEMENTS
        .iter()
        .filter(|element| layout.starts_with(element.as_bytes()))
        .max_by_key(|element| element.len())?;
    if *found == "_2006" {
        // A low line, then the year.
        return None;
    }
    if *found == "Jan" && layout.get(3).is_some_and(u8::is_ascii_lowercase)
        || *found == "Mon" && layout.get(3).is_some_and(u8::is_ascii_lowercase)
    {
        return None;
    }
    Some((Element::Plain(found), found.len()))
}

fn write(time: DateTime, element: Element<'_>) -> String {
    let hour12 = (time.hour() + 11) % 12 + 1;
    let element = match element {
        Element::Plain(element) => element,
        Element::Decimals(digits) => {
            let separator = char::from(digits[0]);
            let count = digits.len() - 1;
            let all = format!("{:09}", time.subsec_nanosecond());
            let shown = &all[..count.min(9)];
            if digits[1] == b'0' {
                return format!("{separator}{shown}");
            }
            let shown = shown.trim_end_matches('0');
            return if shown.is_empty() { String::new() } else { format!("{separator}{shown}") };
        }
    };
    match element {
        "January" => MONTHS[month(time)].to_owned(),
        "Jan" => MONTHS[month(time)][..3].to_owned(),
        "Monday" => weekday(time).to_owned(),
        "Mon" => weekday(time)[..3].to_owned(),
        "MST" => "UTC".to_owned(),
        "01" => format!("{:02}", time.month()),
        "1" => time.month().to_string(),
        "02" => format!("{:02}", time.day()),
        "_2" => format!("{:2}", time.day()),
        "2" => time.day().to_string(),
        "002" => format!("{:03}", time.day_of_year()),
        "__2" => format!("{:3}", time.day_of_year()),
        "15" => format!("{:02}", time.hour()),
        "03" => format!("{hour12:02}"),
        "3" => hour12.to_string(),
        "04" => format!("{:02}", time.minute()),
        "4" => time.minute().to_string(),
        "05" => format!("{:02}", time.second()),
        "5" => time.second().to_string(),
        "2006" => format!("{:04}", time.year()),
        "06" => format!("{:02}", time.year().rem_euclid(100)),
        "PM" => if time.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
        "pm" => if time.hour() >= 12 { "pm" } else { "am" }.to_owned(),
        "-0700" => "+0000".to_owned(),
        "-07:00" => "+00:00".to_owned(),
        "-07" => "+00".to_owned(),
        "-070000" => "+000000".to_owned(),
        "-07:00:00" => "+00:00:00".to_owned(),
        // The remaining ones are the offset with Z for none.
        _ => "Z".to_owned(),
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn month(time: DateTime) -> usize {
    usize::from(time.month().unsigned_abs()).clamp(1, 12) - 1
}

fn weekday(time: DateTime) -> &'static str {
    const DAYS: [&str; 7] =
        ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    DAYS[usize::try_from(time.weekday().to_sunday_zero_offset()).unwrap_or(0) % 7]
}

/// Reads a duration such as `1h15m30.918s`; `None` where Go reads none.
pub(crate) fn parse_duration(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|byte: char| !byte.is_ascii_digit() && byte != '.')?;
        let (number, behind) = rest.split_at(digits);
        let unit_length =
            behind.find(|byte: char| byte.is_ascii_digit() || byte == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_length);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let read = |digits: &str| -> Option<i128> {
            if digits.is_empty() {
                Some(0)
            } else {
                digits.get(..digits.len().min(18))?.parse().ok()
            }
        };
        if whole.len() > 18 {
            return None;
        }
        let scale = 10_i128.pow(u32::try_from(fraction.len().min(18)).ok()?);
        total += read(whole)? * unit + read(fraction)? * unit / scale;
        rest = behind;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

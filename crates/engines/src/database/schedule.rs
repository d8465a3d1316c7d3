//! When a static role rotates: the five fields of cron, in UTC.
//!
//! Minute, hour, day of the month, month, day of the week: `0 3 * * SUN` is 03:00 every Sunday.
//! Fields are `*`, numbers, `a-b`, `a-b/step`, `*/step`, lists of these, and the English names of
//! months and days in three letters. Where both days are given, either one will do. There is no
//! time zone but UTC, and so no hour that comes twice or never.

use std::fmt;

use holdfast_types::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// How far ahead a time is looked for. The 29th of February can be eight years away.
const MOST_DAYS: usize = 8 * 366 + 1;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A schedule. It prints as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Schedule {
    text: String,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error("expected exactly 5 fields, found {0}")]
    Fields(usize),
    #[error("{name} {text:?}: {problem}")]
    Field { name: &'static str, text: String, problem: &'static str },
    #[error("times are in UTC: no time zone may be named")]
    TimeZone,
    #[error("no such day ever comes")]
    Never,
}

impl Schedule {
    /// Reads a schedule.
    pub(crate) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.first().is_some_and(|field| field.contains("TZ=")) {
            return Err(ScheduleError::TimeZone);
        }
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(ScheduleError::Fields(fields.len()));
        };
        let schedule = Self {
            text: fields.join(" "),
            minutes: Field::parse("minute", minute, 0, 59, &[])?,
            hours: Field::parse("hour", hour, 0, 23, &[])?,
            days: Field::parse("day of the month", day, 1, 31, &[])?,
            months: Field::parse("month", month, 1, 12, &MONTHS)?,
            weekdays: Field::parse("day of the week", weekday, 0, 6, &WEEKDAYS)?,
        };
        match schedule.next(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }

    /// The first time after `after`. None: time itself ends before.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let from = after.to_zoned(TimeZone::UTC).datetime();
        let mut date = from.date();
        // Of the first day only what is left of it.
        let mut earliest = Some(from.time());
        for _ in 0..MOST_DAYS {
            if self.fits(date)
                && let Some(time) = self.time_after(earliest)
            {
                let at = date.to_datetime(time).to_zoned(TimeZone::UTC).ok()?;
                return Some(at.timestamp());
            }
            date = date.tomorrow().ok()?;
            earliest = None;
        }
        None
    }

    fn fits(&self, date: Date) -> bool {
        let number = |number: i8| number.unsigned_abs();
        let day = self.days.has(number(date.day()));
        let weekday = self.weekdays.has(number(date.weekday().to_sunday_zero_offset()));
        let fits = match self.days.any || self.weekdays.any {
            true => day && weekday,
            false => day || weekday,
        };
        fits && self.months.has(number(date.month()))
    }

    /// The first time of a day after `earliest`, or at all.
    fn time_after(&self, earliest: Option<Time>) -> Option<Time> {
        let at = |hour: u8, minute: u8| Time::new(hour as i8, minute as i8, 0, 0).ok();
        let mut first_hour = 0;
        if let Some(earliest) = earliest {
            let hour = earliest.hour().unsigned_abs();
            let minute = self.minutes.first_from(earliest.minute().unsigned_abs() + 1);
            if let Some(minute) = minute.filter(|_| self.hours.has(hour)) {
                return at(hour, minute);
            }
            first_hour = hour + 1;
        }
        at(self.hours.first_from(first_hour)?, self.minutes.first_from(0)?)
    }
}

/// The numbers that one field allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    numbers: u64,
    /// It was `*`.
    any: bool,
}

impl Field {
    fn parse(
        name: &'static str,
        text: &str,
        least: u8,
        most: u8,
        names: &[&str],
    ) -> Result<Self, ScheduleError> {
        let failed = |problem| ScheduleError::Field { name, text: text.to_owned(), problem };
        let mut field = Self { numbers: 0, any: false };
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                None => (part, None),
                Some((range, step)) => {
                    let step = step.parse::<u8>().ok().filter(|step| *step > 0);
                    (range, Some(step.ok_or_else(|| failed("a step is a number above zero"))?))
                }
            };
            let number = |text: &str| {
                let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
                let number = match named {
                    Some(index) => u8::try_from(index).ok().map(|index| index + least),
                    None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
                    None => None,
                };
                let number = number.ok_or_else(|| failed("is no number"))?;
                match (least..=most).contains(&number) {
                    true => Ok(number),
                    false => Err(failed("is out of range")),
                }
            };
            let (first, last) = match range.split_once('-') {
                _ if matches!(range, "*" | "?") => {
                    field.any |= step.is_none_or(|step| step == 1);
                    (least, most)
                }
                Some((first, last)) => (number(first)?, number(last)?),
                // `5/10` goes on to the end.
                None if step.is_some() => (number(range)?, most),
                None => (number(range)?, number(range)?),
            };
            if first > last {
                return Err(failed("begins after its end"));
            }
            for number in (first..=last).step_by(usize::from(step.unwrap_or(1))) {
                field.numbers |= 1 << number;
            }
        }
        Ok(field)
    }

    fn has(self, number: u8) -> bool {
        self.numbers & (1 << number) != 0
    }

    fn first_from(self, number: u8) -> Option<u8> {
        let rest = self.numbers.checked_shr(u32::from(number)).unwrap_or(0);
        (rest != 0).then(|| number + rest.trailing_zeros() as u8)
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Self, ScheduleError> {
        Self::parse(&text)
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let schedule = Schedule::parse(schedule).unwrap();
        schedule.next(after.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn the_next_time_is_found() {
        for (schedule, after, want) in [
            ("* * * * *", "2026-11-22T10:00:00Z", "2026-11-22T10:01:00Z"),
            ("* * * * *", "2026-11-22T10:00:59.9Z", "2026-11-22T10:01:00Z"),
            ("0 0 * * *", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            ("0 0 * * *", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("30 9 * * *", "2026-11-22T09:29:00Z", "2026-11-22T09:30:00Z"),
            ("30 9 * * *", "2026-11-22T09:30:00Z", "2026-11-23T09:30:00Z"),
            ("0 3 * * SUN", "2026-11-22T03:00:00Z", "2026-11-29T03:00:00Z"),
            ("0 0 * * sat", "2026-11-22T00:00:00Z", "2026-11-28T00:00:00Z"),
            ("*/15 9-17 * * 1-5", "2026-11-20T17:45:00Z", "2026-11-23T09:00:00Z"),
            ("5/20 * * * *", "2026-11-22T10:26:00Z", "2026-11-22T10:45:00Z"),
            ("0 22,4 * * *", "2026-11-22T05:00:00Z", "2026-11-22T22:00:00Z"),
            ("59 23 31 DEC ?", "2026-01-01T00:00:00Z", "2026-12-31T23:59:00Z"),
            ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
            ("0 0 31 * *", "2026-11-01T00:00:00Z", "2026-12-31T00:00:00Z"),
            // Either day, where both are given; both, where one of them is any.
            ("0 0 13 * FRI", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z"),
            ("0 0 13 * FRI", "2026-11-12T00:00:00Z", "2026-11-13T00:00:00Z"),
            ("0 0 */2 * MON", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
            ("0 0 * * MON", "2026-11-03T00:00:00Z", "2026-11-09T00:00:00Z"),
        ] {
            assert_eq!(next(schedule, after), want, "{schedule} after {after}");
        }
    }

    /// Berlin and New York change their clocks on these nights. In UTC every hour comes once.
    #[test]
    fn no_hour_is_left_out_or_doubled_where_clocks_change() {
        for night in ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01"] {
            let mut at: Timestamp = format!("{night}T00:00:00Z").parse().unwrap();
            let schedule = Schedule::parse("30 * * * *").unwrap();
            for hour in 0..24 {
                at = schedule.next(at).unwrap();
                assert_eq!(at.to_string(), format!("{night}T{hour:02}:30:00Z"));
            }
            assert_eq!(
                next("30 2 * * *", &format!("{night}T00:00:00Z")),
                format!("{night}T02:30:00Z")
            );
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for (schedule, want) in [
            ("", "expected exactly 5 fields, found 0"),
            ("* * * *", "expected exactly 5 fields, found 4"),
            ("0 * * * * *", "expected exactly 5 fields, found 6"),
            ("@daily", "expected exactly 5 fields, found 1"),
            ("CRON_TZ=Asia/Tokyo 0 0 * * *", "times are in UTC: no time zone may be named"),
            ("60 * * * *", "minute \"60\": is out of range"),
            ("* 24 * * *", "hour \"24\": is out of range"),
            ("* * 0 * *", "day of the month \"0\": is out of range"),
            ("* * * 13 *", "month \"13\": is out of range"),
            ("* * * * 7", "day of the week \"7\": is out of range"),
            ("* * * * MONDAY", "day of the week \"MONDAY\": is no number"),
            ("+1 * * * *", "minute \"+1\": is no number"),
            ("99999999999 * * * *", "minute \"99999999999\": is no number"),
            ("1- * * * *", "minute \"1-\": is no number"),
            ("1,,2 * * * *", "minute \"1,,2\": is no number"),
            ("5-1 * * * *", "minute \"5-1\": begins after its end"),
            ("*/0 * * * *", "minute \"*/0\": a step is a number above zero"),
            ("*/-1 * * * *", "minute \"*/-1\": a step is a number above zero"),
            ("0 0 30 2 *", "no such day ever comes"),
            ("0 0 31 4,6,9,11 *", "no such day ever comes"),
        ] {
            let got = Schedule::parse(schedule).map_err(|error| error.to_string());
            assert_eq!(got.map(String::from), Err(want.to_owned()), "{schedule}");
        }
    }

    /// Every minute of a year, asked one by one, is the next after the minute before.
    #[test]
    fn the_next_time_is_never_past_a_time_that_fits() {
        let start: Timestamp = "2027-12-30T00:00:00Z".parse().unwrap();
        for text in ["7 */5 1,30-31 1,12 *", "*/59 0,23 * * 5", "0 12 29 2 MON-FRI/2"] {
            let schedule = Schedule::parse(text).unwrap();
            let (mut from, mut seen) = (start, 0);
            let end = start.checked_add(jiff::Span::new().hours(24 * 70)).unwrap();
            while from < end {
                let next = schedule.next(from).unwrap();
                assert!(next > from, "{text}");
                // Whatever lies between does not fit.
                let mut minute = from;
                while minute < next && minute < end {
                    assert_eq!(schedule.next(minute), Some(next), "{text} at {minute}");
                    minute = minute.checked_add(jiff::Span::new().minutes(13)).unwrap();
                }
                (from, seen) = (next, seen + 1);
            }
            assert!(seen > 1, "{text}");
        }
    }
}

//! Durations as Vault's API and configuration write them.

use std::fmt::Write as _;
use std::time::Duration;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A duration written as whole seconds (`3600`, `"3600"`), or as Go writes one (`"1h30m"`,
/// `"1.5s"`), with days allowed (`"2d"`). An empty string is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(pub Duration);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// Not of the form that [`Ttl`] describes.
    #[error("invalid duration {0:?}")]
    Invalid(String),
    /// A time to live cannot be negative.
    #[error("duration {0:?} is negative")]
    Negative(String),
    /// Longer than 292 years, which Go's durations cannot hold.
    #[error("duration {0:?} is too long")]
    TooLong(String),
}

impl Ttl {
    /// Go keeps durations as 63-bit nanoseconds.
    const MAX: f64 = 9_223_372_036.0;

    /// Parses `text`.
    ///
    /// # Errors
    /// What is wrong with it, quoting it.
    pub fn parse(text: &str) -> Result<Self, TtlError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Self::default());
        }
        if let Some(rest) = trimmed.strip_prefix('-') {
            return Err(match Self::parse(rest) {
                Ok(Self(Duration::ZERO)) => return Ok(Self::default()),
                Ok(_) => TtlError::Negative(text.to_owned()),
                Err(_) => TtlError::Invalid(text.to_owned()),
            });
        }
        if let Ok(seconds) = trimmed.parse::<u64>() {
            return Self::seconds(seconds as f64, text);
        }
        let mut total = 0.0;
        let mut rest = trimmed;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number: f64 =
                rest[..digits].parse().map_err(|_| TtlError::Invalid(text.to_owned()))?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let scale = match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return Err(TtlError::Invalid(text.to_owned())),
            };
            total += number * scale;
            rest = &rest[unit..];
        }
        Self::seconds(total, text)
    }

    fn seconds(seconds: f64, text: &str) -> Result<Self, TtlError> {
        if seconds >= Self::MAX {
            return Err(TtlError::TooLong(text.to_owned()));
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TtlVisitor;
        impl<'de> Visitor<'de> for TtlVisitor {
            type Value = Ttl;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds, or a duration such as \"1h30m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ttl, E> {
                Ttl::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Ttl, E> {
                Ttl::seconds(seconds as f64, &seconds.to_string()).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Ttl, E> {
                Ttl::parse(&seconds.to_string()).map_err(E::custom)
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Ttl, E> {
                if seconds < 0.0 {
                    return Err(E::custom(TtlError::Negative(seconds.to_string())));
                }
                Ttl::seconds(seconds, &seconds.to_string()).map_err(E::custom)
            }
            fn visit_unit<E: de::Error>(self) -> Result<Ttl, E> {
                Ok(Ttl::default())
            }
            /// Where `serde_json` keeps numbers as they were written, one that is no integer comes
            /// as a map of its text.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ttl, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((name, text)) if name == "$serde_json::private::Number" => {
                        let seconds = text.parse().map_err(de::Error::custom)?;
                        self.visit_f64(seconds)
                    }
                    _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
                }
            }
        }
        deserializer.deserialize_any(TtlVisitor)
    }
}

/// `duration` as Go's `Duration.String` writes it, in whole seconds: `1h0m0s`, `45s`, `0s`.
pub fn format_go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{seconds}s");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_what_vault_reads() {
        let invalid = |text: &str| Err(TtlError::Invalid(text.to_owned()));
        for (text, want) in [
            ("", Ok(0.0)),
            ("0", Ok(0.0)),
            ("3600", Ok(3600.0)),
            ("1h", Ok(3600.0)),
            ("1h30m", Ok(5400.0)),
            ("1.5s", Ok(1.5)),
            ("250ms", Ok(0.25)),
            ("2d", Ok(172_800.0)),
            (" 5m ", Ok(300.0)),
            ("1x", invalid("1x")),
            ("h", invalid("h")),
            ("1h2", invalid("1h2")),
            ("-1s", Err(TtlError::Negative("-1s".to_owned()))),
            ("-0s", Ok(0.0)),
            ("99999999999", Err(TtlError::TooLong("99999999999".to_owned()))),
        ] {
            let got = Ttl::parse(text).map(|ttl| ttl.0);
            assert_eq!(got, want.map(Duration::from_secs_f64), "{text:?}");
        }
    }

    #[test]
    fn deserialise_takes_numbers_and_text() {
        for (json, want) in [("60", 60), ("\"1m\"", 60), ("1.0", 1), ("null", 0)] {
            let Ttl(got) = serde_json::from_str(json).unwrap();
            assert_eq!(got.as_secs(), want, "{json}");
        }
        for json in ["-1", "-1.5", "true", "\"x\"", "1e300"] {
            assert!(serde_json::from_str::<Ttl>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn format_is_gos() {
        for (seconds, want) in
            [(0, "0s"), (45, "45s"), (90, "1m30s"), (3600, "1h0m0s"), (2_764_800, "768h0m0s")]
        {
            assert_eq!(format_go_duration(Duration::from_secs(seconds)), want);
        }
    }
}

//! Names of workloads: SPIFFE IDs and the trust domains that they stand in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID standard, section 2.3.
const LONGEST: usize = 2048;
/// SPIFFE-ID standard, section 2.3.
const LONGEST_TRUST_DOMAIN: usize = 255;

/// Why a text is no SPIFFE ID, or no trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// It does not start with `spiffe://`, in small letters.
    #[error("a SPIFFE ID starts with \"spiffe://\"")]
    NotSpiffe,
    /// There is nothing between `spiffe://` and the path.
    #[error("the trust domain is missing")]
    NoTrustDomain,
    /// A character that may not stand where it does.
    #[error("the character at byte {at} may not stand in a SPIFFE ID")]
    Char {
        /// Its offset, in bytes.
        at: usize,
    },
    /// A segment of the path that is empty, `.` or `..`.
    #[error("the path segment at byte {at} is empty, \".\" or \"..\"")]
    Segment {
        /// Where the segment starts, in bytes.
        at: usize,
    },
    /// More than 2048 bytes, or a trust domain of more than 255.
    #[error("longer than a SPIFFE ID may be")]
    TooLong,
}

/// The name of a trust domain, such as `demo.local`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

/// The name of a workload, such as `spiffe://demo.local/ns/apps/sa/backend`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Box<str>,
    /// Where the path starts.
    path_at: u16,
}

impl TrustDomain {
    /// Parses the name of a trust domain: 1 to 255 of `a-z 0-9 . - _`.
    ///
    /// `spiffe://demo.local` is read as well, as SPIRE's command line reads it.
    ///
    /// # Errors
    /// The first rule broken, and `at`: its offset in `text`, in bytes.
    ///
    /// Source: SPIFFE-ID standard, section 2.1.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        let start = if text.starts_with(SCHEME) { SCHEME.len() } else { 0 };
        let name = &text[start..];
        match trust_domain_end(name) {
            _ if name.is_empty() => Err(SpiffeIdError::NoTrustDomain),
            Some(end) => Err(SpiffeIdError::Char { at: start + end }),
            None if name.len() > LONGEST_TRUST_DOMAIN => Err(SpiffeIdError::TooLong),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain's own SPIFFE ID, `spiffe://demo.local`, which is no workload's.
    pub fn id(&self) -> SpiffeId {
        let text = format!("{SCHEME}{}", self.0);
        SpiffeId { path_at: text.len() as u16, text: text.into() }
    }

    /// The SPIFFE ID of `path`, which is led by `/`, in this trust domain.
    ///
    /// # Errors
    /// As [`SpiffeId::parse`], with offsets in the whole ID.
    pub fn member(&self, path: &str) -> Result<SpiffeId, SpiffeIdError> {
        if !path.starts_with('/') {
            return Err(SpiffeIdError::Char { at: SCHEME.len() + self.0.len() });
        }
        SpiffeId::parse(&format!("{SCHEME}{}{path}", self.0))
    }

    /// Whether `id` stands in this trust domain.
    pub fn holds(&self, id: &SpiffeId) -> bool {
        id.trust_domain() == self.as_str()
    }
}

impl SpiffeId {
    /// Parses a SPIFFE ID such as `spiffe://demo.local/ns/apps/sa/backend`.
    ///
    /// The trust domain is 1 or more of `a-z 0-9 . - _`; the path is empty, or `/`-led segments of
    /// `A-Z a-z 0-9 . - _`, none empty, `.` or `..`. Ports, queries and percent signs are refused.
    ///
    /// # Errors
    /// The first rule broken, and `at`: its offset in `text`, in bytes.
    ///
    /// Source: SPIFFE-ID standard, sections 2.1 to 2.3.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::NotSpiffe)?;
        if text.len() > LONGEST {
            return Err(SpiffeIdError::TooLong);
        }
        let length = trust_domain_end(rest).unwrap_or(rest.len());
        let path_at = SCHEME.len() + length;
        if rest[length..].chars().next().is_some_and(|next| next != '/') {
            return Err(SpiffeIdError::Char { at: path_at });
        }
        match length {
            0 => return Err(SpiffeIdError::NoTrustDomain),
            1..=LONGEST_TRUST_DOMAIN => {}
            _ => return Err(SpiffeIdError::TooLong),
        }
        let mut at = path_at;
        for segment in rest[length..].split('/').skip(1) {
            // Past the slash.
            at += 1;
            let wrong = segment.bytes().position(|byte| {
                !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
            });
            if let Some(offset) = wrong {
                return Err(SpiffeIdError::Char { at: at + offset });
            }
            if matches!(segment, "" | "." | "..") {
                return Err(SpiffeIdError::Segment { at });
            }
            at += segment.len();
        }
        Ok(Self { text: text.into(), path_at: path_at as u16 })
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..usize::from(self.path_at)]
    }

    /// The path: empty, or led by a slash.
    pub fn path(&self) -> &str {
        &self.text[usize::from(self.path_at)..]
    }
}

/// Where the first character stands that a trust domain cannot have.
fn trust_domain_end(text: &str) -> Option<usize> {
    text.bytes().position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;
    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(text)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;
    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(text)
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::SpiffeIdError::*;
    use super::*;

    #[test]
    fn parse_follows_the_standard() {
        let longest = format!("spiffe://d/{}", "a".repeat(LONGEST - 11));
        let too_long = format!("{longest}a");
        let domain = "d".repeat(LONGEST_TRUST_DOMAIN + 1);
        let long_domain = format!("spiffe://{domain}/a");
        for (text, want) in [
            ("spiffe://demo.local/ns/apps/sa/backend", Ok("demo.local")),
            ("spiffe://demo.local", Ok("demo.local")),
            ("spiffe://a-b_c.1/A.b-C_9/...", Ok("a-b_c.1")),
            (&longest, Ok("d")),
            (&too_long, Err(TooLong)),
            (&long_domain, Err(TooLong)),
            ("", Err(NotSpiffe)),
            ("https://demo.local/backend", Err(NotSpiffe)),
            ("SPIFFE://demo.local/backend", Err(NotSpiffe)),
            ("spiffe://", Err(NoTrustDomain)),
            ("spiffe:///backend", Err(NoTrustDomain)),
            ("spiffe://demo.local:8443/backend", Err(Char { at: 19 })),
            ("spiffe://user@demo.local/backend", Err(Char { at: 13 })),
            ("spiffe://Demo.local/backend", Err(Char { at: 9 })),
            ("spiffe://demo.local?q", Err(Char { at: 19 })),
            ("spiffe://demo.local#f", Err(Char { at: 19 })),
            ("spiffe://demo.local/a%62", Err(Char { at: 21 })),
            ("spiffe://demo.local/a?q", Err(Char { at: 21 })),
            ("spiffe://demo.local/\u{e9}", Err(Char { at: 20 })),
            ("spiffe://d\u{e9}mo.local/a", Err(Char { at: 10 })),
            ("spiffe://demo.local/", Err(Segment { at: 20 })),
            ("spiffe://demo.local/a//b", Err(Segment { at: 22 })),
            ("spiffe://demo.local/a/", Err(Segment { at: 22 })),
            ("spiffe://demo.local/./a", Err(Segment { at: 20 })),
            ("spiffe://demo.local/apps/../root", Err(Segment { at: 25 })),
        ] {
            let got = SpiffeId::parse(text);
            assert_eq!(got.as_ref().map(SpiffeId::trust_domain), want.as_ref().copied(), "{text}");
            if let Ok(id) = got {
                assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
                assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn a_trust_domain_is_its_name() {
        for (text, want) in [
            ("demo.local", Ok("demo.local")),
            ("spiffe://demo.local", Ok("demo.local")),
            ("", Err(NoTrustDomain)),
            ("spiffe://", Err(NoTrustDomain)),
            ("Demo", Err(Char { at: 0 })),
            ("demo.local/a", Err(Char { at: 10 })),
            ("spiffe://demo.local/a", Err(Char { at: 19 })),
        ] {
            let got = TrustDomain::parse(text);
            assert_eq!(got.as_ref().map(TrustDomain::as_str), want.as_ref().copied(), "{text}");
        }
        let domain = TrustDomain::parse("demo.local").unwrap();
        let backend = domain.member("/backend").unwrap();
        assert_eq!((backend.as_str(), backend.path()), ("spiffe://demo.local/backend", "/backend"));
        assert!(domain.holds(&backend) && domain.holds(&domain.id()));
        assert!(!TrustDomain::parse("demo.loca").unwrap().holds(&backend));
        assert_eq!(domain.member("backend"), Err(Char { at: 19 }), "not demo.localbackend");
        assert_eq!(domain.member("/a/../b"), Err(Segment { at: 22 }));
    }

    #[test]
    fn json_holds_an_id_as_text() {
        let id: SpiffeId = serde_json::from_str("\"spiffe://demo.local/a\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"spiffe://demo.local/a\"");
        assert!(serde_json::from_str::<SpiffeId>("\"demo.local/a\"").is_err());
        assert!(serde_json::from_str::<TrustDomain>("\"demo local\"").is_err());
    }
}

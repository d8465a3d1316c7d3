//! `vault:v3:...`: how ciphertexts, signatures and HMACs name the key version that made them.

use std::fmt;

/// What precedes the version.
const PREFIX: &str = "vault:v";

/// A text of the form `vault:v<version>:<payload>`, split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versioned<'a> {
    /// As it was written; not checked against any key.
    pub(super) version: i64,
    /// What follows: base64.
    pub(super) payload: &'a str,
}

/// Why a text is not of that form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VersionedError {
    NoPrefix,
    Fields,
    Number,
}

impl fmt::Display for VersionedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPrefix => "no prefix",
            Self::Fields => "wrong number of fields",
            Self::Number => "version number could not be decoded",
        })
    }
}

impl<'a> Versioned<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, VersionedError> {
        let rest = text.strip_prefix(PREFIX).ok_or(VersionedError::NoPrefix)?;
        let (version, payload) = rest.split_once(':').ok_or(VersionedError::Fields)?;
        let version = super::encoding::atoi(version).ok_or(VersionedError::Number)?;
        Ok(Self { version, payload })
    }
}

/// The text for what version `version` made.
pub(super) fn print(version: u32, payload: &str) -> String {
    format!("{PREFIX}{version}:{payload}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parse_splits_at_the_first_colon_after_the_version() {
        let ok = |version, payload| Ok(Versioned { version, payload });
        for (text, want) in [
            ("vault:v1:YQ==", ok(1, "YQ==")),
            ("vault:v12:a:b", ok(12, "a:b")),
            ("vault:v1:", ok(1, "")),
            ("vault:v-1:x", ok(-1, "x")),
            ("vault:v+1:x", ok(1, "x")),
            ("vault:v1", Err(VersionedError::Fields)),
            ("vault:v:x", Err(VersionedError::Number)),
            ("vault:v1.5:x", Err(VersionedError::Number)),
            ("vault:v99999999999999999999:x", Err(VersionedError::Number)),
            ("vault:1:x", Err(VersionedError::NoPrefix)),
            ("VAULT:v1:x", Err(VersionedError::NoPrefix)),
            ("", Err(VersionedError::NoPrefix)),
        ] {
            assert_eq!(Versioned::parse(text), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses(version in 1_u32.., payload in ".*") {
            let text = print(version, &payload);
            let parsed = Versioned::parse(&text);
            prop_assert_eq!(parsed, Ok(Versioned { version: version.into(), payload: &payload }));
        }

        #[test]
        fn what_parses_says_what_was_written(text in "(vault:)?v?[0-9+-]{0,4}:?.{0,20}") {
            if let Ok(parsed) = Versioned::parse(&text) {
                let end = format!(":{}", parsed.payload);
                prop_assert!(text.ends_with(&end));
                prop_assert!(text.starts_with("vault:v"));
            }
        }
    }
}

//! Header fields by name. The case of a name does not matter; it is kept for showing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Header fields for the pages of a user interface. This server has none, so they are only kept for
/// the tools that set them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct UiHeaders(pub BTreeMap<String, Vec<String>>);

/// Header fields of requests that go into the audit log, by lower-case name: whether hashed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct AuditedHeaders(pub BTreeMap<String, bool>);

impl UiHeaders {
    /// `name` as Go's HTTP library spells it: `X-Test`.
    pub(crate) fn canonical(name: &str) -> String {
        let word = |word: &str| {
            let mut letters = word.chars();
            match letters.next() {
                Some(first) => {
                    first.to_ascii_uppercase().to_string() + &letters.as_str().to_lowercase()
                }
                None => String::new(),
            }
        };
        name.split('-').map(word).collect::<Vec<_>>().join("-")
    }
}

impl AuditedHeaders {
    /// Those of `headers`, which are by lower-case name, that are recorded, and whether hashed.
    pub(crate) fn among<'a>(
        &'a self,
        headers: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a str, &'a str, bool)> {
        self.0.iter().filter_map(|(name, hmac)| {
            let value = headers.get(name)?;
            Some((name.as_str(), value.as_str(), *hmac))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelt_as_go_does() {
        for (given, want) in
            [("x-test", "X-Test"), ("CONTENT-TYPE", "Content-Type"), ("dnt", "Dnt")]
        {
            assert_eq!(UiHeaders::canonical(given), want);
        }
    }
}

//! What only the running platform knows: addresses, ports, the path of its CA.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Facts that files of the platform directory name as `${postgres.port}`. `$${` writes a `${`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts(pub(crate) BTreeMap<String, String>);

/// A text that cannot be completed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FactError {
    /// The name is not known.
    #[error("${{{name}}} is not known here; known are {known}")]
    Unknown {
        /// What was written.
        name: String,
        /// All that could have been.
        known: String,
    },
    /// `${` without its `}`.
    #[error("${{ without its closing brace")]
    Unclosed,
}

impl Facts {
    /// Replaces every `${name}` in `text`.
    pub(crate) fn complete(&self, text: &str) -> Result<String, FactError> {
        let mut done = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                done.push_str(before);
                done.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            done.push_str(&rest[..at]);
            let end = rest[at..].find('}').ok_or(FactError::Unclosed)?;
            let name = &rest[at + 2..at + end];
            let value = self.0.get(name).ok_or_else(|| FactError::Unknown {
                name: name.to_owned(),
                known: self.0.keys().cloned().collect::<Vec<_>>().join(", "),
            })?;
            done.push_str(value);
            rest = &rest[at + end + 1..];
        }
        done.push_str(rest);
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_in_for_their_names() {
        let facts = Facts(BTreeMap::from([("postgres.port".to_owned(), "5432".to_owned())]));
        for (text, want) in [
            ("plain {{username}}", Ok("plain {{username}}")),
            ("host:${postgres.port}/db", Ok("host:5432/db")),
            ("$${postgres.port}", Ok("${postgres.port}")),
            ("${postgres.port", Err(FactError::Unclosed)),
        ] {
            assert_eq!(facts.complete(text), want.map(str::to_owned), "{text}");
        }
        let unknown = facts.complete("${postgres.prot}").unwrap_err().to_string();
        assert_eq!(unknown, "${postgres.prot} is not known here; known are postgres.port");
    }
}

//! The paths that a rule applies to.

use std::cmp::Ordering;
use std::fmt;

/// A rule's path: exact, a prefix (`kv/data/*`), or with `+` for whole segments (`kv/+/app*`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// Without the trailing `*`.
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Exact,
    Prefix,
    /// With `+` at the start of a segment.
    Segments {
        prefix: bool,
    },
}

impl Pattern {
    /// Reads a rule's path. One leading slash is dropped.
    ///
    /// # Errors
    /// `+*` stands in it; the text says so as the server says it.
    pub(crate) fn parse(path: &str) -> Result<Self, String> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.contains("+*") {
            return Err(format!("path {path:?}: invalid use of wildcards ('+*' is forbidden)"));
        }
        // A plus sign further inside a segment means itself, but a path like `a/+b` is still
        // ranked among those with wildcards.
        let segments = path == "+" || path.starts_with("+/") || path.contains("/+");
        let (text, prefix) = match path.strip_suffix('*') {
            Some(text) => (text, true),
            None => (path, false),
        };
        let kind = match (segments, prefix) {
            (true, prefix) => Kind::Segments { prefix },
            (false, true) => Kind::Prefix,
            (false, false) => Kind::Exact,
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// The path without its trailing `*`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it ends in `*`.
    fn is_prefix(&self) -> bool {
        matches!(self.kind, Kind::Prefix | Kind::Segments { prefix: true })
    }

    /// Whether it can match a path under the folder `prefix`, which ends in `/`.
    pub(crate) fn reaches(&self, prefix: &str) -> bool {
        if self.text.starts_with(prefix) {
            return true;
        }
        match self.kind {
            Kind::Exact => false,
            Kind::Prefix => prefix.starts_with(&self.text),
            Kind::Segments { prefix: is_prefix } => {
                let mut mine = self.text.split('/').peekable();
                for folder in prefix.trim_end_matches('/').split('/') {
                    match mine.next() {
                        Some(segment) if segment == "+" || segment == folder => {}
                        // The rest of the folder falls under the trailing `*`.
                        Some(start) if is_prefix && mine.peek().is_none() => {
                            return folder.starts_with(start);
                        }
                        _ => return false,
                    }
                }
                is_prefix || mine.peek().is_some()
            }
        }
    }

    /// Which of two patterns with wildcards that match the same path decides: the greater. In this
    /// order: the one whose first wildcard comes later, the one without a trailing `*`, the one
    /// with fewer `+`, the longer, the later in the alphabet.
    pub(crate) fn specificity(&self, other: &Self) -> Ordering {
        let rank = |pattern: &Self| {
            let first = match pattern.kind {
                Kind::Segments { .. } => pattern.text.find('+').unwrap_or(pattern.text.len()),
                Kind::Exact | Kind::Prefix => pattern.text.len(),
            };
            let wildcards = match pattern.kind {
                Kind::Segments { .. } => pattern.text.split('/').filter(|s| *s == "+").count(),
                Kind::Exact | Kind::Prefix => 0,
            };
            (first, !pattern.is_prefix(), usize::MAX - wildcards, pattern.text.len())
        };
        rank(self).cmp(&rank(other)).then_with(|| self.text.cmp(&other.text))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.is_prefix() { f.write_str("*") } else { Ok(()) }
    }
}

//! What is wrong with `holdfast.toml`, all of it, each at its place.

use std::ops::Range;
use std::path::Path;

use holdfast_types::closest;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Everything found wrong in one file, printed together with the lines it is about.
#[derive(Debug, thiserror::Error)]
#[error("{} is not right", .source_code.name())]
pub(crate) struct ConfigError {
    source_code: NamedSource<String>,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The dotted key, such as `vault.engine`, or nothing when the file is no TOML.
    pub(crate) key: String,
    /// What is wrong with it, as the rest of a sentence that starts with the key.
    pub(crate) message: String,
    /// Where it stands, in bytes.
    pub(crate) span: Option<Range<usize>>,
}

/// Gathers problems by key while a file is resolved.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that the value of `key` (dotted, such as `vault.engine`) `message`, as in
    /// "is longer than the other".
    pub(crate) fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { key: key.into(), message: message.into(), span: None });
    }

    /// Passes when nothing was noted. Otherwise finds where each key stands in `text`.
    pub(super) fn into_result(self, path: &Path, text: &str) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let table = DeTable::parse(text).ok();
        let mut problems = self.0;
        for problem in &mut problems {
            problem.span = table.as_ref().and_then(|table| locate(table, &problem.key));
        }
        Err(ConfigError::new(path, text, problems))
    }
}

impl ConfigError {
    fn new(path: &Path, text: &str, problems: Vec<Problem>) -> Self {
        let source_code = NamedSource::new(path.display().to_string(), text.to_owned());
        Self { source_code: source_code.with_language("TOML"), problems }
    }

    /// The parser's complaint: a syntax error, an unknown key, a value of the wrong kind.
    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let mut message = error.message().trim().to_owned();
        if let Some(hint) = closest_expected(&message) {
            message = format!("{message}; did you mean `{hint}`?");
        }
        Self::new(path, text, vec![Problem { key: String::new(), message, span: error.span() }])
    }

    /// Each problem by itself.
    pub(super) fn sentences(&self) -> Vec<String> {
        self.problems.iter().map(Problem::to_string).collect()
    }

    #[cfg(test)]
    pub(super) fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.problems.iter().map(|problem| (problem.key.as_str(), problem.message.as_str()))
    }
}

impl Diagnostic for ConfigError {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source_code)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.problems.iter().filter_map(|problem| {
            let span = SourceSpan::from(problem.span.clone()?);
            Some(LabeledSpan::new_with_span(Some(problem.to_string()), span))
        });
        Some(Box::new(labels))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        // What stands nowhere in the file, because it is missing from it.
        let missing = self.problems.iter().filter(|problem| problem.span.is_none());
        let lines: Vec<_> = missing.map(Problem::to_string).collect();
        (!lines.is_empty()).then(|| Box::new(lines.join("\n")) as _)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.message),
            key => write!(f, "{key} {}", self.message),
        }
    }
}

/// Where the value of a dotted key stands, or that of the longest part of it which exists.
fn locate(table: &Spanned<DeTable<'_>>, key: &str) -> Option<Range<usize>> {
    let mut table = table.get_ref();
    let mut found = None;
    let mut rest = key;
    // Names may hold dots, so the longest that matches is taken.
    'segments: while !rest.is_empty() {
        let ends = rest.match_indices('.').map(|(at, _)| at).chain([rest.len()]);
        for end in ends.collect::<Vec<_>>().into_iter().rev() {
            let Some((name, value)) = table.get_key_value(&rest[..end]) else { continue };
            found = Some(match value.get_ref() {
                DeValue::Table(_) => name.span(),
                _ => value.span(),
            });
            rest = rest[end..].trim_start_matches('.');
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => return found,
            }
            continue 'segments;
        }
        return found;
    }
    found
}

/// serde lists what it expected; the entry nearest to what stands there is most often meant.
fn closest_expected(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    message.starts_with("unknown ").then(|| closest(written, quoted))?
}

/// What to say after a name that is not one of `names`.
pub(crate) fn known(written: &str, names: &[&str]) -> String {
    match closest(written, names.iter().copied()) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_it_stands() {
        let text = "[vault]\nengine = 1\n[postgres.databases.\"a.b\"]\nowner = \"x\"\n";
        let table = DeTable::parse(text).unwrap();
        for (key, want) in [
            ("vault.engine", Some("1")),
            ("vault", Some("vault")),
            ("postgres.databases.a.b.owner", Some("\"x\"")),
            ("vault.listen", Some("vault")),
            ("mesh", None),
        ] {
            assert_eq!(locate(&table, key).map(|span| &text[span]), want, "{key}");
        }
    }
}

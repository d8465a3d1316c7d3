//! Roles: which workloads log in, and what they get.

use holdfast_logical::{Error, Fields};
use holdfast_types::SpiffeId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::token_params::RoleTokens;

/// A role as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// Life and policies of the tokens that it gives.
    pub(super) tokens: RoleTokens,
    /// Of the paths of SPIFFE IDs; one must fit.
    pub(super) workload_id_patterns: Vec<String>,
    /// Goes into the display name of tokens. Empty: the SPIFFE ID.
    pub(super) display_name: String,
}

impl Role {
    /// Takes over the fields of a request; those that are missing stay.
    ///
    /// # Errors
    /// 400: a field of the wrong kind, or no pattern.
    pub(super) fn update(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        self.tokens.update(fields, &[])?;
        if let Some(patterns) = fields.strings("workload_id_patterns")? {
            self.workload_id_patterns = patterns;
        }
        if let Some(name) = fields.string("display_name")? {
            self.display_name = name;
        }
        if self.workload_id_patterns.is_empty() {
            return Err(Error::invalid("'workload_id_patterns' must name at least one pattern"));
        }
        match self.workload_id_patterns.iter().find(|pattern| !is_pattern(pattern)) {
            Some(pattern) => Err(Error::invalid(format!(
                "'workload_id_patterns' holds {pattern:?}: a pattern is a path in which \"+\" \
                 stands for one segment, and \"*\" at the end for any rest"
            ))),
            None => Ok(()),
        }
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        let mut data = Map::new();
        self.tokens.print(&mut data);
        data.insert("display_name".to_owned(), self.display_name.clone().into());
        data.insert("workload_id_patterns".to_owned(), self.workload_id_patterns.clone().into());
        Value::Object(data)
    }

    /// Whether a workload may log in by it.
    pub(super) fn takes(&self, id: &SpiffeId) -> bool {
        self.workload_id_patterns.iter().any(|pattern| fits(pattern, id.path()))
    }
}

/// Whether a pattern can fit anything: its segments are those of SPIFFE IDs, or `+`, and `*` ends
/// the last.
fn is_pattern(pattern: &str) -> bool {
    let path = pattern.strip_prefix('/').unwrap_or(pattern);
    let segments: Vec<_> = path.split('/').collect();
    let fixed = |text: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        text.bytes().all(known) && !matches!(text, "." | "..")
    };
    segments.iter().enumerate().all(|(index, segment)| {
        let is_last = index + 1 == segments.len();
        match segment.strip_suffix('*') {
            Some(begin) if is_last => fixed(begin),
            _ => *segment == "+" || (!segment.is_empty() && fixed(segment)),
        }
    })
}

/// Whether `path`, with a `/` at its begin, is what `pattern` says.
fn fits(pattern: &str, path: &str) -> bool {
    let mut pattern = pattern.strip_prefix('/').unwrap_or(pattern).split('/').peekable();
    let mut rest = path.strip_prefix('/').unwrap_or(path);
    while let Some(wanted) = pattern.next() {
        if let (Some(begin), None) = (wanted.strip_suffix('*'), pattern.peek()) {
            return rest.strip_prefix(begin).is_some_and(|rest| !rest.is_empty());
        }
        let (segment, after) = rest.split_once('/').map_or((rest, None), |(a, b)| (a, Some(b)));
        if segment.is_empty() || (wanted != "+" && wanted != segment) {
            return false;
        }
        match (pattern.peek(), after) {
            (None, None) => return true,
            (Some(_), Some(after)) => rest = after,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_whole_segments() {
        for (pattern, path, want) in [
            ("/env/+/svc/web", "/env/prod/svc/web", true),
            ("env/+/svc/web", "/env/prod/svc/web", true),
            ("/env/+/svc/web", "/env/prod/eu/svc/web", false),
            ("/env/+/svc/web", "/env/prod/svc/web/x", false),
            ("/env/+/svc/web", "/env/prod/svc", false),
            ("/env/*", "/env/prod/svc", true),
            ("/env/*", "/environment", false),
            ("/env/*", "/env", false),
            ("/env*", "/environment/x", true),
            ("*", "/anything/at/all", true),
            ("/+", "/one", true),
            ("/+", "/one/two", false),
            ("/a", "/a", true),
            ("/a", "/A", false),
        ] {
            assert!(is_pattern(pattern), "{pattern}");
            assert_eq!(fits(pattern, path), want, "{pattern} {path}");
        }
        for pattern in ["", "/", "/a//b", "/a/", "/a*/b", "/a/../b", "spiffe://d/a", "/a?", "/a+"] {
            assert!(!is_pattern(pattern), "{pattern}");
        }
    }
}

//! What can be asked of the server.

use serde_json::{Map, Value};

use super::mounts::Mount;

/// A request whose answer templates use. Two templates that ask the same share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// Reads a path.
    Read {
        /// Such as `kv/data/app`.
        path: String,
        /// The query, such as `version=2`.
        query: Vec<(String, String)>,
    },
    /// Names what is below a path.
    List {
        /// Such as `kv/metadata/app`.
        path: String,
    },
    /// Writes to a path, for what that answers: a certificate, a token.
    Write {
        /// Such as `pki/issue/web`.
        path: String,
        /// The fields.
        fields: Vec<(String, String)>,
    },
    /// Asks which mount a path belongs to.
    Mount {
        /// The path as a template names it.
        path: String,
    },
}

impl Request {
    /// The path that is asked.
    pub fn path(&self) -> &str {
        match self {
            Self::Read { path, .. }
            | Self::List { path }
            | Self::Write { path, .. }
            | Self::Mount { path } => path,
        }
    }

    /// Whether asking twice is the same as asking once.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }

    /// The request as it has to be made at `mount`: in KV version 2 secrets are at `data/`, their
    /// names at `metadata/`, which templates may leave out.
    #[must_use]
    pub fn at(self, mount: &Mount) -> Self {
        if mount.kv != Some(2) {
            return self;
        }
        match self {
            Self::Read { path, query } => Self::Read { path: mount.data(&path), query },
            Self::List { path } => Self::List { path: mount.metadata(&path) },
            other => other,
        }
    }

    /// Whether a change of `path`, as events name it, can change the answer.
    pub fn is_touched_by(&self, changed: &str) -> bool {
        match self {
            Self::Read { path, .. } => path.trim_end_matches('/') == changed,
            Self::List { path } => {
                // A list of version 2 is at `metadata/`, and what changes is at `data/`.
                let folder = path.trim_end_matches('/');
                let below = |folder: &str| {
                    changed.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
                };
                let swapped = folder.replacen("/metadata", "/data", 1);
                below(folder) || below(&swapped)
            }
            Self::Write { .. } | Self::Mount { .. } => false,
        }
    }

    /// The fields of a write as the body of a request. A field that stands several times is a list.
    pub fn body(fields: &[(String, String)]) -> Value {
        let mut body = Map::new();
        for (name, text) in fields {
            let text = Value::from(text.as_str());
            match body.get_mut(name) {
                None => {
                    body.insert(name.clone(), text);
                }
                Some(Value::Array(list)) => list.push(text),
                Some(first) => *first = Value::Array(vec![first.take(), text]),
            }
        }
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(path: &str) -> Request {
        Request::Read { path: path.into(), query: Vec::new() }
    }

    #[test]
    fn paths_of_version_2_may_leave_out_their_prefix() {
        let kv = Mount { path: "team/kv/".into(), kv: Some(2) };
        for (asked, want) in [
            ("team/kv/app", "team/kv/data/app"),
            ("team/kv/data/app", "team/kv/data/app"),
            ("team/kv/metadata/app", "team/kv/metadata/app"),
            ("team/kv/database", "team/kv/data/database"),
        ] {
            assert_eq!(read(asked).at(&kv), read(want), "{asked}");
        }
        for (asked, want) in [
            ("team/kv", "team/kv/metadata"),
            ("team/kv/app", "team/kv/metadata/app"),
            ("team/kv/metadata/app/", "team/kv/metadata/app/"),
        ] {
            let list = |path: &str| Request::List { path: path.into() };
            assert_eq!(list(asked).at(&kv), list(want), "{asked}");
        }
        let plain = Mount { path: "team/kv/".into(), kv: Some(1) };
        assert_eq!(read("team/kv/app").at(&plain), read("team/kv/app"));
    }

    #[test]
    fn a_change_touches_its_own_path_alone() {
        let list = |path: &str| Request::List { path: path.into() };
        for (request, changed, want) in [
            (read("kv/data/a"), "kv/data/a", true),
            (read("kv/data/a"), "kv/data/ab", false),
            (read("kv/data/a"), "kv/data/a/b", false),
            (list("kv/metadata/a"), "kv/data/a/b", true),
            (list("kv/metadata/a/"), "kv/data/a/b", true),
            (list("kv/metadata/a"), "kv/data/ab", false),
            (list("one/a"), "one/a/b", true),
        ] {
            assert_eq!(request.is_touched_by(changed), want, "{request:?} {changed}");
        }
    }

    #[test]
    fn repeated_fields_are_lists() {
        let fields = [("a", "1"), ("b", "x"), ("a", "2"), ("a", "3")];
        let fields: Vec<_> = fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        assert_eq!(Request::body(&fields), json!({ "a": ["1", "2", "3"], "b": "x" }));
    }
}

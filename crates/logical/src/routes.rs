//! What a backend serves, as data: help, the `OpenAPI` document and the checks of access are made
//! from it.

use crate::Operation;

/// One path of a backend and what can be done there. A backend's table is a constant:
///
/// ```
/// use holdfast_logical::{Field, Operation, Route};
///
/// const ROUTES: &[Route] = &[
///     Route::new("roles", &[Operation::List], "List the roles."),
///     Route::new(
///         "roles/{name}",
///         &[Operation::Read, Operation::Create, Operation::Update, Operation::Delete],
///         "Read, write or remove a role.",
///     )
///     .fields(&[
///         Field::string("name", "Name of the role."),
///         Field::strings("allowed", "What it may do.").required(),
///         Field::duration("ttl", "How long it may do so."),
///     ]),
/// ];
/// assert!(ROUTES[1].matches("roles/web"));
/// ```
///
/// In a pattern `{name}` stands for one segment that is not empty, `{path*}` for one or more
/// segments, each of which may be empty. A slash at a path's end means nothing: the folder that is
/// listed is written without it. Of several routes that match, the first counts, so what is exact
/// stands before what is open.
///
/// Whether a path needs a token or `sudo` is not repeated here: [`crate::SpecialPaths`] says it.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The path below the mount, such as `role/{role_name}/secret-id`.
    pub pattern: &'static str,
    /// What is served there. `Update` stands for every write; `Create` stands beside it where
    /// [`crate::Backend::exists`] tells the two apart.
    pub operations: &'static [Operation],
    /// One line for people.
    pub help: &'static str,
    /// What it takes: in the path, the query or the body.
    pub fields: &'static [Field],
}

/// A field of a request.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// One line for people.
    pub help: &'static str,
    /// Whether a write without it is refused.
    pub required: bool,
}

/// What a field holds. [`crate::Fields`] reads each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    String,
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// Seconds, or text such as `1h`.
    Duration,
    /// A list of texts.
    Strings,
    /// Text by text.
    StringMap,
    /// Any JSON object.
    Object,
}

impl FieldKind {
    /// The name in help texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Integer => "int",
            Self::Duration => "duration (sec)",
            Self::Strings => "slice",
            Self::StringMap => "keypair",
            Self::Object => "map",
        }
    }
}

impl Field {
    const fn new(name: &'static str, kind: FieldKind, help: &'static str) -> Self {
        Self { name, kind, help, required: false }
    }

    /// Text.
    pub const fn string(name: &'static str, help: &'static str) -> Self {
        Self::new(name, FieldKind::String, help)
    }

    /// True or false.
    pub const fn bool(name: &'static str, help: &'static str) -> Self {
        Self::new(name, FieldKind::Bool, help)
    }

    /// A whole number.
    pub const fn integer(name: &'static str, help: &'static str) -> Self {
        Self::new(name, FieldKind::Integer, help)
    }

    /// A time.
    pub const fn duration(name: &'static str, help: &'static str) -> Self {
        Self::new(name, FieldKind::Duration, help)
    }

    /// A list of texts.
    pub const fn strings(name: &'static str, help: &'static str) -> Self {
        Self::new(name, FieldKind::Strings, help)
    }

    /// Text by text.
    pub const fn string_map(name: &'static str, help: &'static str) -> Self {
        Self::new(name, FieldKind::StringMap, help)
    }

    /// Any JSON object.
    pub const fn object(name: &'static str, help: &'static str) -> Self {
        Self::new(name, FieldKind::Object, help)
    }

    /// The same, and a write without it is refused.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl Route {
    /// A route that takes no fields but those of its path.
    pub const fn new(
        pattern: &'static str,
        operations: &'static [Operation],
        help: &'static str,
    ) -> Self {
        Self { pattern, operations, help, fields: &[] }
    }

    /// The same with what it takes.
    pub const fn fields(mut self, fields: &'static [Field]) -> Self {
        self.fields = fields;
        self
    }

    /// Whether `path`, below the mount, is one of this route's.
    pub fn matches(&self, path: &str) -> bool {
        let pattern: Vec<_> = self.pattern.split('/').collect();
        let path: Vec<_> = path.split('/').collect();
        fits(&pattern, &path)
    }

    /// The names in braces, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.pattern.split('/').filter_map(parameter)
    }

    /// A path of this route, for asking which rules hold for it.
    pub fn sample(&self) -> String {
        let segment = |segment| if parameter(segment).is_some() { "x" } else { segment };
        self.pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
    }
}

/// The name of a segment in braces.
fn parameter(segment: &'static str) -> Option<&'static str> {
    Some(segment.strip_prefix('{')?.strip_suffix('}')?.trim_end_matches('*'))
}

fn fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], [] | [""]) => true,
        ([first, rest @ ..], path) if first.ends_with("*}") => {
            (1..=path.len()).any(|taken| fits(rest, &path[taken..]))
        }
        ([first, rest @ ..], [segment, below @ ..]) => {
            let same = if first.starts_with('{') { !segment.is_empty() } else { first == segment };
            same && fits(rest, below)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_segments() {
        for (pattern, path, want) in [
            ("roles", "roles", true),
            ("roles", "roles/", true),
            ("roles", "roles/a", false),
            ("roles/{name}", "roles/a", true),
            ("roles/{name}", "roles/a/", true),
            ("roles/{name}", "roles/", false),
            ("roles/{name}", "roles/a/b", false),
            ("roles/{name}/id", "roles/a/id", true),
            ("data/{path*}", "data/a/b", true),
            ("data/{path*}", "data/", true),
            ("data/{path*}", "data", false),
            ("mounts/{path*}/tune", "mounts/a/b/tune", true),
            ("mounts/{path*}/tune", "mounts/a/b", false),
            ("{path*}", "", true),
        ] {
            assert_eq!(Route::new(pattern, &[], "").matches(path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn parameters_are_the_names_in_braces() {
        let route = Route::new("mounts/{path*}/by/{name}", &[], "");
        assert_eq!(route.parameters().collect::<Vec<_>>(), ["path", "name"]);
        assert_eq!(route.sample(), "mounts/x/by/x");
    }
}

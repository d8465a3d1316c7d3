//! From the request target to a path and a query, with everything refused that could mean two
//! things to two readers.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// The longest path in bytes, after decoding. Storage keys are not longer either.
pub(super) const MAX_PATH: usize = 16 * 1024;

/// How many fields a query or an HTML form may have, as in Go. A parsed field takes up to a hundred
/// times the memory of its text (`a&a&a&...`), so the bound on bytes alone does not bound memory.
const MAX_FIELDS: usize = 10_000;

/// Why a path or a query is refused. All are the client's fault: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// A `%` is not followed by two hexadecimal digits.
    #[error("invalid URL escape")]
    Escape,
    /// The decoded bytes are not UTF-8.
    #[error("path contains invalid UTF-8 characters")]
    Utf8,
    /// NUL, a line break, or another control character.
    #[error("path contains a control character")]
    Control,
    /// `a//b`.
    #[error("path contains an empty segment (//)")]
    EmptySegment,
    /// `.` or `..` as a segment.
    #[error("relative paths not supported")]
    Relative,
    /// Longer than [`MAX_PATH`].
    #[error("path is longer than 16384 bytes")]
    TooLong,
    /// More than [`MAX_FIELDS`].
    #[error("more than 10000 fields")]
    TooMany,
}

/// Decodes what follows `/v1/` in the target: `kv/data/a%20b` gives `kv/data/a b`.
///
/// An escaped slash counts as a slash, as in the real server; so all checks are made on the decoded
/// text, and what passes them here cannot be read another way by the policies or the storage.
///
/// # Errors
/// The first rule that the path breaks.
pub(super) fn decode(raw: &str) -> Result<String, PathError> {
    if !escapes_are_whole(raw) {
        return Err(PathError::Escape);
    }
    let path = percent_decode_str(raw).decode_utf8().map_err(|_| PathError::Utf8)?;
    if path.len() > MAX_PATH {
        return Err(PathError::TooLong);
    }
    if path.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if path.contains("//") || path.starts_with('/') {
        return Err(PathError::EmptySegment);
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(PathError::Relative);
    }
    Ok(path.into_owned())
}

/// The query's fields: a name that occurs once gives a string, one that is repeated an array.
///
/// # Errors
/// A broken escape, text that is not UTF-8, or more than [`MAX_FIELDS`].
pub(super) fn query(raw: &str) -> Result<Map<String, Value>, PathError> {
    if raw.split('&').filter(|pair| !pair.is_empty()).nth(MAX_FIELDS).is_some() {
        return Err(PathError::TooMany);
    }
    let mut fields = Map::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (form_text(name)?, Value::String(form_text(value)?));
        match fields.get_mut(&name) {
            None => {
                fields.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(fields)
}

/// One name or value of a query or an HTML form: `+` is a blank.
fn form_text(raw: &str) -> Result<String, PathError> {
    if !escapes_are_whole(raw) {
        return Err(PathError::Escape);
    }
    let spaced = raw.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8().map_err(|_| PathError::Utf8)?;
    Ok(text.into_owned())
}

fn escapes_are_whole(raw: &str) -> bool {
    raw.split('%').skip(1).all(|rest| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_refuses_what_is_ambiguous() {
        use PathError::*;
        for (raw, want) in [
            ("kv/data/app", Ok("kv/data/app")),
            ("", Ok("")),
            ("kv/", Ok("kv/")),
            ("kv/a%20b", Ok("kv/a b")),
            ("kv/a%2Fb", Ok("kv/a/b")),
            ("kv/a+b", Ok("kv/a+b")),
            ("kv/..a", Ok("kv/..a")),
            ("kv/a%25b", Ok("kv/a%b")),
            ("kv/%C3%A4", Ok("kv/ä")),
            ("kv/a%zz", Err(Escape)),
            ("kv/a%2", Err(Escape)),
            ("kv/a%00b", Err(Control)),
            ("kv/a%0ab", Err(Control)),
            ("kv/a%ffb", Err(Utf8)),
            ("kv//a", Err(EmptySegment)),
            ("kv/%2Fa", Err(EmptySegment)),
            ("/kv", Err(EmptySegment)),
            ("kv/../sys", Err(Relative)),
            ("kv/%2e%2e/sys", Err(Relative)),
            ("./kv", Err(Relative)),
            ("kv/..", Err(Relative)),
        ] {
            assert_eq!(decode(raw).as_deref(), want.as_ref().map(|text| *text), "{raw:?}");
        }
        assert!(decode(&"a".repeat(10_000)).is_ok());
        assert_eq!(decode(&"a".repeat(MAX_PATH + 1)), Err(TooLong));
    }

    #[test]
    fn query_keeps_repeated_names_together() {
        let fields = query("version=2&list=true&x=a+b&x=c%26&flag&x=").unwrap();
        let want = serde_json::json!(
            {"version": "2", "list": "true", "x": ["a b", "c&", ""], "flag": ""}
        );
        assert_eq!(Value::Object(fields), want);
        assert_eq!(query("a=%4"), Err(PathError::Escape));
        assert_eq!(query("a=%ff"), Err(PathError::Utf8));
        assert_eq!(query(&"a&".repeat(MAX_FIELDS)).unwrap().len(), 1);
        assert_eq!(query(&"a&".repeat(MAX_FIELDS + 1)), Err(PathError::TooMany));
    }
}

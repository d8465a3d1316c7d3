//! Request bodies in JSON, within bounds, and refused in the real server's words.

use serde_json::{Map, Value};

mod explain;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: usize = 100;
/// How many values a body may hold. A parsed value takes up to a hundred times the memory of its
/// text (`1,1,1,...`), so the bound on bytes alone does not bound memory.
const MAX_VALUES: usize = 300_000;

/// Why a body is refused: 400 with these words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonError {
    /// It is not a JSON object; the words are those of the real server.
    #[error("failed to decode JSON input: {0}")]
    Malformed(String),
    /// It is nested deeper than any API call has use for.
    #[error("failed to decode JSON input: exceeded max depth")]
    TooDeep,
    /// It holds more values than any API call has use for.
    #[error("refused JSON input due to high complexity: exceeded maximum number of values")]
    TooMany,
}

/// Parses a body. Nothing, blanks and `null` are an empty object; what follows the first JSON value
/// is ignored, as the real server does. Bytes that are no UTF-8 are replaced by U+FFFD.
///
/// # Errors
/// What is wrong with it, without quoting more than one character.
pub(super) fn parse(body: &[u8]) -> Result<Map<String, Value>, JsonError> {
    check_bounds(body)?;
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match values.next() {
        None | Some(Ok(Value::Null)) => Ok(Map::new()),
        Some(Ok(Value::Object(fields))) => {
            let rest = body.get(values.byte_offset()..).unwrap_or_default();
            if let Some(reason) = explain::trailing(rest) {
                return Err(JsonError::Malformed(reason));
            }
            if !fields.values().all(is_in_range) {
                return Err(JsonError::Malformed("number out of range".to_owned()));
            }
            Ok(fields)
        }
        Some(Ok(other)) => {
            let kind = match other {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                _ => "array",
            };
            Err(JsonError::Malformed(format!(
                "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            )))
        }
        Some(Err(error)) => match std::str::from_utf8(body) {
            Err(_) => parse(String::from_utf8_lossy(body).as_bytes()),
            Ok(text) => match (explain::syntax_error(text), without_lone_surrogates(text)) {
                (Some(reason), _) => Err(JsonError::Malformed(reason)),
                (None, Some(text)) => parse(text.as_bytes()),
                (None, None) => Err(JsonError::Malformed(without_position(&error))),
            },
        },
    }
}

/// Whether every number in it is one that others can read, too. Numbers are kept as they are
/// written, of any size and precision; but one that is no 64-bit float, not even nearly, such as
/// `1e400`, is infinite to most who would read it.
fn is_in_range(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Array(items) => items.iter().all(is_in_range),
        Value::Object(fields) => fields.values().all(is_in_range),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// One pass over the bytes, which counts without understanding: enough to bound what the parser
/// will build.
fn check_bounds(body: &[u8]) -> Result<(), JsonError> {
    let (mut depth, mut values) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in body {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        if values > MAX_VALUES {
            return Err(JsonError::TooMany);
        }
    }
    Ok(())
}

/// `text` with every half of a surrogate pair that stands alone, such as `\ud800`, replaced by
/// `\ufffd`, as Go's decoder reads it. None where there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut replaced = text.to_owned();
    let mut at = 0;
    while let Some(offset) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += offset;
        match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                replaced.replace_range(at..at + 6, "\\ufffd");
                at += 6;
            }
            Some(_) => at += 6,
            // An escape of one character, which may be another backslash.
            None => at += 2,
        }
    }
    (replaced != text).then_some(replaced)
}

/// serde's message without "at line 1 column 7", for what [`explain`] takes for valid.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;

//! A key's `custom_metadata`: what people note down beside a secret, within limits.

use std::collections::BTreeMap;

use holdfast_logical::Error;
use serde_json::{Map, Value};

const MAX_PAIRS: usize = 64;
/// In bytes.
const MAX_KEY: usize = 128;
/// In bytes.
const MAX_VALUE: usize = 512;

/// Reads the pairs of a request. Scalars are taken as text; null is kept as none, which a patch
/// removes by.
///
/// # Errors
/// 400 for a value that is a list or an object.
pub(super) fn parse(pairs: &Map<String, Value>) -> Result<BTreeMap<String, Option<String>>, Error> {
    let parsed = pairs.iter().map(|(name, value)| {
        let kind = match value {
            Value::Null => return Ok((name.clone(), None)),
            Value::String(text) => return Ok((name.clone(), Some(text.clone()))),
            Value::Number(number) => return Ok((name.clone(), Some(number.to_string()))),
            Value::Bool(flag) => return Ok((name.clone(), Some(u8::from(*flag).to_string()))),
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        };
        Err(Error::invalid(format!(
            "custom_metadata validation failed: '' expected type 'string', got unconvertible type \
             '{kind}'"
        )))
    });
    parsed.collect()
}

/// Checks the pairs that a key is to have, all of them: how many, how long, and that they print.
///
/// # Errors
/// 400 with every problem at once.
pub(super) fn check(pairs: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut problems = Vec::new();
    if pairs.len() > MAX_PAIRS {
        let count = pairs.len();
        return Err(refusal(&[format!(
            "payload must contain at most {MAX_PAIRS} keys, provided {count}"
        )]));
    }
    for (name, value) in pairs {
        if name.is_empty() || name.len() > MAX_KEY {
            problems.push(format!(
                "length of key {name:?} is {} but must be 0 < len(key) <= {MAX_KEY}",
                name.len()
            ));
        }
        if value.is_empty() || value.len() > MAX_VALUE {
            problems.push(format!(
                "length of value for key {name:?} is {} but must be 0 < len(value) <= {MAX_VALUE}",
                value.len()
            ));
        }
        if !is_printable(name) {
            let quoted = quote(name);
            problems.push(format!("key {quoted} ({name}) contains unprintable characters"));
        }
        if !is_printable(value) {
            problems.push(format!("value for key {name:?} contains unprintable characters"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(refusal(&problems)) }
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// `text` as Go quotes it, where control characters are concerned.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' | '"' | '\\' => quoted.extend(c.escape_default()),
            control if control.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The layout is that of Go's multierror package.
fn refusal(problems: &[String]) -> Error {
    let mut message = match problems {
        [_] => "1 error occurred:\n".to_owned(),
        _ => format!("{} errors occurred:\n", problems.len()),
    };
    for problem in problems {
        message.push_str(&format!("\t* custom_metadata validation failed: {problem}\n"));
    }
    message.push('\n');
    Error::Invalid(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(pairs: &Value) -> Result<(), String> {
        let parsed = parse(pairs.as_object().unwrap()).map_err(|error| error.to_string())?;
        let pairs = parsed.into_iter().map(|(name, value)| (name, value.unwrap_or_default()));
        check(&pairs.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn scalars_are_text() {
        let parsed = parse(json!({"a": 1, "b": true, "c": "x"}).as_object().unwrap()).unwrap();
        let values: Vec<_> = parsed.values().map(|value| value.as_deref().unwrap()).collect();
        assert_eq!(values, ["1", "1", "x"]);
    }

    #[test]
    fn limits_are_openbaos() {
        assert_eq!(checked(&json!({"k".repeat(128): "v".repeat(512)})), Ok(()));
        for (pairs, want) in [
            (
                json!({"": "v", "a": ""}),
                "2 errors occurred:\n\t* custom_metadata validation failed: length of key \"\" is \
                 0 but must be 0 < len(key) <= 128\n\t* custom_metadata validation failed: length \
                 of value for key \"a\" is 0 but must be 0 < len(value) <= 512\n\n",
            ),
            (
                json!({"a": "v\u{1}"}),
                "1 error occurred:\n\t* custom_metadata validation failed: value for key \"a\" \
                 contains unprintable characters\n\n",
            ),
            (
                json!({"a\u{1}": "v"}),
                "1 error occurred:\n\t* custom_metadata validation failed: key \"a\\x01\" \
                 (a\u{1}) contains unprintable characters\n\n",
            ),
            (
                json!({"a": {"b": 1}}),
                "custom_metadata validation failed: '' expected type 'string', got unconvertible \
                 type 'map[string]interface {}'",
            ),
        ] {
            assert_eq!(checked(&pairs), Err(want.to_owned()), "{pairs}");
        }
        let many: Map<String, Value> = (0..65).map(|i| (format!("k{i}"), json!("v"))).collect();
        let refused = checked(&many.into()).unwrap_err();
        assert!(refused.contains("payload must contain at most 64 keys, provided 65"), "{refused}");
        assert!(checked(&json!({"k".repeat(129): "v"})).is_err());
        assert!(checked(&json!({"k": "v".repeat(513)})).is_err());
    }
}

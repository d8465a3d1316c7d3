//! `key=value` arguments, and the files and standard input that they name.

use std::fs;
use std::io::{self, Read};

use serde_json::{Map, Value};

use super::Failure;

/// Reads arguments such as `key=value`, `key=@file`, `key=-`, `@file.json` and `-`, the last two of
/// which hold a JSON object. A key that comes twice becomes a list; `key=\@x` is the text `@x`.
pub(super) fn parse(
    arguments: &[String],
    interactive: bool,
) -> Result<Map<String, Value>, Failure> {
    let mut input = Input { used: false, interactive };
    let mut map = Map::new();
    for argument in arguments {
        add(&mut map, argument, &mut input).map_err(|problem| {
            Failure::Usage(format!(
                "Failed to parse K=V data: invalid key/value pair {argument:?}: {problem}"
            ))
        })?;
    }
    Ok(map)
}

/// The same for a query: every value as text, lists as repeated keys.
pub(super) fn parse_query(
    arguments: &[String],
    interactive: bool,
) -> Result<Vec<(String, String)>, Failure> {
    let mut query = Vec::new();
    for (key, value) in parse(arguments, interactive)? {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match value {
            Value::Array(items) => {
                query.extend(items.iter().map(|item| (key.clone(), text(item))));
            }
            value => query.push((key, text(&value))),
        }
    }
    Ok(query)
}

/// Borrows a query the way that the client takes it.
pub(super) fn as_pairs(query: &[(String, String)]) -> Vec<(&str, &str)> {
    query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Standard input, which is read once at most.
struct Input {
    used: bool,
    interactive: bool,
}

impl Input {
    fn read(&mut self) -> Result<String, String> {
        if std::mem::replace(&mut self.used, true) {
            return Err("stdin already consumed".into());
        }
        let mut text = String::new();
        if self.interactive {
            io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
        }
        Ok(text)
    }
}

fn add(map: &mut Map<String, Value>, argument: &str, input: &mut Input) -> Result<(), String> {
    let Some((key, value)) = argument.split_once('=') else {
        return match argument.strip_prefix('@') {
            _ if argument.is_empty() => Ok(()),
            _ if argument == "-" => merge(map, &input.read()?),
            Some(path) => merge(map, &read_file(path)?),
            None => Err("format must be key=value".into()),
        };
    };
    let value = match value.strip_prefix('@') {
        Some(path) => read_file(path).map_err(|error| format!("error reading file: {error}"))?,
        None if value == "-" => input.read()?,
        None => value
            .strip_prefix('\\')
            .filter(|rest| rest.starts_with('@'))
            .unwrap_or(value)
            .to_owned(),
    };
    match map.get_mut(key) {
        None => {
            map.insert(key.to_owned(), Value::String(value));
        }
        Some(Value::Array(items)) => items.push(Value::String(value)),
        Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
    }
    Ok(())
}

fn merge(map: &mut Map<String, Value>, text: &str) -> Result<(), String> {
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))?;
    map.extend(fields);
    Ok(())
}

fn read_file(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        io::ErrorKind::InvalidData => format!("{path} is not UTF-8 text"),
        _ => format!("open {path}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Value, String> {
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        match parse(&arguments, false) {
            Ok(map) => Ok(map.into()),
            Err(Failure::Usage(text)) => Err(text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_become_an_object() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{\"n\": 1}").unwrap();
        let path = file.path().display();
        for (arguments, want) in [
            (vec!["a=b=c".to_owned(), "e=".to_owned()], json!({"a": "b=c", "e": ""})),
            (vec!["a=1".to_owned(), "a=2".to_owned()], json!({"a": ["1", "2"]})),
            (vec!["a=\\@x".to_owned()], json!({"a": "@x"})),
            (vec![format!("@{path}"), "b=".to_owned()], json!({"n": 1, "b": ""})),
            (vec![format!("a=@{path}")], json!({"a": "{\"n\": 1}"})),
        ] {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            assert_eq!(parsed(&arguments), Ok(want), "{arguments:?}");
        }
    }

    #[test]
    fn other_arguments_are_refused() {
        let problem = parsed(&["nope"]).unwrap_err();
        assert!(problem.ends_with("invalid key/value pair \"nope\": format must be key=value"));
        assert!(parsed(&["a=@/nonexistent"]).unwrap_err().contains("no such file"));
        assert!(parsed(&["a=-", "b=-"]).unwrap_err().ends_with("stdin already consumed"));
    }
}

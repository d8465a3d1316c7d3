//! A request's fields, read with the leniency of Vault's field schemas.

use std::collections::BTreeMap;
use std::num::{IntErrorKind, ParseIntError};
use std::time::Duration;

use holdfast_types::{Ttl, TtlError};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value};

use crate::Error;
use crate::looked_at::{LookedAt, Source};

/// Typed access to a request's fields. Each getter gives `None` where the field is missing, and a
/// 400 that names the field where it is of the wrong kind. JSON `null` counts as missing.
///
/// # Fields that nobody knows
/// Clients are warned of the fields that an answered request ignored (`Endpoint ignored these
/// unrecognized parameters: [...]`). [`Request::fields`] notes which ones were looked at by any
/// getter, those of the path's [`Route`](crate::Route) are known as well, and the core warns of the
/// rest. So a backend reads its fields through `request.fields()`, not `request.data`; nothing else
/// is to be done. What has no route, or takes more than that says, says so itself:
/// - [`Fields::known`]: fields that this path has, too, but this answer did not need;
/// - [`Fields::in_path`]: fields that the path itself gives, such as `name` in `role/<name>`: a
///   body that names them is warned that the path's holds;
/// - [`Fields::any`]: whatever is sent is taken, as by a key-value store.
///
/// As in OpenBao, answers without a body (204), refusals, answers with a status of their own and
/// raw bodies carry no such warning.
///
/// [`Request::fields`]: crate::Request::fields
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    data: &'a Map<String, Value>,
    looked_at: Option<&'a LookedAt>,
}

impl<'a> Fields<'a> {
    /// The fields of `data`, without note of what is looked at: for what is stored or nested.
    pub fn new(data: &'a Map<String, Value>) -> Self {
        Self { data, looked_at: None }
    }

    pub(crate) fn noting(data: &'a Map<String, Value>, looked_at: &'a LookedAt) -> Self {
        Self { data, looked_at: Some(looked_at) }
    }

    /// These fields are known here, whether or not anything looks at them.
    pub fn known(&self, names: &[&str]) -> &Self {
        names.iter().for_each(|name| self.note(name, Source::Body));
        self
    }

    /// The path gives these fields, so that the body's do not count.
    pub fn in_path(&self, names: &[&str]) -> &Self {
        names.iter().for_each(|name| self.note(name, Source::Path));
        self
    }

    /// Every field is known here.
    pub fn any(&self) -> &'a Map<String, Value> {
        self.data.keys().for_each(|name| self.note(name, Source::Body));
        self.data
    }

    fn note(&self, name: &str, source: Source) {
        if let Some(looked_at) = self.looked_at
            && self.data.contains_key(name)
        {
            looked_at.note(name, source);
        }
    }

    /// The value as it was sent, `null` too.
    pub fn sent(&self, name: &str) -> Option<&'a Value> {
        let value = self.data.get(name)?;
        self.note(name, Source::Body);
        Some(value)
    }

    /// The raw value.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.sent(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Text; numbers and booleans are taken as they are written.
    pub fn string(&self, name: &str) -> Result<Option<String>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(flag)) => Ok(Some(u8::from(*flag).to_string())),
            Some(other) => Err(unconvertible(name, "string", other)),
        }
    }

    /// Text that must be there and not empty: 400 `missing <name>` otherwise.
    pub fn required(&self, name: &str) -> Result<String, Error> {
        match self.string(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Error::invalid(format!("missing {name}"))),
        }
    }

    /// A boolean; `"true"`, `"1"`, `1` and their opposites are taken too.
    pub fn bool(&self, name: &str) -> Result<Option<bool>, Error> {
        let text = match self.value(name) {
            None => return Ok(None),
            Some(Value::Bool(flag)) => return Ok(Some(*flag)),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => return Err(unconvertible(name, "bool", other)),
        };
        match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" | "" => Ok(Some(false)),
            _ => Err(wrong(
                name,
                "'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax",
            )),
        }
    }

    /// A whole number; decimal text is taken too.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        let text = match self.value(name) {
            None => return Ok(None),
            Some(Value::Bool(flag)) => return Ok(Some(i64::from(*flag))),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) if text.is_empty() => return Ok(Some(0)),
            Some(Value::String(text)) => text.clone(),
            Some(other) => return Err(unconvertible(name, "int", other)),
        };
        text.parse().map(Some).map_err(|error: ParseIntError| {
            let why = match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            wrong(name, &format!("'' cannot parse value as 'int': strconv.ParseInt: {why}"))
        })
    }

    /// A duration: whole seconds, or text such as `1h30m`.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, Error> {
        let text = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err(wrong(name, "could not parse duration from input")),
        };
        match Ttl::parse(&text) {
            Ok(ttl) => Ok(Some(ttl.0)),
            Err(error) => Err(wrong(name, &duration_problem(&text, &error))),
        }
    }

    /// A list of strings: a JSON array, or text with commas. Blanks around items are cut and empty
    /// items left out.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let items = match self.value(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| match item {
                    Value::String(text) => Ok(text.clone()),
                    Value::Number(number) => Ok(number.to_string()),
                    other => Err(not_a_list(name, other)),
                });
                texts.collect::<Result<Vec<_>, _>>()?
            }
            Some(Value::Number(number)) => vec![number.to_string()],
            Some(Value::Object(map)) if map.is_empty() => Vec::new(),
            Some(other) => return Err(not_a_list(name, other)),
        };
        let trimmed = items.iter().map(|item| item.trim().to_owned());
        Ok(Some(trimmed.filter(|item| !item.is_empty()).collect()))
    }

    /// A map of strings: a JSON object whose values are scalars, or a list of `key=value`.
    pub fn string_map(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null => Some(String::new()),
            _ => None,
        };
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                let pairs = map.iter().map(|(key, value)| {
                    let value = scalar(value).ok_or_else(|| not_a_map(name, value))?;
                    Ok((key.clone(), value))
                });
                pairs.collect::<Result<_, _>>().map(Some)
            }
            Some(Value::String(text)) if text.is_empty() => Ok(Some(BTreeMap::new())),
            Some(Value::String(_) | Value::Array(_)) => {
                let items = self.strings(name)?.unwrap_or_default();
                let pairs = items.iter().enumerate().map(|(index, item)| {
                    let (key, value) = item.split_once('=').ok_or_else(|| no_pair(name, index))?;
                    Ok((key.trim().to_owned(), value.trim().to_owned()))
                });
                pairs.collect::<Result<_, _>>().map(Some)
            }
            Some(Value::Number(_) | Value::Bool(_)) => Err(no_pair(name, 0)),
            Some(_) => Err(wrong(name, "expected a map of strings")),
        }
    }

    /// A JSON object; it may stand in a list of its own.
    pub fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(Value::Array(items)) => match items.first() {
                None => Ok(None),
                Some(Value::Object(map)) => Ok(Some(map)),
                Some(other) => Err(wrong(
                    name,
                    &format!(
                        "'[0]' expected type 'map[string]interface {{}}', got unconvertible type \
                         '{}'",
                        go_type(other)
                    ),
                )),
            },
            Some(other) => Err(unconvertible(name, "map[string]interface {}", other)),
        }
    }

    /// A list of networks; an address alone is a network of one.
    pub fn cidrs(&self, name: &str) -> Result<Option<Vec<IpNet>>, Error> {
        let Some(items) = self.strings(name)? else { return Ok(None) };
        let nets = items.iter().map(|item| {
            let net = item.parse::<IpNet>().ok().or_else(|| {
                item.parse().ok().map(|address| match address {
                    std::net::IpAddr::V4(v4) => IpNet::V4(Ipv4Net::from(v4)),
                    std::net::IpAddr::V6(v6) => IpNet::V6(Ipv6Net::from(v6)),
                })
            });
            net.ok_or_else(|| {
                Error::invalid(format!(
                    "error parsing address {item:?}: Unable to convert {item:?} to an IPv4 or \
                     IPv6 address, or a UNIX Socket"
                ))
            })
        });
        nets.collect::<Result<_, _>>().map(Some)
    }
}

// The words are those of Go's decoders, as OpenBao passes them on: clients match on them.

fn wrong(name: &str, problem: &str) -> Error {
    Error::invalid(format!("error converting input for field {name:?}: {problem}"))
}

fn unconvertible(name: &str, wanted: &str, value: &Value) -> Error {
    let kind = go_type(value);
    wrong(name, &format!("'' expected type '{wanted}', got unconvertible type '{kind}'"))
}

/// A value of a map that is no text. It is the map that Go then tries to read as a list.
fn not_a_map(name: &str, value: &Value) -> Error {
    let kind = go_type(value);
    let problem = format!(
        "decoding failed due to the following error(s):\n\n'[0]' expected type 'string', got \
         unconvertible type '{kind}'"
    );
    wrong(name, &problem)
}

fn no_pair(name: &str, index: usize) -> Error {
    wrong(name, &format!("invalid key pair at index {index} in field {name:?}"))
}

fn not_a_list(name: &str, item: &Value) -> Error {
    let kind = go_type(item);
    let problem = format!(
        "1 error(s) decoding:\n\n* '[0]' expected type 'string', got unconvertible type '{kind}'"
    );
    wrong(name, &problem)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "json.Number",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What Go's `time.ParseDuration` and Vault's wrapper around it say of `text`.
fn duration_problem(text: &str, error: &TtlError) -> String {
    match error {
        TtlError::Negative(_) => {
            let seconds = Ttl::parse(text.trim_start_matches('-')).unwrap_or_default().0.as_secs();
            format!("cannot provide negative value '-{seconds}'")
        }
        TtlError::TooLong(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            "multiplication of durations resulted in overflow, one operand may be too large"
                .to_owned()
        }
        TtlError::TooLong(_) => format!("time: invalid duration {text:?}"),
        TtlError::Invalid(_) => {
            let is_number = |c: char| c.is_ascii_digit() || c == '.';
            let mut rest = text.trim_start_matches(['-', '+']);
            loop {
                let number = rest.len() - rest.trim_start_matches(is_number).len();
                if number == 0 {
                    return format!("time: invalid duration {text:?}");
                }
                rest = &rest[number..];
                let unit = &rest[..rest.find(is_number).unwrap_or(rest.len())];
                match unit {
                    "" => return format!("time: missing unit in duration {text:?}"),
                    "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h" => {
                        rest = &rest[unit.len()..];
                    }
                    _ => return format!("time: unknown unit {unit:?} in duration {text:?}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn scalars_are_lenient_and_composites_are_not() {
        let data = map(&json!({
            "text": "a", "number": 5, "flag": true, "digits": "7", "yes": "true", "list": ["a"],
            "ttl": "1h", "null": null
        }));
        let fields = Fields::new(&data);
        assert_eq!(fields.string("number").unwrap().as_deref(), Some("5"));
        assert_eq!(fields.integer("digits").unwrap(), Some(7));
        assert_eq!(fields.bool("yes").unwrap(), Some(true));
        assert_eq!(fields.duration("ttl").unwrap(), Some(Duration::from_secs(3600)));
        assert_eq!(fields.string("null").unwrap(), None);
        assert_eq!(fields.string("missing").unwrap(), None);
        assert!(fields.string("list").is_err());
        assert!(fields.bool("text").is_err());
        assert!(fields.integer("text").is_err());
    }

    #[test]
    fn lists_and_maps_come_in_two_forms() {
        let data = map(&json!({
            "commas": "a, b,,c", "array": ["a", "b"], "pairs": ["k=v"], "object": {"k": 1},
            "nets": "10.0.0.0/8,::1"
        }));
        let fields = Fields::new(&data);
        assert_eq!(fields.strings("commas").unwrap().unwrap(), ["a", "b", "c"]);
        assert_eq!(fields.strings("array").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(fields.string_map("pairs").unwrap().unwrap()["k"], "v");
        assert_eq!(fields.string_map("object").unwrap().unwrap()["k"], "1");
        assert_eq!(fields.cidrs("nets").unwrap().unwrap().len(), 2);
    }
    #[test]
    fn refusals_are_worded_as_gos() {
        let data = map(&json!({
            "ttl": ["bogus", "1x", "1h2", "h", 1.5, -1, "-1h", 99_999_999_999_u64, true],
            "int": ["x", 1.5, []],
            "bool": ["x", 2, []],
        }));
        let words = |name: &str, get: fn(Fields<'_>) -> Option<Error>| -> Vec<String> {
            let items = data[name].as_array().unwrap().iter();
            items
                .map(|item| {
                    let one = map(&json!({ "f": item }));
                    let error = get(Fields::new(&one)).expect("a refusal").to_string();
                    error.replace("error converting input for field \"f\": ", "")
                })
                .collect()
        };
        assert_eq!(
            words("ttl", |fields| fields.duration("f").err()),
            [
                "time: invalid duration \"bogus\"",
                "time: unknown unit \"x\" in duration \"1x\"",
                "time: missing unit in duration \"1h2\"",
                "time: invalid duration \"h\"",
                "time: missing unit in duration \"1.5\"",
                "cannot provide negative value '-1'",
                "cannot provide negative value '-3600'",
                "multiplication of durations resulted in overflow, one operand may be too large",
                "could not parse duration from input",
            ]
        );
        let syntax = "'' cannot parse value as 'int': strconv.ParseInt: invalid syntax";
        assert_eq!(
            words("int", |fields| fields.integer("f").err()),
            [syntax, syntax, "'' expected type 'int', got unconvertible type '[]interface {}'"]
        );
        let syntax = "'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax";
        assert_eq!(
            words("bool", |fields| fields.bool("f").err()),
            [syntax, syntax, "'' expected type 'bool', got unconvertible type '[]interface {}'"]
        );
    }
}

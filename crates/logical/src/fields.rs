//! A request's fields, read with the leniency of Vault's field schemas.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::Ttl;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Map, Value};

use crate::Error;

/// Typed access to a request's fields. Each getter gives `None` where the field is missing, and a
/// 400 that names the field where it is of the wrong kind. JSON `null` counts as missing.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The fields of `data`.
    pub fn new(data: &'a Map<String, Value>) -> Self {
        Self(data)
    }

    /// The raw value.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
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
            Some(_) => Err(wrong(name, "a string")),
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
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::Number(number)) => match number.as_i64() {
                Some(value) => Ok(Some(value != 0)),
                None => Err(wrong(name, "a boolean")),
            },
            Some(Value::String(text)) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" | "" => Ok(Some(false)),
                _ => Err(wrong(name, "a boolean")),
            },
            Some(_) => Err(wrong(name, "a boolean")),
        }
    }

    /// A whole number; decimal text is taken too.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let whole = number.as_f64().filter(|value| value.fract() == 0.0);
                match number.as_i64().or(whole.map(|value| value as i64)) {
                    Some(value) => Ok(Some(value)),
                    None => Err(wrong(name, "an integer")),
                }
            }
            Some(Value::String(text)) if text.is_empty() => Ok(Some(0)),
            Some(Value::String(text)) => {
                text.trim().parse().map(Some).map_err(|_| wrong(name, "an integer"))
            }
            Some(_) => Err(wrong(name, "an integer")),
        }
    }

    /// A duration: seconds, or text such as `1h30m`.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, Error> {
        match self.value(name) {
            None => Ok(None),
            Some(value @ (Value::Number(_) | Value::String(_))) => {
                let ttl: Ttl = serde_json::from_value(value.clone()).map_err(|error| {
                    Error::invalid(format!("error converting input for field {name:?}: {error}"))
                })?;
                Ok(Some(ttl.0))
            }
            Some(_) => Err(wrong(name, "a duration")),
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
                    _ => Err(wrong(name, "a list of strings")),
                });
                texts.collect::<Result<Vec<_>, _>>()?
            }
            Some(Value::Number(number)) => vec![number.to_string()],
            Some(_) => return Err(wrong(name, "a list of strings")),
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
                    let value = scalar(value).ok_or_else(|| wrong(name, "a map of strings"))?;
                    Ok((key.clone(), value))
                });
                pairs.collect::<Result<_, _>>().map(Some)
            }
            Some(Value::String(text)) if text.is_empty() => Ok(Some(BTreeMap::new())),
            Some(Value::String(_) | Value::Array(_)) => {
                let items = self.strings(name)?.unwrap_or_default();
                let pairs = items.iter().map(|item| {
                    let (key, value) =
                        item.split_once('=').ok_or_else(|| wrong(name, "a map of strings"))?;
                    Ok((key.trim().to_owned(), value.trim().to_owned()))
                });
                pairs.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong(name, "a map of strings")),
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
            net.ok_or_else(|| Error::invalid(format!("{name}: invalid CIDR {item:?}")))
        });
        nets.collect::<Result<_, _>>().map(Some)
    }
}

fn wrong(name: &str, kind: &str) -> Error {
    Error::invalid(format!("error converting input for field {name:?}: expected {kind}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn scalars_are_lenient_and_composites_are_not() {
        let data = map(json!({
            "text": "a", "number": 5, "flag": true, "digits": "7", "yes": "true", "list": ["a"],
            "ttl": "1h", "null": null
        }));
        let fields = Fields::new(&data);
        assert_eq!(fields.string("number").unwrap().as_deref(), Some("5"));
        assert_eq!(fields.integer("digits").unwrap(), Some(7));
        assert_eq!(fields.bool("yes").unwrap(), Some(true));
        assert_eq!(fields.bool("number").unwrap(), Some(true));
        assert_eq!(fields.duration("ttl").unwrap(), Some(Duration::from_secs(3600)));
        assert_eq!(fields.string("null").unwrap(), None);
        assert_eq!(fields.string("missing").unwrap(), None);
        assert!(fields.string("list").is_err());
        assert!(fields.bool("text").is_err());
        assert!(fields.integer("text").is_err());
    }

    #[test]
    fn lists_and_maps_come_in_two_forms() {
        let data = map(json!({
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
}

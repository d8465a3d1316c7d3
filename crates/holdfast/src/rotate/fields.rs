//! The fields of a secret, wiped when they are no longer needed.

use std::mem;

use holdfast_types::{SecretString, constant_time_eq};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

/// The fields of a secret. They do not print.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A field's text.
    pub(crate) fn text(&self, field: &str) -> Option<SecretString> {
        self.0.get(field).and_then(Value::as_str).map(SecretString::from)
    }

    /// Puts another text in a field's place.
    pub(crate) fn set(&mut self, field: &str, text: &SecretString) {
        let old = self.0.insert(field.to_owned(), Value::from(text.expose().as_str()));
        wipe(&mut old.unwrap_or_default());
    }

    /// A field other than `field` whose text holds `text`.
    pub(crate) fn other_with(&self, field: &str, text: &SecretString) -> Option<&str> {
        let holds = |value: &Value| value.as_str().is_some_and(|own| own.contains(text.expose()));
        let found = self.0.iter().find(|(name, value)| *name != field && holds(value));
        found.map(|(name, _)| name.as_str())
    }

    /// Whether both hold the same texts under `names`. Others may have changed: they are nobody's
    /// business here.
    pub(crate) fn agrees(&self, other: &Self, names: &[&str]) -> bool {
        names.iter().all(|name| match (self.text(name), other.text(name)) {
            (Some(own), Some(others)) => {
                constant_time_eq(own.expose().as_bytes(), others.expose().as_bytes())
            }
            _ => false,
        })
    }

    /// These, with the texts of `other` under `names`.
    pub(crate) fn with(&self, other: &Self, names: &[&str]) -> Self {
        let mut these = self.clone();
        for name in names {
            if let Some(text) = other.text(name) {
                these.set(name, &text);
            }
        }
        these
    }

    /// As they go over the wire.
    pub(crate) fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        let mut value = Value::Object(mem::take(&mut self.0));
        wipe(&mut value);
    }
}

/// Wipes every text in a value.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_set_and_compared() {
        let of = |value: Value| Fields::new(value.as_object().cloned().unwrap());
        let mut fields = of(json!({ "password": "old", "url": "x://u:old@h", "n": 1 }));
        let before = fields.clone();
        let old = fields.text("password").unwrap();
        assert_eq!(fields.other_with("password", &old), Some("url"));
        fields.set("password", &"new".into());
        assert_eq!(fields.text("password").unwrap().expose(), "new");
        assert!(!fields.agrees(&before, &["url", "password"]));
        assert!(fields.agrees(&before, &["url"]));
        let back = fields.with(&before, &["password"]);
        assert!(back.agrees(&before, &["url", "password"]));
        assert!(fields.text("n").is_none());
        assert!(!fields.agrees(&before, &["n"]), "what is no text is no credential");
    }

    #[test]
    fn every_text_is_wiped() {
        let mut value = json!({ "a": "x", "b": ["y", { "c": "z" }] });
        wipe(&mut value);
        assert_eq!(value, json!({ "a": "", "b": ["", { "c": "" }] }));
    }
}

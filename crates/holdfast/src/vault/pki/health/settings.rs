//! What a check is told by the file of `-health-config`, and what it assumes without.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::Ttl;
use serde_json::{Map, Value, json};

use crate::vault::values;

/// A value that a check can be told, with what it is where nothing is said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting {
    Duration(&'static str),
    /// From 1 to 99, as text.
    Percent(&'static str),
    /// From 1 to the second number.
    Count(u64, u64),
    /// Names; none.
    Names,
}

impl Setting {
    pub(super) fn default(self) -> Value {
        match self {
            Self::Duration(text) | Self::Percent(text) => text.into(),
            Self::Count(number, _) => number.into(),
            Self::Names => json!([]),
        }
    }
}

/// The values of one check.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) enabled: bool,
    durations: BTreeMap<&'static str, Duration>,
    numbers: BTreeMap<&'static str, u64>,
    names: BTreeMap<&'static str, Vec<String>>,
}

impl Settings {
    /// Those of a check that has `known` settings, where the file says `said`.
    ///
    /// # Errors
    /// The setting that is unknown, or cannot be read.
    pub(super) fn resolve(
        check: &str,
        known: &[(&'static str, Setting)],
        enabled: bool,
        said: Option<&Value>,
    ) -> Result<Self, String> {
        let nothing = Map::new();
        let said = match said {
            None => &nothing,
            Some(said) => said.as_object().ok_or_else(|| format!("{check}: expected an object"))?,
        };
        let is_known =
            |name: &str| name == "enabled" || known.iter().any(|(known, _)| *known == name);
        if let Some(name) = said.keys().find(|name| !is_known(name)) {
            return Err(format!("unknown configuration option for {check}: {name}"));
        }
        let mut settings = Self { enabled, ..Self::default() };
        if let Some(value) = said.get("enabled") {
            settings.enabled = boolean(value).ok_or_else(|| bad(check, "enabled", value))?;
        }
        for (name, setting) in known.iter().copied() {
            let value = said.get(name).cloned().unwrap_or_else(|| setting.default());
            settings.read(name, setting, &value).ok_or_else(|| bad(check, name, &value))?;
        }
        Ok(settings)
    }

    fn read(&mut self, name: &'static str, setting: Setting, value: &Value) -> Option<()> {
        match setting {
            Setting::Duration(_) => drop(self.durations.insert(name, duration(value)?)),
            Setting::Percent(_) => drop(self.numbers.insert(name, number(value, 99)?)),
            Setting::Count(_, most) => drop(self.numbers.insert(name, number(value, most)?)),
            Setting::Names => drop(self.names.insert(name, names(value)?)),
        }
        Some(())
    }

    pub(super) fn duration(&self, name: &str) -> Duration {
        self.durations.get(name).copied().unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or_default()
    }

    pub(super) fn has(&self, name: &str, among: &str) -> bool {
        self.names.get(among).is_some_and(|names| names.iter().any(|other| other == name))
    }
}

fn bad(check: &str, name: &str, value: &Value) -> String {
    format!("{check}: {name} cannot be {value}")
}

/// Seconds, or a duration as Go writes one, with days.
pub(super) fn duration(value: &Value) -> Option<Duration> {
    serde_json::from_value::<Ttl>(value.clone()).ok().map(|ttl| ttl.0)
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => values::boolean(text).ok(),
        _ => None,
    }
}

fn number(value: &Value, most: u64) -> Option<u64> {
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        value => value.as_u64()?,
    };
    (1..=most).contains(&number).then_some(number)
}

fn names(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

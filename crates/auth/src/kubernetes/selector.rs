//! Which namespaces a role takes by their labels.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `{"matchLabels": {"team": "red"}}`: all of these labels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selector {
    #[serde(rename = "matchLabels")]
    labels: BTreeMap<String, String>,
}

impl Selector {
    /// Reads a selector in JSON. None: it is of another form, or selects every namespace there is.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let selector: Self = serde_json::from_str(text).ok()?;
        (!selector.labels.is_empty()).then_some(selector)
    }

    /// Whether a namespace with these labels is selected.
    pub(super) fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

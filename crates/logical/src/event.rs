//! What a backend tells those who wait for changes.

use std::collections::BTreeMap;

/// Something that a request changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened, in the words of Vault's catalogue of events, such as `kv-v2/data-write`.
    pub kind: &'static str,
    /// Where what has changed is read, below the mount, such as `data/app`: who may read there is
    /// told.
    pub data_path: String,
    /// More of it: never a secret.
    pub metadata: BTreeMap<&'static str, String>,
}

impl Event {
    /// One without more to say.
    pub fn new(kind: &'static str, data_path: impl Into<String>) -> Self {
        Self { kind, data_path: data_path.into(), metadata: BTreeMap::new() }
    }

    /// The same with something more.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.metadata.insert(name, value.into());
        self
    }
}

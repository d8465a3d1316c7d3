//! Which fields of a request the backend knew, so that clients learn of the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

/// Where a field's value comes from that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Body,
    Path,
}

/// The fields that were looked at, of those that were sent. [`Fields`](crate::Fields) fills it.
#[derive(Debug, Default)]
pub struct LookedAt(Mutex<BTreeMap<String, Source>>);

impl LookedAt {
    pub(crate) fn note(&self, name: &str, source: Source) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get_mut(name) {
            // A getter may have looked first: that the path gives it outlives that.
            Some(known) if source == Source::Path => *known = source,
            Some(_) => {}
            None => {
                noted.insert(name.to_owned(), source);
            }
        }
    }

    /// What a client that sent `data` is told, in OpenBao's words.
    pub(crate) fn warnings(&self, data: &Map<String, Value>) -> Vec<String> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ignored: Vec<&str> = Vec::new();
        let mut replaced: Vec<&str> = Vec::new();
        for (name, value) in data {
            match noted.get(name) {
                None => ignored.push(name),
                Some(Source::Path) if !value.is_null() => replaced.push(name),
                Some(_) => {}
            }
        }
        let mut warnings = Vec::new();
        for (names, words) in [
            (ignored, "Endpoint ignored these unrecognized parameters"),
            (
                replaced,
                "Endpoint replaced the value of these parameters with the values captured from \
                 the endpoint's path",
            ),
        ] {
            if !names.is_empty() {
                let mut names = names;
                names.sort_unstable();
                warnings.push(format!("{words}: [{}]", names.join(" ")));
            }
        }
        warnings
    }
}

impl Clone for LookedAt {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

//! `kv`: secrets that people and programs put in and take out again.
//!
//! Version 2 keeps a number of versions of each secret, with metadata, check-and-set and a soft
//! delete. Version 1 keeps one value and nothing else. The mount's option `version` says which.

mod v1;
mod v2;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_logical::{Backend, Context, Error, Reply, Request};

/// The backend of a `kv` mount, by its option `version`: `2`, or `1` where it is missing. Any other
/// version gives a backend that refuses to start, with a 400.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    match context.mount.options.get("version").map(String::as_str) {
        Some("2") => Arc::new(v2::Versioned::new(context)),
        None | Some("" | "0" | "1") => Arc::new(v1::Plain::new(&context)),
        Some(other) => Arc::new(UnknownVersion(other.to_owned())),
    }
}

/// A version from the future, or a slip of the pen.
struct UnknownVersion(String);

impl UnknownVersion {
    fn refusal(&self) -> Error {
        Error::invalid(format!("kv has no version {:?}", self.0))
    }
}

#[async_trait]
impl Backend for UnknownVersion {
    async fn handle(&self, _request: &Request) -> Reply {
        Err(self.refusal())
    }

    async fn start(&self) -> Result<(), Error> {
        Err(self.refusal())
    }
}

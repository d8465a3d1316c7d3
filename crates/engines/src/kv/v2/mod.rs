//! Version 2: versions, metadata, check-and-set, soft delete.
//!
//! Layout under the mount's corner of the store:
//!
//! | entry | holds |
//! |---|---|
//! | `config` | the mount's settings |
//! | `key/<key>` | what is known of a key: its versions' times and marks, its settings |
//! | `version/<number>/<key>` | the data of one version |
//!
//! The number comes before the key, so that version 3 of `a` and the key `a/3` stay apart. A read
//! is two entries; every change of a key is one batch, so that no version is without its data and
//! no data without its version. Versions past their `delete_version_after` are hidden when they are
//! read; their data stays until they are pruned, because `undelete` brings it back.

mod config;
mod custom_metadata;
mod data;
mod event;
mod key;
mod marks;
mod merge;
mod metadata;
mod routes;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use holdfast_barrier::{Batch, KeyLocks, View};
use holdfast_logical::{
    Backend, Context, Error, Event, Operation, RawBody, Reply, Request, Response, Route,
};
use holdfast_types::Clock;

use self::config::{CONFIG, Config};
use self::key::Key;
use self::marks::Mark;

/// A `kv` mount of version 2.
pub(super) struct Versioned {
    storage: View,
    clock: Arc<dyn Clock>,
    /// Kept in memory: every write needs it.
    config: ArcSwap<Config>,
    locks: KeyLocks,
}

impl Versioned {
    pub(super) fn new(context: Context) -> Self {
        Self {
            storage: context.storage,
            clock: context.clock,
            config: ArcSwap::default(),
            locks: KeyLocks::new(),
        }
    }

    async fn key(&self, path: &str) -> Result<Option<Key>, Error> {
        Ok(self.storage.get_json(&key_entry(path)).await?)
    }

    fn put_key(&self, batch: &mut Batch, path: &str, key: &Key) -> Result<(), Error> {
        Ok(self.storage.batch_json(batch, &key_entry(path), key)?)
    }
}

#[async_trait]
impl Backend for Versioned {
    async fn handle(&self, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Patch, Read, Scan, Update};
        let Some((section, path)) = request.path.split_once('/') else {
            return match (request.path.as_str(), request.operation) {
                ("config", Read) => self.read_config(),
                ("config", Create | Update) => self.write_config(request).await,
                ("config", _) => Err(Error::UnsupportedOperation),
                (section, operation) => Ok(Some(no_such_path(section, operation))),
            };
        };
        let is_write = request.operation.is_write() || request.operation == Patch;
        if is_write && (path.is_empty() || path.ends_with('/')) {
            return Err(Error::invalid("cannot write to a path ending in '/'"));
        }
        match (section, request.operation) {
            ("data", Read) => self.read_data(request, path).await,
            ("data", Create | Update) => self.write_data(request, path).await,
            ("data", Patch) => self.patch_data(request, path).await,
            ("data", Delete) => self.delete_data(path).await,
            ("delete", Create | Update) => self.mark(request, path, Mark::Delete).await,
            ("undelete", Create | Update) => self.mark(request, path, Mark::Undelete).await,
            ("destroy", Create | Update) => self.mark(request, path, Mark::Destroy).await,
            ("subkeys", Read) => self.read_subkeys(request, path).await,
            ("metadata", Read) => self.read_metadata(path).await,
            ("metadata", Create | Update) => self.write_metadata(request, path).await,
            ("metadata", Patch) => self.patch_metadata(request, path).await,
            ("metadata", Delete) => self.delete_key(path).await,
            ("metadata", List) => self.list(request, path).await,
            ("metadata", Scan) => self.scan(request, path).await,
            ("detailed-metadata", List) => self.list_detailed(request, path).await,
            ("detailed-metadata", Scan) => self.scan_detailed(path).await,
            (
                "data" | "delete" | "undelete" | "destroy" | "subkeys" | "metadata"
                | "detailed-metadata",
                _,
            ) => Err(Error::UnsupportedOperation),
            (section, operation) => Ok(Some(no_such_path(section, operation))),
        }
    }

    fn routes(&self) -> &'static [Route] {
        routes::ROUTES
    }

    fn event(&self, request: &Request, response: Option<&Response>) -> Option<Event> {
        event::of(request, response)
    }

    /// A key without versions exists too: its metadata may have been written first.
    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        match request.path.split_once('/') {
            Some(("data" | "metadata", path)) => {
                Ok(Some(self.storage.get(&key_entry(path)).await?.is_some()))
            }
            _ => Ok(None),
        }
    }

    async fn start(&self) -> Result<(), Error> {
        let config: Config = self.storage.get_json(CONFIG).await?.unwrap_or_default();
        self.upgrade(&config).await?;
        self.config.store(config.into());
        Ok(())
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty().then(|| "Keeps a number of versions of each key.".to_owned())
    }
}

/// Where a key's metadata is stored.
fn key_entry(path: &str) -> String {
    format!("key/{path}")
}

/// Where the data of a version is stored.
fn version_entry(path: &str, number: u64) -> String {
    format!("version/{number}/{path}")
}

/// What a client that knows version 1 alone is told.
fn no_such_path(section: &str, operation: Operation) -> Response {
    if matches!(section, "data" | "metadata" | "delete" | "undelete" | "destroy") {
        return Response::default()
            .warn("Non-listing operations on the root of a K/V v2 mount are not supported.")
            .status(404);
    }
    let command = match operation {
        Operation::Create | Operation::Update => "put",
        Operation::Read | Operation::Help => "get",
        Operation::List => "list",
        Operation::Scan => "scan",
        Operation::Delete => "delete",
        Operation::Patch => "patch",
    };
    Response::default()
        .warn(format!(
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate \
             API endpoints to use. If using the OpenBao CLI, use 'bao kv {command}' for this \
             operation."
        ))
        .status(404)
}

/// A patch of what is not there: 404 without a body, not even an empty list of errors.
fn nothing_to_patch() -> Response {
    let body = RawBody { content_type: "application/json".to_owned(), body: Vec::new() };
    Response { raw: Some(body), ..Response::default() }.status(404)
}

/// A patch says what it is by its content type.
fn check_patch_type(request: &Request) -> Result<(), Error> {
    const WANTED: &str = "application/merge-patch+json";
    let given = request.headers.get("content-type").map_or("", String::as_str);
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(WANTED) {
        return Ok(());
    }
    let message = format!("PATCH requires Content-Type of {WANTED}, provided {given}");
    Err(Error::Status { status: 415, message })
}

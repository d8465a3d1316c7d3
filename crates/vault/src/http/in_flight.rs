//! The requests that are being served, for `sys/in-flight-req`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_types::{Timestamp, rfc3339};
use serde_json::{Map, Value, json};

/// All requests that are being served.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<BTreeMap<String, Request>>);

#[derive(Debug)]
struct Request {
    started: Timestamp,
    remote: String,
    path: String,
    method: &'static str,
}

impl InFlight {
    /// Enters a request until what this returns is dropped. The path is without the query, which
    /// can hold a secret.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: &str,
        started: Timestamp,
        remote: String,
        path: &str,
        method: &'static str,
    ) -> Entered {
        let request = Request { started, remote, path: path.to_owned(), method };
        self.lock().insert(id.to_owned(), request);
        Entered { table: Arc::clone(self), id: id.to_owned() }
    }

    /// By request id: `start_time`, `client_remote_address`, `request_path`, `request_method`.
    pub fn to_json(&self) -> Map<String, Value> {
        let table = self.lock();
        let rows = table.iter().map(|(id, request)| {
            let row = json!({
                "start_time": rfc3339(request.started),
                "client_remote_address": request.remote,
                "request_path": request.path,
                "request_method": request.method,
                "client_id": "",
            });
            (id.clone(), row)
        });
        rows.collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in the table.
#[derive(Debug)]
pub(super) struct Entered {
    table: Arc<InFlight>,
    id: String,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}

//! The mount that is looked at: each path is asked for once, however many checks need it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use holdfast_client::vault::{Method, VaultClient, VaultError};
use holdfast_types::Timestamp;
use serde_json::{Map, Value};

use super::finding::{Finding, Status};
use crate::vault::connection::explain;
use crate::vault::secret::Secret;

/// What came of asking for a path.
#[derive(Clone)]
pub(super) enum Found {
    Data(Rc<Map<String, Value>>),
    Nothing,
    /// It cannot be told, for this reason.
    Unknown(Finding),
}

pub(super) struct Mount<'a> {
    client: &'a VaultClient,
    /// Without slashes at its ends.
    pub(super) path: &'a str,
    pub(super) now: Timestamp,
    seen: RefCell<BTreeMap<String, Found>>,
}

impl<'a> Mount<'a> {
    pub(super) fn new(client: &'a VaultClient, path: &'a str, now: Timestamp) -> Self {
        Self { client, path, now, seen: RefCell::default() }
    }

    /// Whether this is a mount of the right type, as far as the token can find out.
    ///
    /// # Errors
    /// It is not.
    pub(super) async fn is_pki(&self) -> Result<(), String> {
        if self.path.split('/').next() == Some("auth") {
            return Err(format!("{} is a login method, not a PKI engine", self.path));
        }
        for path in
            [format!("sys/mounts/{}", self.path), format!("sys/internal/ui/mounts/{}", self.path)]
        {
            let Ok(Some(answer)) = Secret::read(self.client, &path, &[]).await else { continue };
            match answer.field("type") {
                Some(kind) if kind == "pki" => return Ok(()),
                Some(Value::String(kind)) => {
                    return Err(format!("{} is a mount of type {kind}, not pki", self.path));
                }
                _ => {}
            }
        }
        // Everybody may ask for this.
        let answer = Secret::read(self.client, &self.under("cert/ca"), &[]).await;
        let answer = answer
            .map_err(|error| format!("detection of PKI mount failed:\n\t{}", explain(&error)))?;
        match answer.and_then(|answer| answer.field("certificate")) {
            Some(_) => Ok(()),
            None => Err(format!("{} is no PKI mount: it has no cert/ca", self.path)),
        }
    }

    /// `path` below the mount.
    pub(super) fn under(&self, path: &str) -> String {
        format!("{}/{path}", self.path)
    }

    /// The same as it is shown.
    pub(super) fn endpoint(&self, path: &str) -> String {
        format!("/{}/{path}", self.path)
    }

    /// Where the mount is tuned.
    pub(super) fn tune(&self) -> String {
        format!("sys/mounts/{}/tune", self.path)
    }

    /// Reads `path` of the API.
    ///
    /// # Errors
    /// No answer came, or one that explains nothing.
    pub(super) async fn read(&self, path: &str) -> Result<Found, String> {
        self.ask(path, &[]).await
    }

    /// The names below `path` of the API. Nothing where there are none.
    pub(super) async fn list(&self, path: &str) -> Result<Result<Vec<String>, Finding>, String> {
        let data = match self.ask(path, &[("list", "true")]).await? {
            Found::Data(data) => data,
            Found::Nothing => return Ok(Ok(Vec::new())),
            Found::Unknown(why) => return Ok(Err(why)),
        };
        Ok(Ok(texts(data.get("keys"))))
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Found, String> {
        let key = format!("{path}?{}", query.len());
        if let Some(seen) = self.seen.borrow().get(&key) {
            return Ok(seen.clone());
        }
        let found = match self.client.request(Method::GET, path, None, query).await {
            Ok(answer) => answer.success().and_then(|answer| Secret::parse(&answer)),
            Err(error) => Err(error),
        };
        let found = match found {
            Ok(answer) => match answer.and_then(|answer| answer.data) {
                Some(data) => Found::Data(Rc::new(data)),
                None => Found::Nothing,
            },
            Err(error) => self.without_data(path, &error)?,
        };
        self.seen.borrow_mut().insert(key, found.clone());
        Ok(found)
    }

    fn without_data(&self, path: &str, error: &VaultError) -> Result<Found, String> {
        let says = |words: &str| {
            error.failure().is_some_and(|failure| failure.errors.iter().any(|e| e.contains(words)))
        };
        let unknown = |status, message: &str| {
            Ok(Found::Unknown(Finding::new(status, &format!("/{path}"), message)))
        };
        match error {
            VaultError::Denied(_) if self.client.token().is_none() => unknown(
                Status::InsufficientPermissions,
                "There is no token, and this cannot be asked for without one.",
            ),
            VaultError::Denied(_) => {
                unknown(Status::InsufficientPermissions, "The token may not ask for this.")
            }
            _ if says("unsupported path") => {
                unknown(Status::InvalidVersion, "The server does not know this path.")
            }
            _ if says("unable to find") => Ok(Found::Nothing),
            VaultError::NotFound(_) if !says("route entry not found") => Ok(Found::Nothing),
            other => Err(explain(other)),
        }
    }
}

/// The texts of a list; none where there is no list.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Whether a field is there and true.
pub(super) fn is_set(data: &Map<String, Value>, field: &str) -> bool {
    data.get(field).and_then(Value::as_bool) == Some(true)
}

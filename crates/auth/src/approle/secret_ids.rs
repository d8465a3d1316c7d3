//! `role/<name>/secret-id`, `custom-secret-id` and `secret-id-accessor`.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::SecretString;
use serde_json::json;

use super::role::Role;
use super::secret_id::SecretId;
use super::store::{AccessorEntry, check_id_length, hmac, secret_id_entry};
use super::{AppRole, no_such_role};
use crate::listing;

/// How many entries are read at once.
const READERS: usize = 16;

impl AppRole {
    /// `LIST role/<name>/secret-id?after=&limit=`: the accessors, in the order of what they are
    /// stored under. Each is read from its own entry, so that a page costs what it shows.
    pub(super) async fn list_secret_ids(&self, request: &Request, name: &str) -> Reply {
        if self.role(name).await?.is_none() {
            return Err(no_such_role(name));
        }
        let (after, limit) = listing::page(request)?;
        let after = match after {
            None => None,
            Some(accessor) => match self.accessor(&accessor).await? {
                Some(entry) if entry.role == name => Some(entry.secret_id_hmac),
                _ => Some(accessor),
            },
        };
        let folder = format!("secret-id/{name}/");
        let hmacs = self.storage.list_page(&folder, after.as_deref(), limit).await?;
        let read = |hmac: String| async move { self.secret_id(name, &hmac).await };
        let found: Vec<_> = stream::iter(hmacs).map(read).buffered(READERS).try_collect().await?;
        // One that was used up since the list was made is left out.
        Ok(Response::list(found.into_iter().flatten().map(|found| found.accessor).collect()))
    }

    /// `PUT role/<name>/secret-id`
    pub(super) async fn generate_secret_id(&self, request: &Request, name: &str) -> Reply {
        let secret_id = SecretString::new(self.random.uuid());
        self.register(request, name, secret_id).await
    }

    /// `PUT role/<name>/custom-secret-id`
    pub(super) async fn custom_secret_id(&self, request: &Request, name: &str) -> Reply {
        let secret_id = request.fields().required("secret_id");
        let secret_id = secret_id.map_err(Error::field_validation)?;
        check_id_length("secret_id", &secret_id)?;
        self.register(request, name, SecretString::new(secret_id)).await
    }

    /// `PUT role/<name>/secret-id/lookup`: nothing where it is unknown.
    pub(super) async fn look_up_secret_id(&self, request: &Request, name: &str) -> Reply {
        let (_, found) = self.named_secret_id(request, name).await?;
        Ok(found.map(|secret_id| Response::data(secret_id.print())))
    }

    /// `PUT role/<name>/secret-id/destroy`
    pub(super) async fn destroy_secret_id(&self, request: &Request, name: &str) -> Reply {
        let (hmac, _) = self.named_secret_id(request, name).await?;
        self.destroy(name, &hmac).await
    }

    /// `PUT role/<name>/secret-id-accessor/lookup`: nothing where it is another role's.
    pub(super) async fn look_up_accessor(&self, request: &Request, name: &str) -> Reply {
        let accessor = named_accessor(request)?;
        self.existing_role(name).await?;
        let Some(entry) = self.accessor(&accessor).await? else {
            let data = json!({ "error": unknown_accessor(&accessor) });
            return Ok(Some(Response::data(data).status(404)));
        };
        if entry.role != name {
            return Ok(None);
        }
        let secret_id = self.secret_id(name, &entry.secret_id_hmac).await?;
        Ok(secret_id.map(|secret_id| Response::data(secret_id.print())))
    }

    /// `PUT role/<name>/secret-id-accessor/destroy`
    pub(super) async fn destroy_accessor(&self, request: &Request, name: &str) -> Reply {
        let accessor = named_accessor(request)?;
        self.existing_role(name).await?;
        let Some(entry) = self.accessor(&accessor).await? else {
            return Err(Error::Status { status: 404, message: unknown_accessor(&accessor) });
        };
        if entry.role != name {
            let message = "invalid secret id accessor".to_owned();
            return Err(Error::Status { status: 403, message });
        }
        self.destroy(name, &entry.secret_id_hmac).await
    }

    /// Keeps a new secret id, and shows it this once.
    async fn register(&self, request: &Request, name: &str, secret_id: SecretString) -> Reply {
        let Some(role) = self.role(name).await? else {
            let message = no_such_role(name).to_string();
            return Err(Error::Status { status: 404, message });
        };
        if !role.bind_secret_id {
            return Err(Error::invalid("bind_secret_id is not set on the role"));
        }
        let now = self.clock.now();
        let record = SecretId::ordered(request, &role, self.random.uuid(), now)
            .map_err(Error::field_validation)?;
        let hmac = hmac(&role.hmac_key, secret_id.expose());
        let _guard = self.secret_id_uses.lock(&hmac).await;
        let existing = self.secret_id(name, &hmac).await?;
        if existing.is_some_and(|existing| existing.is_alive(now)) {
            return Err(Error::invalid(
                "failed to store secret_id: SecretID is already registered",
            ));
        }
        let mut batch = Batch::new();
        self.storage.batch_json(&mut batch, &secret_id_entry(name, &hmac), &record)?;
        let entry = AccessorEntry { role: name.to_owned(), secret_id_hmac: hmac };
        let accessor_entry = self.accessor_entry(&record.accessor)?;
        self.storage.batch_json(&mut batch, &accessor_entry, &entry)?;
        self.storage.commit(batch).await?;
        Ok(Some(Response::data(json!({
            "secret_id": secret_id.expose(),
            "secret_id_accessor": record.accessor,
            "secret_id_num_uses": record.num_uses,
            "secret_id_ttl": record.ttl.as_secs(),
        }))))
    }

    /// The secret id that a request's `secret_id` is, with its HMAC; none where it is unknown or
    /// has expired.
    async fn named_secret_id(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<(String, Option<SecretId>), Error> {
        let secret_id = request.fields().required("secret_id");
        let secret_id = SecretString::new(secret_id.map_err(Error::field_validation)?);
        check_id_length("secret_id", secret_id.expose())?;
        let role = self.existing_role(name).await?;
        let hmac = hmac(&role.hmac_key, secret_id.expose());
        let now = self.clock.now();
        let found = self.secret_id(name, &hmac).await?;
        Ok((hmac, found.filter(|secret_id| secret_id.is_alive(now))))
    }

    async fn destroy(&self, name: &str, hmac: &str) -> Reply {
        let _guard = self.secret_id_uses.lock(hmac).await;
        if let Some(secret_id) = self.secret_id(name, hmac).await? {
            let mut batch = Batch::new();
            self.forget(&mut batch, name, hmac, &secret_id)?;
            self.storage.commit(batch).await?;
        }
        Ok(None)
    }

    async fn existing_role(&self, name: &str) -> Result<Role, Error> {
        self.role(name).await?.ok_or_else(|| no_such_role(name))
    }
}

fn named_accessor(request: &Request) -> Result<String, Error> {
    request.fields().required("secret_id_accessor").map_err(Error::field_validation)
}

fn unknown_accessor(accessor: &str) -> String {
    format!("failed to find accessor entry for secret_id_accessor: {accessor:?}")
}

//! `metadata/<key>` and `detailed-metadata/<key>`: keys, their settings and their lists.

use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Request, Response};
use serde_json::{Map, Value, json};

use super::config::{Config, max_versions};
use super::data::object_field;
use super::key::Key;
use super::{
    Versioned, check_patch_type, custom_metadata, key_entry, nothing_to_patch, version_entry,
};

/// The fields of which one at least must be there for a write to change anything.
const SETTINGS: &[&str] = &[
    "cas_required",
    "custom_metadata",
    "delete_version_after",
    "max_versions",
    "metadata_cas_required",
];

impl Versioned {
    /// `GET metadata/<key>`
    pub(super) async fn read_metadata(&self, path: &str) -> Reply {
        Ok(self.key(path).await?.map(|key| Response::data(key.print())))
    }

    /// `PUT metadata/<key>`: settings that are missing stay as they were. `custom_metadata` is
    /// replaced as a whole.
    pub(super) async fn write_metadata(&self, request: &Request, path: &str) -> Reply {
        let _guard = self.locks.lock(path).await;
        let now = self.clock.now();
        let key = self.key(path).await?.unwrap_or_else(|| Key::new(now));
        self.change_metadata(request, path, key, Merge::Replace).await
    }

    /// `PATCH metadata/<key>`: the same, but `custom_metadata` is merged, and only of a key that
    /// is there.
    pub(super) async fn patch_metadata(&self, request: &Request, path: &str) -> Reply {
        check_patch_type(request)?;
        let _guard = self.locks.lock(path).await;
        let Some(key) = self.key(path).await? else { return Ok(Some(nothing_to_patch())) };
        self.change_metadata(request, path, key, Merge::Patch)
            .await
            .map_err(Error::field_validation)
    }

    /// `DELETE metadata/<key>`: the key with all its versions, for good.
    pub(super) async fn delete_key(&self, path: &str) -> Reply {
        let _guard = self.locks.lock(path).await;
        let Some(key) = self.key(path).await? else { return Ok(None) };
        let mut batch = Batch::new();
        batch.delete(key_entry(path));
        for number in key.version_numbers() {
            batch.delete(version_entry(path, number));
        }
        self.storage.commit(batch).await?;
        Ok(None)
    }

    /// `LIST metadata/<folder>?after=&limit=`
    pub(super) async fn list(&self, request: &Request, folder: &str) -> Reply {
        Ok(Response::list(self.page(request, folder).await?))
    }

    /// `SCAN metadata/<folder>`: every key under it, at any depth. The bounds of a list's page are
    /// known here, but mean nothing.
    pub(super) async fn scan(&self, request: &Request, folder: &str) -> Reply {
        request.fields().known(&["after", "limit"]);
        let keys = self.storage.scan(&key_entry(folder)).await?;
        Ok(Response::list(keys).or_else(|| Some(Response::data(json!({})))))
    }

    /// `LIST detailed-metadata/<folder>`: the same list with each key's metadata beside it.
    pub(super) async fn list_detailed(&self, request: &Request, folder: &str) -> Reply {
        let keys = self.page(request, folder).await?;
        if keys.is_empty() {
            return Ok(None);
        }
        self.with_metadata(folder, keys).await
    }

    /// `SCAN detailed-metadata/<folder>`
    pub(super) async fn scan_detailed(&self, folder: &str) -> Reply {
        let keys = self.storage.scan(&key_entry(folder)).await?;
        if keys.is_empty() {
            return Ok(Some(Response::data(json!({}))));
        }
        self.with_metadata(folder, keys).await
    }

    async fn with_metadata(&self, folder: &str, keys: Vec<String>) -> Reply {
        let mut key_info = Map::new();
        for name in &keys {
            // A folder has none; a key may have gone since it was listed.
            let key = match name.ends_with('/') {
                true => None,
                false => self.key(&format!("{folder}{name}")).await?,
            };
            key_info.insert(name.clone(), key.map_or_else(|| json!({}), |key| key.print()));
        }
        Ok(Some(Response::data(json!({ "key_info": key_info, "keys": keys }))))
    }

    async fn page(&self, request: &Request, folder: &str) -> Result<Vec<String>, Error> {
        let fields = request.fields();
        let after = fields
            .string("after")
            .map_err(Error::field_validation)?
            .filter(|after| !after.is_empty());
        let limit = fields.integer("limit").map_err(Error::field_validation)?.unwrap_or_default();
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        Ok(self.storage.list_page(&key_entry(folder), after.as_deref(), limit).await?)
    }

    async fn change_metadata(
        &self,
        request: &Request,
        path: &str,
        mut key: Key,
        merge: Merge,
    ) -> Reply {
        let cas = request.fields().integer("metadata_cas")?;
        if !SETTINGS.iter().any(|name| request.data.contains_key(*name)) {
            return Ok(None);
        }
        check_metadata_cas(cas, &key, &self.config.load())?;
        update(&mut key, request, merge)?;
        key.metadata_version += 1;
        key.updated_at = self.clock.now();
        let mut batch = Batch::new();
        self.put_key(&mut batch, path, &key)?;
        self.storage.commit(batch).await?;
        let is_mandated = self.config.load().cas_required;
        if is_mandated && request.fields().bool("cas_required")? == Some(false) {
            return Ok(Some(Response::default().warn(
                "\"cas_required\" set to false, but is mandated by backend config. This value will \
                 be ignored.",
            )));
        }
        Ok(None)
    }
}

/// What becomes of the pairs of `custom_metadata` that a request does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// They go.
    Replace,
    /// They stay; null removes one.
    Patch,
}

fn update(key: &mut Key, request: &Request, merge: Merge) -> Result<(), Error> {
    let fields = request.fields();
    if let Some(most) = max_versions(request)? {
        key.max_versions = most;
    }
    if fields.sent("cas_required").is_some() {
        key.cas_required = fields.bool("cas_required")?.unwrap_or_default();
    }
    if fields.sent("metadata_cas_required").is_some() {
        key.metadata_cas_required = fields.bool("metadata_cas_required")?.unwrap_or_default();
    }
    if let Some(life) = fields.duration("delete_version_after")? {
        key.delete_version_after = life;
    }
    match object_field(request, "custom_metadata")? {
        None => {}
        Some(Value::Object(pairs)) => {
            let pairs = custom_metadata::parse(&pairs)?;
            if merge == Merge::Replace {
                key.custom_metadata.clear();
            }
            for (name, value) in pairs {
                match (value, merge) {
                    (None, Merge::Patch) => {
                        key.custom_metadata.remove(&name);
                    }
                    (value, _) => {
                        key.custom_metadata.insert(name, value.unwrap_or_default());
                    }
                }
            }
            custom_metadata::check(&key.custom_metadata)?;
        }
        Some(_) => key.custom_metadata.clear(),
    }
    Ok(())
}

fn check_metadata_cas(cas: Option<i64>, key: &Key, config: &Config) -> Result<(), Error> {
    match cas {
        Some(version) if u64::try_from(version) != Ok(key.metadata_version) => Err(Error::invalid(
            "metadata check-and-set parameter does not match the current version",
        )),
        None if key.metadata_cas_required || config.metadata_cas_required => {
            Err(Error::invalid("metadata check-and-set parameter required for this call"))
        }
        _ => Ok(()),
    }
}

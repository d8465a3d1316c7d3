//! `data/<key>` and `subkeys/<key>`: the values themselves.

use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Request, Response};
use serde_json::{Map, Value};

use super::config::Config;
use super::key::Key;
use super::{Versioned, check_patch_type, merge, nothing_to_patch, version_entry};

/// One version as it is read.
struct Reading {
    /// What accompanies the data.
    metadata: Map<String, Value>,
    /// None: deleted or destroyed.
    data: Option<Value>,
}

impl Versioned {
    /// `GET data/<key>?version=`: the newest version where none is named. A deleted one is a 404
    /// that still tells when it was deleted.
    pub(super) async fn read_data(&self, request: &Request, path: &str) -> Reply {
        let Some(reading) = self.reading(request, path).await? else { return Ok(None) };
        let status = reading.data.is_none().then_some(404);
        let data = Map::from_iter([
            ("data".to_owned(), reading.data.unwrap_or_default()),
            ("metadata".to_owned(), reading.metadata.into()),
        ]);
        Ok(Some(Response { data: Some(data), status, ..Response::default() }))
    }

    /// `GET subkeys/<key>?version=&depth=`: the keys of a value, with null for what they hold.
    pub(super) async fn read_subkeys(&self, request: &Request, path: &str) -> Reply {
        let depth =
            request.fields().integer("depth").map_err(Error::field_validation)?.unwrap_or_default();
        // None at zero: all of it. Below zero it is the first level, as in OpenBao.
        let depth = (depth != 0).then(|| usize::try_from(depth).unwrap_or(1));
        let Some(reading) = self.reading(request, path).await? else { return Ok(None) };
        let status = reading.data.is_none().then_some(404);
        let subkeys = match reading.data {
            Some(Value::Object(map)) => merge::subkeys(&map, depth.unwrap_or(usize::MAX)),
            _ => Value::Null,
        };
        let data = Map::from_iter([
            ("metadata".to_owned(), reading.metadata.into()),
            ("subkeys".to_owned(), subkeys),
        ]);
        Ok(Some(Response { data: Some(data), status, ..Response::default() }))
    }

    /// `PUT data/<key>`: adds a version.
    pub(super) async fn write_data(&self, request: &Request, path: &str) -> Reply {
        let data = object_field(request, "data")?.ok_or_else(no_data)?;
        let cas = parse_cas(request)?;
        let _guard = self.locks.lock(path).await;
        let now = self.clock.now();
        let mut key = self.key(path).await?.unwrap_or_else(|| Key::new(now));
        let config = self.config.load_full();
        check_cas(cas, &key, &config)?;
        self.add_version(path, &mut key, &config, &data).await
    }

    /// `PATCH data/<key>`: adds a version that is the newest one with a merge patch applied.
    pub(super) async fn patch_data(&self, request: &Request, path: &str) -> Reply {
        check_patch_type(request)?;
        let patch =
            object_field(request, "data").map_err(Error::field_validation)?.ok_or_else(no_data)?;
        let cas = parse_cas(request)?;
        let _guard = self.locks.lock(path).await;
        let Some(mut key) = self.key(path).await? else { return Ok(Some(nothing_to_patch())) };
        let config = self.config.load_full();
        check_cas(cas, &key, &config)?;
        let Some((number, version)) = key.version(0) else { return Ok(Some(nothing_to_patch())) };
        if !version.is_readable(self.clock.now()) {
            let metadata = key.print_version(number, version);
            let response = Response { data: Some(metadata), ..Response::default() };
            return Ok(Some(response.status(404)));
        }
        let mut data = self.version_data(path, number).await?.ok_or_else(|| lost(path, number))?;
        merge::apply(&mut data, patch);
        self.add_version(path, &mut key, &config, &data).await
    }

    /// `DELETE data/<key>`: hides the newest version.
    pub(super) async fn delete_data(&self, path: &str) -> Reply {
        let _guard = self.locks.lock(path).await;
        let Some(mut key) = self.key(path).await? else { return Ok(None) };
        key.delete_version(key.current_version, self.clock.now());
        let mut batch = Batch::new();
        self.put_key(&mut batch, path, &key)?;
        self.storage.commit(batch).await?;
        Ok(None)
    }

    /// Commits `data` as the next version of `key`, and without those that it pushes out.
    async fn add_version(&self, path: &str, key: &mut Key, config: &Config, data: &Value) -> Reply {
        let pruned = key.add_version(self.clock.now(), config);
        let mut batch = Batch::new();
        self.put_key(&mut batch, path, key)?;
        let entry = version_entry(path, key.current_version);
        self.storage.batch_json(&mut batch, &entry, data)?;
        for number in pruned {
            batch.delete(version_entry(path, number));
        }
        self.storage.commit(batch).await?;
        let printed = key.version(0).map(|(number, version)| key.print_version(number, version));
        Ok(Some(Response { data: printed, ..Response::default() }))
    }

    /// The version that a request's `version` names, or the newest.
    async fn reading(&self, request: &Request, path: &str) -> Result<Option<Reading>, Error> {
        let number = request
            .fields()
            .integer("version")
            .map_err(Error::field_validation)?
            .unwrap_or_default();
        let number = u64::try_from(number).unwrap_or_default();
        match self.try_reading(path, number).await? {
            Ok(reading) => Ok(reading),
            // The version was pruned or destroyed between the two reads. Nobody can do that while
            // the key is locked, so what is missing now is really lost.
            Err(_) => {
                let _guard = self.locks.lock(path).await;
                let reading = self.try_reading(path, number).await?;
                reading.map_err(|missing| lost(path, missing))
            }
        }
    }

    /// The inner error is the number of a version whose data is not there.
    async fn try_reading(
        &self,
        path: &str,
        number: u64,
    ) -> Result<Result<Option<Reading>, u64>, Error> {
        let Some(key) = self.key(path).await? else { return Ok(Ok(None)) };
        let Some((number, version)) = key.version(number) else { return Ok(Ok(None)) };
        let metadata = key.print_version(number, version);
        if !version.is_readable(self.clock.now()) {
            return Ok(Ok(Some(Reading { metadata, data: None })));
        }
        let data = self.version_data(path, number).await?;
        Ok(match data {
            Some(data) => Ok(Some(Reading { metadata, data: Some(data) })),
            None => Err(number),
        })
    }

    async fn version_data(&self, path: &str, number: u64) -> Result<Option<Value>, Error> {
        Ok(self.storage.get_json(&version_entry(path, number)).await?)
    }
}

/// The object in `name`; null where it was written so. An empty list counts as an empty object, as
/// PHP clients write one. None where the field is missing.
pub(super) fn object_field(request: &Request, name: &str) -> Result<Option<Value>, Error> {
    match request.fields().sent(name) {
        None => Ok(None),
        Some(value @ (Value::Object(_) | Value::Null)) => Ok(Some(value.clone())),
        Some(Value::Array(items)) => match items.first() {
            None => Ok(Some(Map::new().into())),
            Some(first) => {
                let (mut place, mut first) = ("[0]".to_owned(), first);
                while let Some(inner) = first.as_array().and_then(|items| items.first()) {
                    (place, first) = (place + "[0]", inner);
                }
                Err(no_object(name, &place, first))
            }
        },
        Some(other) => Err(no_object(name, "", other)),
    }
}

fn no_object(name: &str, place: &str, value: &Value) -> Error {
    let kind = match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "json.Number",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    Error::invalid(format!(
        "error converting input for field {name:?}: '{place}' expected type \
         'map[string]interface {{}}', got unconvertible type '{kind}'"
    ))
}

/// `options.cas`, the version that the writer believes to be the newest. Null counts as 0.
fn parse_cas(request: &Request) -> Result<Option<u64>, Error> {
    let options = object_field(request, "options")?;
    let Some(cas) = options.as_ref().and_then(|options| options.get("cas")) else {
        return Ok(None);
    };
    let number = match cas {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    };
    let number = number.ok_or_else(|| Error::invalid("error parsing check-and-set parameter"))?;
    // A negative number is nobody's version.
    Ok(Some(u64::try_from(number).unwrap_or(u64::MAX)))
}

fn check_cas(cas: Option<u64>, key: &Key, config: &Config) -> Result<(), Error> {
    match cas {
        Some(version) if version != key.current_version => {
            Err(Error::invalid("check-and-set parameter did not match the current version"))
        }
        None if key.cas_required || config.cas_required => {
            Err(Error::invalid("check-and-set parameter required for this call"))
        }
        _ => Ok(()),
    }
}

fn no_data() -> Error {
    Error::invalid("no data provided")
}

/// A version that should have data has none: the store is damaged.
fn lost(path: &str, number: u64) -> Error {
    Error::internal(
        "could not find version data",
        format!("version {number} of {path:?} has no data in the store"),
    )
}

//! What rotations keep in the secrets server: their records, and what is staged. Every write names
//! the version that it replaces, so that of two who write one is refused.

use anyhow::Context as _;
use holdfast_client::vault::{VaultClient, VaultError};
use holdfast_types::{Random, SecretString, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::fields::{Fields, wipe};
use super::record::Record;
use super::trouble::{Step, Trouble};

/// Below which name a KV mount keeps what belongs to rotations.
const RECORDS: &str = "holdfast/rotation/record";
const STAGED: &str = "holdfast/rotation/staged";

/// The KV mount where rotations are kept.
#[derive(Clone)]
pub(crate) struct Store {
    client: VaultClient,
    mount: String,
}

/// Both values of a secret while it is rotated: the new one before anything holds it, the old one in
/// case the server keeps but one version.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Staged {
    /// The rotation's.
    pub(crate) id: String,
    pub(crate) old: Fields,
    pub(crate) new: Fields,
}

/// What came of a write that names a version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is this version now.
    As(u64),
    /// There is another version by now.
    Overtaken,
}

/// What a secret of a KV mount holds, and as which version: 0 where there was none ever. No fields
/// where it is deleted.
pub(crate) struct Kept {
    pub(crate) version: u64,
    pub(crate) fields: Option<Fields>,
}

impl Store {
    pub(crate) fn new(client: VaultClient, mount: String) -> Self {
        Self { client, mount }
    }

    /// The rotation of `path`, and the version of its record: 0 where there is none.
    pub(crate) async fn load(&self, path: &str) -> Step<(Option<Record>, u64)> {
        let kept = read(&self.client, &self.at(RECORDS, path)).await?;
        let Some(fields) = kept.fields else { return Ok((None, kept.version)) };
        let record = serde_json::from_value(fields.value())
            .with_context(|| format!("the record of {path} is of another version of this program"));
        Ok((Some(record.map_err(Trouble::Failed)?), kept.version))
    }

    /// Writes a record in place of its version `version`.
    pub(crate) async fn save(&self, record: &Record, version: u64) -> Step<Written> {
        let body = serde_json::to_value(record).context("write the record down");
        let body = body.map_err(Trouble::Failed)?;
        write(&self.client, &self.at(RECORDS, &record.path), body, version).await
    }

    /// What is staged for `path`.
    pub(crate) async fn staged(&self, path: &str) -> Step<(Option<Staged>, u64)> {
        let kept = read(&self.client, &self.at(STAGED, path)).await?;
        let staged = kept.fields.and_then(|fields| serde_json::from_value(fields.value()).ok());
        Ok((staged, kept.version))
    }

    /// Stages in place of version `version`.
    pub(crate) async fn stage(&self, path: &str, staged: &Staged, version: u64) -> Step<Written> {
        let body = serde_json::to_value(staged).context("stage the values");
        let body = body.map_err(Trouble::Failed)?;
        write(&self.client, &self.at(STAGED, path), body, version).await
    }

    /// Removes all versions of what is staged.
    pub(crate) async fn unstage(&self, path: &str) -> Step {
        let path = self.at(STAGED, path).replacen("/data/", "/metadata/", 1);
        self.client.delete(&path).await?;
        Ok(())
    }

    /// The paths of all that have a record here.
    pub(crate) async fn paths(&self) -> Result<Vec<String>, VaultError> {
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let path = format!("{}/metadata/{RECORDS}/{folder}", self.mount);
            for name in self.client.list(&path).await? {
                match name.ends_with('/') {
                    true => folders.push(format!("{folder}{name}")),
                    false => found.push(format!("{folder}{name}")),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn at(&self, folder: &str, path: &str) -> String {
        format!("{}/data/{folder}/{path}", self.mount)
    }
}

/// Reads the newest version of what is at `path`, such as `kv/data/app`.
pub(crate) async fn read(client: &VaultClient, path: &str) -> Step<Kept> {
    let reply = client.read(path, &[]).await?;
    let mut data = reply.and_then(|reply| reply.data).unwrap_or_default();
    let version = data.get("metadata").and_then(|metadata| metadata["version"].as_u64());
    let fields = match data.remove("data") {
        Some(Value::Object(fields)) => Some(Fields::new(fields)),
        _ => None,
    };
    Ok(Kept { version: version.unwrap_or(0), fields })
}

/// Writes a version after `version`.
pub(crate) async fn write(
    client: &VaultClient,
    path: &str,
    fields: Value,
    version: u64,
) -> Step<Written> {
    let mut body = json!({ "data": fields, "options": { "cas": version } });
    let written = client.write(path, &body).await;
    wipe(&mut body);
    match written {
        Ok(reply) => {
            let written = reply.data.as_ref().and_then(|data| data.get("version")?.as_u64());
            Ok(Written::As(written.unwrap_or(version + 1)))
        }
        Err(error) if is_overtaken(&error) => Ok(Written::Overtaken),
        Err(error) => Err(error.into()),
    }
}

/// Both servers say so in these words, with status 400.
fn is_overtaken(error: &VaultError) -> bool {
    error.failure().is_some_and(|failure| {
        failure.status == 400
            && failure
                .errors
                .iter()
                .any(|text| text.contains("check-and-set parameter did not match"))
    })
}

/// The custom metadata of a KV secret.
pub(crate) async fn metadata(client: &VaultClient, path: &str) -> Step<Map<String, Value>> {
    let reply = client.read(path, &[]).await?;
    let mut data = reply.and_then(|reply| reply.data).unwrap_or_default();
    match data.remove("custom_metadata") {
        Some(Value::Object(metadata)) => Ok(metadata),
        _ => Ok(Map::new()),
    }
}

/// A new value: of a password policy of the server, else 32 letters and digits.
pub(crate) async fn generate(client: &VaultClient, policy: Option<&str>) -> Step<SecretString> {
    let Some(policy) = policy else {
        let random: &dyn Random = &SystemRandom;
        return Ok(SecretString::new(random.base62(32)));
    };
    let reply = client.read(&format!("sys/policies/password/{policy}/generate"), &[]).await?;
    let mut data = reply.and_then(|reply| reply.data).unwrap_or_default();
    match data.remove("password") {
        Some(Value::String(password)) => Ok(SecretString::new(password)),
        _ => Err(Trouble::failed(format!("there is no password policy {policy}"))),
    }
}

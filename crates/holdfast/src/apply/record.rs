//! What this platform has applied, remembered between runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The record of one platform on one engine. It holds digests, no values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The format of this file.
    pub(crate) format: u32,
    /// The engine's cluster id: on another engine nothing of this holds.
    pub(crate) engine: String,
    /// What was applied, by API path.
    pub(crate) objects: BTreeMap<String, Applied>,
}

/// One object, as it was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// SHA-256 of what the file said.
    pub(crate) desired: String,
    /// SHA-256 of what the engine then answered, of the fields that the file names.
    pub(crate) actual: String,
}

/// The format that this version writes.
const FORMAT: u32 = 1;

impl Record {
    /// An empty record for `engine`.
    pub(crate) fn new(engine: &str) -> Self {
        Self { format: FORMAT, engine: engine.to_owned(), objects: BTreeMap::new() }
    }

    /// Reads the record at `path`. One that is missing, or of another engine, is empty.
    pub(crate) fn load(path: &Path, engine: &str) -> anyhow::Result<Self> {
        let found = Self::last(path)?.filter(|record| record.engine == engine);
        Ok(found.unwrap_or_else(|| Self::new(engine)))
    }

    /// Reads the record at `path`, of whichever engine was applied to last.
    pub(crate) fn last(path: &Path) -> anyhow::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(format!("read {}", path.display())),
        };
        let record: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged", path.display()))?;
        anyhow::ensure!(
            record.format <= FORMAT,
            "{} has format {}, written by a newer holdfast; this one knows up to {FORMAT}",
            path.display(),
            record.format
        );
        Ok(Some(record))
    }

    /// Writes the record whole: a crash leaves the old one or the new one.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let temporary = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

/// SHA-256 of a JSON value. Object keys are sorted, as `serde_json` keeps them.
pub(crate) fn digest_of(value: &Value) -> String {
    hex::encode(digest::digest(&digest::SHA256, value.to_string().as_bytes()))
}

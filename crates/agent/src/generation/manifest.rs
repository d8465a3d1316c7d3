//! What a generation is made of, kept beside its files. No value is ever part of it.

use std::path::{Path, PathBuf};

use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};

/// The record of one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its number: 1 for the first, each higher than the one before.
    pub generation: u64,
    /// When it was flipped to.
    pub published: Timestamp,
    /// Its files.
    pub files: Vec<FileRecord>,
}

/// One file of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Where its reader finds it.
    pub destination: PathBuf,
    /// The template it was rendered from.
    pub template: String,
    /// The generation that brought these bytes.
    pub since: u64,
    /// When that was.
    pub changed: Timestamp,
    /// The secrets whose values are in it.
    pub sources: Vec<SourceRecord>,
    /// The ids of the leases that were known when it was rendered: all that may be in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<String>,
}

/// A secret, as far as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The path of the API, such as `kv/data/app`.
    pub path: String,
    /// Its version, where its engine counts them.
    pub version: Option<u64>,
    /// When its engine had last rotated it, in the server's words; of static roles alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<String>,
    /// The fields that are in the file, such as `data.password`.
    pub fields: Vec<String>,
}

impl Manifest {
    /// The record of the file at `destination`.
    pub fn file(&self, destination: &Path) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.destination == destination)
    }
}

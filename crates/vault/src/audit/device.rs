//! One audit device.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use holdfast_logical::{Connection, Operation};
use holdfast_types::{Random, SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use tracing::error;

use super::file::{LogFile, Queued};
use super::line::{Hasher, Line};
use super::options::{Allowances, Options, OptionsError};
use super::{AuthRecord, RequestRecord};

/// How often a failing device is complained of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// A device as the operator wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Its name with a `/` at the end, such as `file/`.
    pub path: String,
    /// Its type: `file`.
    pub kind: String,
    /// What it is for.
    pub description: String,
    /// `file_path` and the like.
    pub options: BTreeMap<String, String>,
}

impl DeviceSpec {
    /// Whether its type and options make sense.
    ///
    /// # Errors
    /// The first rule they break.
    pub fn check(&self, allowances: Allowances) -> Result<(), OptionsError> {
        Options::parse(self, allowances).map(|_| ())
    }
}

pub(super) struct Device {
    spec: DeviceSpec,
    declared: bool,
    hasher: Hasher,
    prefix: String,
    file: LogFile,
    complained: Mutex<Option<Instant>>,
}

impl Device {
    /// A device that opens its file when it first writes.
    pub(super) fn new(
        spec: DeviceSpec,
        options: Options,
        declared: bool,
        salt: &SecretString,
    ) -> Self {
        let hasher = Hasher {
            key: hmac::Key::new(hmac::HMAC_SHA256, salt.expose().as_bytes()),
            hash_accessors: options.hmac_accessor,
            raw: options.raw,
            elide_lists: options.elide_lists,
        };
        let file = LogFile::new(options.target);
        Self { spec, declared, hasher, prefix: options.prefix, file, complained: Mutex::default() }
    }

    pub(super) fn spec(&self) -> &DeviceSpec {
        &self.spec
    }

    /// Whether it comes from the configuration file.
    pub(super) fn is_declared(&self) -> bool {
        self.declared
    }

    /// Its file; none where it writes to standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    /// Opens its file, anew if it is open.
    pub(super) fn open(&self) -> io::Result<()> {
        self.file.reopen()
    }

    /// Adds a record to what is written next.
    pub(super) fn queue(&self, line: &Line<'_>) -> io::Result<Queued> {
        Ok(self.file.queue(&line.to_bytes(&self.prefix, &self.hasher)?))
    }

    /// Returns once the record is written.
    pub(super) fn write(&self, record: &Queued) -> io::Result<()> {
        self.file.write(record)
    }

    /// Writes a record that stands for nothing, to see whether it can.
    pub(super) fn write_test(&self, now: Timestamp, random: &dyn Random) -> io::Result<()> {
        let request = RequestRecord {
            time: now,
            id: random.uuid(),
            operation: Operation::Update,
            path: "sys/audit/test".to_owned(),
            data: Map::new(),
            mount: None,
            connection: Connection::default(),
            headers: BTreeMap::new(),
            shown: None,
            wrap_ttl: 0,
            auth: AuthRecord { token_type: "default".to_owned(), ..AuthRecord::default() },
        };
        self.write(&self.queue(&Line { request: &request, response: None, time: now })?)
    }

    pub(super) fn hash(&self, input: &str) -> String {
        self.hasher.hash(input)
    }

    /// Logs that it cannot write, loudly but not with each record.
    pub(super) fn complain(&self, failure: &io::Error) {
        let mut complained =
            self.complained.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *complained = Some(Instant::now());
            error!(device = %self.spec.path, error = %failure, "audit device cannot write");
        }
    }
}

//! The server's configuration: Vault's files, in HCL or JSON, read strictly.
//!
//! A setting that is not known is an error and not a warning: whoever misspells `tls_cert_file`
//! must hear of it before the server listens. All that is wrong is reported at once, with file,
//! line and column.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audit::{Allowances, DeviceSpec};
use crate::http::ListenerSettings;
use crate::logs::LogFileSettings;

mod file;
mod initialize;
mod listener;
mod sanitized;
mod seal;

/// What is wrong with the configuration.
pub use holdfast_hcl::{FileProblem as Problem, FileProblems as ConfigError};
pub use initialize::InitRequest;
pub use seal::{SealKey, SealSettings};

use file::ServerFile;

/// Everything the server needs to know, complete and checked.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where it listens: at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Where it keeps its entries.
    pub storage: StorageSettings,
    /// What opens the barrier.
    pub seal: SealSettings,
    /// The audit devices declared in the files.
    pub audit: Vec<DeviceSpec>,
    /// What audit devices may do beyond the usual.
    pub audit_allowances: Allowances,
    /// What to do once, on an empty store.
    pub initialize: Vec<InitRequest>,
    /// The address that clients are told of, such as `https://vault.example:8200`.
    pub api_addr: Option<String>,
    /// The name of the cluster; random where none is set.
    pub cluster_name: Option<String>,
    /// Life of a token or lease that asks for none.
    pub default_lease_ttl: Duration,
    /// The longest life of a token or lease.
    pub max_lease_ttl: Duration,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// Log lines as JSON.
    pub log_json: bool,
    /// Where log lines go besides stderr.
    pub log_file: Option<LogFileSettings>,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// What an operator should know but need not change.
    pub warnings: Vec<String>,
}

/// Where the entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageSettings {
    /// In a SQLite database.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// How much room to set aside beside it, 0 for none; see [`crate::space::Reserve`].
        reserve_bytes: Option<u64>,
    },
    /// In memory: gone with the process.
    Inmem,
}

/// Reads files, and the `.hcl` and `.json` files of folders in the order of their names. Of a
/// setting that stands in several files the last one counts; listeners, audit devices and
/// `initialize` blocks add up.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(paths: &[PathBuf]) -> Result<ServerConfig, ConfigError> {
    let mut problems = ConfigError::default();
    let Some(whole) = read_all(paths, &mut problems) else {
        // What seems to be missing may stand in the file that cannot be read.
        return Err(problems);
    };
    let config = whole.resolve(&mut problems);
    match config {
        Some(config) if problems.0.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

/// A configuration whose seal was checked apart from the rest.
#[derive(Debug)]
pub struct Parts {
    /// All but the seal and what is to be done at the first start.
    pub config: ServerConfig,
    /// The seal and what is to be said of it, or all that is wrong with it.
    pub seal: Result<(SealSettings, Vec<String>), ConfigError>,
}

/// As [`load`], for a look at each part: a seal key that cannot be read hides nothing of the rest.
///
/// # Errors
/// All that is wrong but the seal.
pub fn load_parts(paths: &[PathBuf]) -> Result<Parts, ConfigError> {
    let mut problems = ConfigError::default();
    let Some(mut whole) = read_all(paths, &mut problems) else { return Err(problems) };
    let (mut of_seal, mut warnings) = (ConfigError::default(), Vec::new());
    let seal = match whole.seal.take() {
        Some(seal) => seal.resolve(&mut of_seal, &mut warnings),
        None => Some(SealSettings::Shamir),
    };
    if !matches!(seal, Some(SealSettings::Shamir)) {
        whole.initialize.clear();
    }
    match whole.resolve(&mut problems) {
        Some(config) if problems.0.is_empty() => {
            Ok(Parts { config, seal: seal.map(|seal| (seal, warnings)).ok_or(of_seal) })
        }
        _ => Err(problems),
    }
}

/// Where a server with these files keeps its entries. Nothing else is looked at, so that it can be
/// told where the seal key and the certificates cannot be read.
///
/// # Errors
/// All that is wrong with the files, or that they name no storage.
pub fn load_storage(paths: &[PathBuf]) -> Result<StorageSettings, ConfigError> {
    let mut problems = ConfigError::default();
    let whole = read_all(paths, &mut problems);
    match whole.and_then(ServerFile::into_storage) {
        Some(storage) if problems.0.is_empty() => Ok(storage),
        None if problems.0.is_empty() => {
            problems.add("storage: none is configured");
            Err(problems)
        }
        _ => Err(problems),
    }
}

/// All files laid over each other; none where one of them cannot be read.
fn read_all(paths: &[PathBuf], problems: &mut ConfigError) -> Option<ServerFile> {
    let mut whole = ServerFile::default();
    let mut all_read = true;
    for path in paths {
        for file in files(path, problems) {
            match read(&file, problems) {
                Some(part) => whole.merge(part),
                None => all_read = false,
            }
        }
    }
    all_read.then_some(whole)
}

fn read(file: &Path, problems: &mut ConfigError) -> Option<ServerFile> {
    match std::fs::read_to_string(file) {
        Ok(text) => ServerFile::parse(file, &text, problems),
        Err(error) => {
            problems.in_file(file, None, format!("cannot be read: {error}"));
            None
        }
    }
}

/// The files that a path stands for.
fn files(path: &Path, problems: &mut ConfigError) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            problems.in_file(path, None, format!("cannot be read: {error}"));
            return Vec::new();
        }
    };
    let is_config = |path: &PathBuf| path.extension().is_some_and(|e| e == "hcl" || e == "json");
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_config).collect();
    files.sort();
    if files.is_empty() {
        problems.in_file(path, None, "holds no file that ends in .hcl or .json");
    }
    files
}

#[cfg(test)]
mod tests;

//! One configuration file as the operator wrote it, and what all of them together mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_hcl::{Block, Problems, Settings};

use super::listener::ListenerFile;
use super::seal::SealFile;
use super::{ConfigError, InitRequest, ServerConfig, StorageSettings, initialize};
use crate::audit::{Allowances, DeviceSpec};
use crate::logs::LogFileSettings;

/// 32 days, as in OpenBao.
const LEASE_TTL: Duration = Duration::from_secs(768 * 3600);
const LOG_LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// The settings of one file, or of several laid over each other.
#[derive(Debug, Default)]
pub(super) struct ServerFile {
    listeners: Vec<ListenerFile>,
    storage: Option<StorageSettings>,
    /// There is a `storage` block; what is wrong with it was told where it stands.
    names_storage: bool,
    pub(super) seal: Option<SealFile>,
    audit: Vec<DeviceSpec>,
    audit_by_api: Option<bool>,
    audit_prefix: Option<bool>,
    audit_raw: Option<bool>,
    pub(super) initialize: Vec<InitRequest>,
    api_addr: Option<String>,
    cluster_name: Option<String>,
    default_lease_ttl: Option<Duration>,
    max_lease_ttl: Option<Duration>,
    log_level: Option<String>,
    log_format: Option<String>,
    log_file: Option<String>,
    log_rotate_bytes: Option<i64>,
    log_rotate_duration: Option<Duration>,
    log_rotate_max_files: Option<i64>,
    pid_file: Option<String>,
}

impl ServerFile {
    /// Reads a file's text. What is wrong goes to `problems`; what is right is kept, so that later
    /// checks find the rest. None where it has no sense at all.
    pub(super) fn parse(file: &Path, text: &str, problems: &mut ConfigError) -> Option<Self> {
        let body = match holdfast_hcl::parse(text) {
            Ok(body) => body,
            Err(error) => {
                problems.in_file(file, error.position, error.message);
                return None;
            }
        };
        let mut found = Problems::default();
        let this = Self::read(Settings::new(&body, &mut found));
        for problem in found.0 {
            let message = format!("{}: {}", problem.key, problem.message);
            problems.in_file(file, Some(problem.position), message);
        }
        Some(this)
    }

    fn read(mut settings: Settings<'_, '_>) -> Self {
        // Of interest to other servers than this one: without effect, and without harm.
        for accepted in [
            "cache_size",
            "cluster_addr",
            "disable_cache",
            "disable_clustering",
            "disable_mlock",
            "telemetry",
            "ui",
        ] {
            settings.ignore(accepted);
        }
        let storages = blocks(&mut settings, "storage", read_storage);
        let this = Self {
            listeners: blocks(&mut settings, "listener", ListenerFile::read),
            names_storage: !storages.is_empty(),
            storage: storages.into_iter().next_back().flatten(),
            seal: blocks(&mut settings, "seal", SealFile::read).pop().flatten(),
            audit: blocks(&mut settings, "audit", read_audit).into_iter().flatten().collect(),
            audit_by_api: settings.bool("unsafe_allow_api_audit_creation"),
            audit_prefix: settings.bool("allow_audit_log_prefixing"),
            audit_raw: settings.bool("unsafe_allow_audit_log_raw"),
            initialize: initialize::read(&mut settings),
            api_addr: settings.string("api_addr"),
            cluster_name: settings.string("cluster_name"),
            default_lease_ttl: settings.duration("default_lease_ttl"),
            max_lease_ttl: settings.duration("max_lease_ttl"),
            log_level: settings.string("log_level"),
            log_format: settings.string("log_format"),
            log_file: settings.string("log_file"),
            log_rotate_bytes: settings.integer("log_rotate_bytes"),
            log_rotate_duration: settings.duration("log_rotate_duration"),
            log_rotate_max_files: settings.integer("log_rotate_max_files"),
            pid_file: settings.string("pid_file"),
        };
        if let Some(level) = &this.log_level
            && !LOG_LEVELS.contains(&level.to_ascii_lowercase().as_str())
        {
            settings.refuse("log_level", format!("expected one of {}", LOG_LEVELS.join(", ")));
        }
        if let Some(format) = &this.log_format
            && !matches!(format.as_str(), "standard" | "json" | "")
        {
            settings.refuse("log_format", "expected \"standard\" or \"json\"");
        }
        settings.finish();
        this
    }

    /// Lays `later` over this one.
    pub(super) fn merge(&mut self, later: Self) {
        fn over<T>(earlier: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *earlier = later;
            }
        }
        self.listeners.extend(later.listeners);
        over(&mut self.storage, later.storage);
        self.names_storage |= later.names_storage;
        over(&mut self.seal, later.seal);
        self.audit.extend(later.audit);
        over(&mut self.audit_by_api, later.audit_by_api);
        over(&mut self.audit_prefix, later.audit_prefix);
        over(&mut self.audit_raw, later.audit_raw);
        self.initialize.extend(later.initialize);
        over(&mut self.api_addr, later.api_addr);
        over(&mut self.cluster_name, later.cluster_name);
        over(&mut self.default_lease_ttl, later.default_lease_ttl);
        over(&mut self.max_lease_ttl, later.max_lease_ttl);
        over(&mut self.log_level, later.log_level);
        over(&mut self.log_format, later.log_format);
        over(&mut self.log_file, later.log_file);
        over(&mut self.log_rotate_bytes, later.log_rotate_bytes);
        over(&mut self.log_rotate_duration, later.log_rotate_duration);
        over(&mut self.log_rotate_max_files, later.log_rotate_max_files);
        over(&mut self.pid_file, later.pid_file);
    }

    /// Where the entries are kept, and nothing else.
    pub(super) fn into_storage(self) -> Option<StorageSettings> {
        self.storage
    }

    /// Fills in what was left out and checks what several settings mean together. None where
    /// something is missing that has no default.
    pub(super) fn resolve(self, problems: &mut ConfigError) -> Option<ServerConfig> {
        let mut warnings = Vec::new();
        let max_lease_ttl = self.max_lease_ttl.unwrap_or(LEASE_TTL);
        let default_lease_ttl = self.default_lease_ttl.unwrap_or(LEASE_TTL.min(max_lease_ttl));
        if default_lease_ttl > max_lease_ttl {
            problems.add("default_lease_ttl: is longer than max_lease_ttl");
        }
        let allowances = Allowances {
            creation_by_api: self.audit_by_api.unwrap_or(false),
            prefix: self.audit_prefix.unwrap_or(false),
            raw: self.audit_raw.unwrap_or(false),
        };
        for (index, device) in self.audit.iter().enumerate() {
            if let Err(error) = device.check(allowances) {
                problems.add(format!("audit.{}: {error}", device.path.trim_end_matches('/')));
            }
            if self.audit[..index].iter().any(|earlier| earlier.path == device.path) {
                problems.add(format!("audit.{}: declared twice", device.path));
            }
        }
        let seal = match self.seal {
            Some(seal) => seal.resolve(problems, &mut warnings),
            None => Some(super::SealSettings::Shamir),
        };
        if !self.initialize.is_empty() && matches!(seal, Some(super::SealSettings::Shamir)) {
            problems.add("initialize: needs a seal that opens by itself, such as seal \"static\"");
        }
        if self.listeners.is_empty() {
            problems.add("listener: none is configured");
        }
        if self.storage.is_none() && !self.names_storage {
            problems.add("storage: none is configured");
        }
        let listeners: Vec<_> =
            self.listeners.into_iter().filter_map(|listener| listener.resolve(problems)).collect();
        Some(ServerConfig {
            listeners,
            storage: self.storage?,
            seal: seal?,
            audit: self.audit,
            audit_allowances: allowances,
            initialize: self.initialize,
            api_addr: self.api_addr,
            cluster_name: self.cluster_name,
            default_lease_ttl,
            max_lease_ttl,
            log_level: self.log_level.map_or("info".to_owned(), |level| level.to_ascii_lowercase()),
            log_json: self.log_format.as_deref() == Some("json"),
            log_file: self.log_file.filter(|path| !path.is_empty()).map(|path| LogFileSettings {
                path: path.into(),
                // As in OpenBao, nothing below zero is a limit.
                rotate_bytes: self.log_rotate_bytes.map_or(0, |n| u64::try_from(n).unwrap_or(0)),
                rotate_after: self
                    .log_rotate_duration
                    .filter(|time| !time.is_zero())
                    .unwrap_or(LogFileSettings::ROTATE_AFTER),
                max_files: self.log_rotate_max_files.unwrap_or(0),
            }),
            pid_file: self.pid_file.map(PathBuf::from),
            warnings,
        })
    }
}

/// Reads every block of a name.
pub(super) fn blocks<T>(
    settings: &mut Settings<'_, '_>,
    key: &'static str,
    read: impl Fn(&Block<'_>, &mut Problems) -> T,
) -> Vec<T> {
    let blocks = settings.blocks(key);
    blocks.iter().map(|block| read(block, settings.problems())).collect()
}

fn read_storage(block: &Block<'_>, problems: &mut Problems) -> Option<StorageSettings> {
    let storage = match block.labels[..] {
        ["inmem"] => Some(StorageSettings::Inmem),
        ["sqlite"] => {
            let mut settings = block.settings(problems);
            let path = settings.string("path");
            if path.is_none() {
                settings.refuse("path", "is missing: where to keep the database");
            }
            let reserve_bytes = settings.integer("reserve_bytes");
            if reserve_bytes.is_some_and(i64::is_negative) {
                settings.refuse("reserve_bytes", "cannot be negative; 0 sets no room aside");
            }
            settings.finish();
            let reserve_bytes = reserve_bytes.and_then(|bytes| u64::try_from(bytes).ok());
            return Some(StorageSettings::Sqlite { path: path?.into(), reserve_bytes });
        }
        _ => {
            problems.add(block.position, "storage", "expected \"sqlite\" or \"inmem\" as its type");
            None
        }
    };
    if storage.is_some() {
        block.settings(problems).finish();
    }
    storage
}

/// `audit "file" "name" { description = "..." options { ... } }`
fn read_audit(block: &Block<'_>, problems: &mut Problems) -> Option<DeviceSpec> {
    let [kind, name] = block.labels[..] else {
        problems.add(
            block.position,
            "audit",
            "expected a type and a name: audit \"file\" \"main\"",
        );
        return None;
    };
    let mut settings = block.settings(problems);
    let spec = DeviceSpec {
        path: format!("{}/", name.trim_matches('/')),
        kind: kind.to_owned(),
        description: settings.string("description").unwrap_or_default(),
        options: settings.string_map("options").unwrap_or_default(),
    };
    settings.finish();
    Some(spec)
}

//! `log_level`, `log_format`, `log_file`: how the agent logs.

use std::path::PathBuf;

use holdfast_hcl::Settings;

use super::{ConfigError, Overrides};

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// How the agent logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `trace`, `debug`, `info`, `warn` or `error`. Default: `info`.
    pub level: &'static str,
    /// Lines as JSON.
    pub json: bool,
    /// A file, in place of stderr.
    pub file: Option<PathBuf>,
}

/// The same as the operator wrote it.
#[derive(Debug, Default)]
pub(super) struct LogFile {
    level: Option<String>,
    format: Option<String>,
    file: Option<String>,
    rotation: bool,
}

impl LogFile {
    pub(super) fn read(settings: &mut Settings<'_, '_>) -> Self {
        let this = Self {
            level: settings.string("log_level").filter(|level| !level.is_empty()),
            format: settings.string("log_format").filter(|format| !format.is_empty()),
            file: settings.string("log_file").filter(|file| !file.is_empty()),
            rotation: ["log_rotate_bytes", "log_rotate_duration", "log_rotate_max_files"]
                .map(|key| {
                    let set = settings.is_set(key);
                    settings.ignore(key);
                    set
                })
                .contains(&true),
        };
        if this.level.as_deref().is_some_and(|level| known(level).is_none()) {
            settings.refuse("log_level", format!("expected one of {}", LEVELS.join(", ")));
        }
        if this.format.as_deref().is_some_and(|format| is_json(format).is_none()) {
            settings.refuse("log_format", "expected \"standard\" or \"json\"");
        }
        this
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.level = later.level.or(self.level.take());
        self.format = later.format.or(self.format.take());
        self.file = later.file.or(self.file.take());
        self.rotation |= later.rotation;
    }

    pub(super) fn resolve(
        self,
        overrides: &Overrides,
        problems: &mut ConfigError,
        warnings: &mut Vec<String>,
    ) -> LogConfig {
        let level = match &overrides.log_level {
            None => self.level.as_deref().and_then(known),
            Some(level) => known(level).or_else(|| {
                problems.add(format!("-log-level is one of {}", LEVELS.join(", ")));
                None
            }),
        };
        let json = match &overrides.log_format {
            None => self.format.as_deref().and_then(is_json),
            Some(format) => is_json(format).or_else(|| {
                problems.add("-log-format is standard or json");
                None
            }),
        };
        let file = overrides.log_file.clone().or(self.file).map(PathBuf::from);
        if self.rotation && file.is_some() {
            warnings.push(
                "the log file is not rotated here: it is opened anew on SIGHUP, for logrotate"
                    .to_owned(),
            );
        }
        LogConfig { level: level.unwrap_or("info"), json: json.unwrap_or(false), file }
    }
}

fn known(level: &str) -> Option<&'static str> {
    let level = level.to_ascii_lowercase();
    let level = match level.as_str() {
        "warning" => "warn",
        "err" => "error",
        other => other,
    };
    LEVELS.into_iter().find(|known| *known == level)
}

fn is_json(format: &str) -> Option<bool> {
    match format.to_ascii_lowercase().as_str() {
        "standard" | "" => Some(false),
        "json" => Some(true),
        _ => None,
    }
}

//! What can be said of a file device, read strictly: a misspelt option must not leave a log in the
//! clear, or nowhere.

use std::path::PathBuf;

use super::DeviceSpec;

/// What the server's configuration allows beyond the usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowances {
    /// `unsafe_allow_api_audit_creation`: devices by the API, not only by the configuration file.
    /// Who may call it chooses files that this process writes to.
    pub creation_by_api: bool,
    /// `allow_audit_log_prefixing`: a text before each record.
    pub prefix: bool,
    /// `unsafe_allow_audit_log_raw`: values in the clear.
    pub raw: bool,
}

/// Why a device's options are refused. The words are OpenBao's where it has the same rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The type is not `file`.
    #[error("unknown backend type: {0:?}")]
    Kind(String),
    /// The configuration file is where devices are declared.
    #[error(
        "cannot enable audit device via API; use declarative, config-based audit device \
         management instead"
    )]
    ByApi,
    /// No `file_path`.
    #[error("file_path is required")]
    NoPath,
    /// `discard` writes nowhere, which is no audit.
    #[error("file_path \"discard\" is not supported")]
    Discard,
    /// `mode` is no octal number.
    #[error("mode {0:?} is not an octal file mode such as \"0600\"")]
    Mode(String),
    /// An option is neither true nor false.
    #[error("option {name:?} is {value:?}; it can be \"true\" or \"false\"")]
    Flag {
        /// Its name.
        name: &'static str,
        /// What it was set to.
        value: String,
    },
    /// `prefix` without leave.
    #[error("audit log prefixing is not allowed")]
    Prefix,
    /// `log_raw` without leave.
    #[error("option \"log_raw\" would write secrets in the clear and is not allowed")]
    Raw,
    /// `format` is not `json`.
    #[error("unknown format type {0:?}")]
    Format(String),
    /// No such option.
    #[error("unknown option {0:?} of a file audit device")]
    Unknown(String),
}

/// Where a file device writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// This file, with this mode; none leaves an existing file's mode alone.
    File { path: PathBuf, mode: Option<u32> },
    /// The process's standard output.
    Stdout,
}

/// The options of a file device, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) target: Target,
    pub(super) hmac_accessor: bool,
    pub(super) prefix: String,
    pub(super) raw: bool,
    pub(super) elide_lists: bool,
}

impl Options {
    pub(super) fn parse(spec: &DeviceSpec, allowances: Allowances) -> Result<Self, OptionsError> {
        if spec.kind != "file" {
            return Err(OptionsError::Kind(spec.kind.clone()));
        }
        let (mut path, mut mode) = (None, None);
        let (mut hmac_accessor, mut prefix, mut raw) = (true, String::new(), false);
        let mut elide_lists = false;
        for (name, value) in &spec.options {
            match name.as_str() {
                "file_path" | "path" => path = Some(value.as_str()),
                "mode" => mode = Some(file_mode(value)?),
                "hmac_accessor" => hmac_accessor = flag("hmac_accessor", value)?,
                "prefix" => prefix.clone_from(value),
                "elide_list_responses" => elide_lists = flag("elide_list_responses", value)?,
                "log_raw" => raw = flag("log_raw", value)?,
                "format" if value == "json" => {}
                "format" => return Err(OptionsError::Format(value.clone())),
                _ => return Err(OptionsError::Unknown(name.clone())),
            }
        }
        if raw && !allowances.raw {
            return Err(OptionsError::Raw);
        }
        if !prefix.is_empty() && !allowances.prefix {
            return Err(OptionsError::Prefix);
        }
        let target = match path {
            None | Some("") => return Err(OptionsError::NoPath),
            Some("discard") => return Err(OptionsError::Discard),
            Some("stdout") => Target::Stdout,
            Some(path) => Target::File { path: path.into(), mode: mode.unwrap_or(Some(0o600)) },
        };
        Ok(Self { target, hmac_accessor, prefix, raw, elide_lists })
    }
}

/// `0600`; all zeros leave the file's mode as it is.
fn file_mode(text: &str) -> Result<Option<u32>, OptionsError> {
    match u32::from_str_radix(text, 8) {
        Ok(0) => Ok(None),
        Ok(mode) if mode <= 0o777 => Ok(Some(mode)),
        _ => Err(OptionsError::Mode(text.to_owned())),
    }
}

fn flag(name: &'static str, value: &str) -> Result<bool, OptionsError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(OptionsError::Flag { name, value: value.to_owned() }),
    }
}

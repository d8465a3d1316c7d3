//! The agent's configuration: the files of Vault's and OpenBao's agents, in HCL or JSON.
//!
//! A file that runs under `bao agent` runs here. What is stricter: a setting that is not known is
//! an error and not a silence, and all that is wrong is reported at once, with file, line and
//! column. What the operator wrote is read into private structs ([`AgentFile`] and its parts);
//! what the code uses, complete and checked, is [`AgentConfig`].

use std::path::{Path, PathBuf};
use std::time::Duration;

mod auto_auth;
mod command;
mod exec;
mod file;
mod listener;
mod log;
mod method;
mod outline;
mod proxy;
mod server;
mod sink;
mod template;
mod value;

pub use auto_auth::AutoAuthConfig;
pub use command::{
    AcknowledgeConfig, Acknowledgement, CommandConfig, CommandEnvironment, NotifyConfig,
};
pub use exec::{EnvTemplateConfig, ExecConfig, RestartOn};
pub use holdfast_hcl::{FileProblem as Problem, FileProblems as ConfigError};
pub use listener::{ListenerConfig, ListenerRole, SocketConfig, TlsConfig};
pub use log::LogConfig;
pub use method::{AppRole, Cert, Jwt, Kubernetes, Method, MethodConfig, TokenFile};
pub use outline::{Outline, Placed, is_agents};
pub use proxy::{ApiProxyConfig, AutoAuthToken, CacheConfig};
pub use server::ServerConfig;
pub use sink::{SinkConfig, SinkEncryption};
pub use template::{TemplateConfig, TemplateSource, TemplateText, TemplatingConfig, WaitConfig};
pub use value::Principal;

use file::AgentFile;

/// Everything the agent needs to know.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Where the secrets server is, whom to trust, and how patient to be.
    pub server: ServerConfig,
    /// How to log in, and where to write the token. None: the agent only passes requests on.
    pub auto_auth: Option<AutoAuthConfig>,
    /// Files to render, in the order they were written.
    pub templates: Vec<TemplateConfig>,
    /// What holds for all templates.
    pub templating: TemplatingConfig,
    /// Environment variables of the process in `exec`.
    pub env_templates: Vec<EnvTemplateConfig>,
    /// The process that the agent runs.
    pub exec: Option<ExecConfig>,
    /// Keeps answers that have a lease.
    pub cache: Option<CacheConfig>,
    /// Whose token the requests carry that are passed on.
    pub api_proxy: ApiProxyConfig,
    /// Where the agent listens.
    pub listeners: Vec<ListenerConfig>,
    /// Ends with code 0 once the token is in every sink and every template is rendered.
    pub exit_after_auth: bool,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// How to log.
    pub log: LogConfig,
    /// Where the agent keeps what must outlive it, such as a secret id that was unwrapped; see
    /// `crate::auth`. On tmpfs, so that it does not outlive the machine.
    pub state_dir: Option<PathBuf>,
    /// What an operator should know but need not change.
    pub warnings: Vec<String>,
    /// The files and folders that all of this was read from.
    pub read_from: Vec<PathBuf>,
}

/// What flags and environment variables say. Each wins over the files.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Where the server is.
    pub address: Option<String>,
    /// PEM file of the authorities to trust.
    pub ca_cert: Option<String>,
    /// Folder of such files.
    pub ca_path: Option<String>,
    /// PEM file of the client's certificate.
    pub client_cert: Option<String>,
    /// PEM file of its key.
    pub client_key: Option<String>,
    /// Trusts any certificate.
    pub tls_skip_verify: Option<bool>,
    /// The name to expect in the server's certificate.
    pub tls_server_name: Option<String>,
    /// The namespace of all requests.
    pub namespace: Option<String>,
    /// How often a request is repeated.
    pub max_retries: Option<u32>,
    /// Ends once the token is written.
    pub exit_after_auth: Option<bool>,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub log_level: Option<String>,
    /// `standard` or `json`.
    pub log_format: Option<String>,
    /// Where to log to, in place of stderr.
    pub log_file: Option<String>,
}

/// Reads files, and the `.hcl` and `.json` files of folders in the order of their names. Of a
/// block that stands in several files the last one counts; listeners and templates add up.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(paths: &[PathBuf], overrides: &Overrides) -> Result<AgentConfig, ConfigError> {
    let mut problems = ConfigError::default();
    let mut whole = AgentFile::default();
    let mut all_read = true;
    for path in paths {
        for file in files(path, &mut problems) {
            match read(&file, &mut problems) {
                Some(part) => whole.merge(part),
                None => all_read = false,
            }
        }
    }
    if !all_read {
        // What seems to be missing may stand in the file that cannot be read.
        return Err(problems);
    }
    match whole.resolve(overrides, &mut problems) {
        Some(config) if problems.0.is_empty() => {
            Ok(AgentConfig { read_from: paths.to_vec(), ..config })
        }
        _ => Err(problems),
    }
}

fn read(file: &Path, problems: &mut ConfigError) -> Option<AgentFile> {
    match std::fs::read_to_string(file) {
        Ok(text) => AgentFile::parse(file, &text, problems),
        Err(error) => {
            problems.in_file(file, None, format!("cannot be read: {error}"));
            None
        }
    }
}

/// The files that a path stands for. What editors leave behind is none of them.
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
    let is_config = |path: &PathBuf| {
        let name = path.file_name().map(std::ffi::OsStr::to_string_lossy).unwrap_or_default();
        let kind = path.extension().is_some_and(|kind| kind == "hcl" || kind == "json");
        kind && path.is_file() && !name.starts_with(".#")
    };
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_config).collect();
    files.sort();
    if files.is_empty() {
        problems.in_file(path, None, "holds no file that ends in .hcl or .json");
    }
    files
}

/// How long to wait after a failed login, at least and at most.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;

//! `listener "tcp"` and `listener "unix"`: where the agent listens.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use holdfast_hcl::{Block, Problems, Settings};

use super::{Principal, value};

/// Where a listener binds that names no address.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8200";

/// A place where the agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The socket.
    pub socket: SocketConfig,
    /// TLS; none for plain HTTP.
    pub tls: Option<TlsConfig>,
    /// What it serves.
    pub role: ListenerRole,
    /// Refuses requests without `X-Vault-Request: true`, which no browser sends for another site.
    pub require_request_header: bool,
    /// Whether `POST /agent/v1/quit` ends the agent.
    pub enable_quit: bool,
    /// The largest body of a request, in bytes. Default: 32 MiB.
    pub max_request_bytes: usize,
    /// How long a request may take, its answer included. Default: 90 s.
    pub max_request_duration: Duration,
    /// How long a request's head may take. Default: 10 s.
    pub head_timeout: Duration,
    /// How long a request's body may take. Default: 30 s.
    pub body_timeout: Duration,
    /// How long a connection may rest between two requests. Default: 5 min.
    pub idle_timeout: Duration,
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketConfig {
    /// An address. Port 0 takes any.
    Tcp(SocketAddr),
    /// A file.
    Unix {
        /// The file.
        path: PathBuf,
        /// Its permission bits. Default: 0600.
        mode: u32,
        /// Whose it is; none for the agent's user.
        user: Option<Principal>,
        /// Its group; none for the agent's.
        group: Option<Principal>,
    },
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM: the certificate, then its intermediates.
    pub certificate_file: PathBuf,
    /// PEM: its key.
    pub key_file: PathBuf,
    /// PEM: the authorities by whom callers' certificates have to be signed. None: callers need
    /// none.
    pub client_ca_file: Option<PathBuf>,
    /// Refuses TLS 1.2.
    pub only_tls13: bool,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListenerRole {
    /// Everything.
    #[default]
    Default,
    /// `/agent/v1/metrics` and nothing else.
    MetricsOnly,
}

/// Settings of listeners of servers, which have no meaning in front of an agent.
const WITHOUT_MEANING: [&str; 28] = [
    "cluster_address",
    "cors_allow_credentials",
    "cors_allowed_headers",
    "cors_allowed_origins",
    "cors_enabled",
    "custom_response_headers",
    "disable_replication_status_endpoints",
    "disable_request_limiter",
    "disable_unauthed_generate_root_endpoints",
    "disable_unauthed_rekey_endpoints",
    "http_write_timeout",
    "inflight_requests_logging",
    "max_request_json_memory",
    "max_request_json_strings",
    "profiling",
    "proxy_api",
    "proxy_protocol_authorized_addrs",
    "proxy_protocol_behavior",
    "purpose",
    "telemetry",
    "tls_auto_reload",
    "tls_auto_reload_interval",
    "tls_max_version",
    "tls_prefer_server_cipher_suites",
    "x_forwarded_for_authorized_addrs",
    "x_forwarded_for_hop_skips",
    "x_forwarded_for_reject_not_authorized",
    "x_forwarded_for_reject_not_present",
];

impl ListenerConfig {
    /// None where something is wrong that was reported.
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let kind = value::kind(block, &mut settings)?;
        let socket = match kind.as_str() {
            "tcp" => read_tcp(&mut settings),
            "unix" => read_unix(&mut settings),
            _ => {
                let text = "expected \"tcp\" or \"unix\" as its type";
                settings.problems().add(block.position, "listener", text);
                return None;
            }
        };
        let off = settings.bool("tls_disable");
        // A socket's file guards itself.
        let usual = kind == "unix" && !settings.is_set("tls_cert_file");
        let tls = match off.unwrap_or(usual) {
            true => {
                ignore_tls(&mut settings);
                Some(None)
            }
            false => TlsConfig::read(&mut settings).map(Some),
        };
        let roles =
            [("default", ListenerRole::Default), ("metrics_only", ListenerRole::MetricsOnly)];
        let role = value::word(&mut settings, "role", &roles);
        let require_request_header = settings.bool("require_request_header").unwrap_or(false);
        let enable_quit = value::block(&mut settings, "agent_api", read_agent_api);
        let max_request_bytes = settings.integer("max_request_size");
        let mut time = |key, usual| {
            let time = settings.duration(key).filter(|time| !time.is_zero());
            time.unwrap_or(Duration::from_secs(usual))
        };
        let max_request_duration = time("max_request_duration", 90);
        let head_timeout = time("http_read_header_timeout", 10);
        let body_timeout = time("http_read_timeout", 30);
        let idle_timeout = time("http_idle_timeout", 300);
        for key in WITHOUT_MEANING {
            settings.ignore(key);
        }
        settings.finish();
        Some(Self {
            socket: socket?,
            tls: tls?,
            role: role.unwrap_or_default(),
            require_request_header,
            enable_quit: enable_quit.unwrap_or(false),
            max_request_bytes: max_request_bytes
                .filter(|bytes| *bytes > 0)
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(32 << 20),
            max_request_duration,
            head_timeout,
            body_timeout,
            idle_timeout,
        })
    }

    /// Whether tokens cross a network in clear text.
    pub(super) fn is_overheard(&self) -> bool {
        let SocketConfig::Tcp(address) = &self.socket else { return false };
        self.tls.is_none() && self.role != ListenerRole::MetricsOnly && !address.ip().is_loopback()
    }
}

fn read_tcp(settings: &mut Settings<'_, '_>) -> Option<SocketConfig> {
    let text = settings.string("address").filter(|text| !text.is_empty());
    let text = text.as_deref().unwrap_or(DEFAULT_ADDRESS);
    for key in ["socket_mode", "socket_user", "socket_group"] {
        settings.ignore(key);
    }
    match address(text) {
        Ok(address) => Some(SocketConfig::Tcp(address)),
        Err(reason) => {
            settings.refuse("address", format!("{text:?} {reason}"));
            None
        }
    }
}

fn read_unix(settings: &mut Settings<'_, '_>) -> Option<SocketConfig> {
    let path = value::required_path(settings, "address", "the path of the socket");
    let mode = value::mode(settings, "socket_mode").unwrap_or(0o600);
    let user = value::principal(settings, "socket_user", "socket_uid");
    let group = value::principal(settings, "socket_group", "socket_gid");
    Some(SocketConfig::Unix { path: path?, mode, user, group })
}

fn read_agent_api(block: &Block<'_>, problems: &mut Problems) -> bool {
    let mut settings = block.settings(problems);
    let quit = settings.bool("enable_quit").unwrap_or(false);
    settings.finish();
    quit
}

impl TlsConfig {
    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let missing = "is missing, and tls_disable is not set";
        let certificate_file = value::path(settings, "tls_cert_file");
        let key_file = value::path(settings, "tls_key_file");
        for (key, file) in [("tls_cert_file", &certificate_file), ("tls_key_file", &key_file)] {
            if file.is_none() {
                settings.refuse(key, missing);
            }
        }
        let versions = [("tls12", false), ("tls13", true)];
        let only_tls13 = value::word(settings, "tls_min_version", &versions).unwrap_or(false);
        let client_ca_file = value::path(settings, "tls_client_ca_file");
        let require = settings.bool("tls_require_and_verify_client_cert").unwrap_or(false);
        let disable = settings.bool("tls_disable_client_certs").unwrap_or(false);
        if require && client_ca_file.is_none() {
            let text = "is missing: the CAs that tls_require_and_verify_client_cert checks with";
            settings.refuse("tls_client_ca_file", text);
        }
        if require && disable {
            let text = "contradicts tls_require_and_verify_client_cert";
            settings.refuse("tls_disable_client_certs", text);
        }
        // The library's choice is the right one: it has no weak ones.
        settings.ignore("tls_cipher_suites");
        settings.ignore("tls_key_exchange_preferences");
        Some(Self {
            certificate_file: certificate_file?,
            key_file: key_file?,
            client_ca_file: client_ca_file.filter(|_| require),
            only_tls13,
        })
    }
}

fn ignore_tls(settings: &mut Settings<'_, '_>) {
    for key in [
        "tls_cert_file",
        "tls_cipher_suites",
        "tls_client_ca_file",
        "tls_disable_client_certs",
        "tls_key_exchange_preferences",
        "tls_key_file",
        "tls_min_version",
        "tls_require_and_verify_client_cert",
    ] {
        settings.ignore(key);
    }
}

/// `127.0.0.1:8100`, `[::1]:8100`, `localhost:8100`, or `:8100` for all addresses.
fn address(text: &str) -> Result<SocketAddr, String> {
    if text.contains("{{") {
        return Err("is a template; write the address itself".to_owned());
    }
    let everywhere = text.strip_prefix(':').map(|port| format!("[::]:{port}"));
    let text = everywhere.as_deref().unwrap_or(text);
    let mut addresses = text.to_socket_addrs().map_err(|error| {
        format!("is no address with a port, such as \"127.0.0.1:8100\": {error}")
    })?;
    addresses.next().ok_or_else(|| "names no address".to_owned())
}

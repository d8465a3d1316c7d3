//! `listener "tcp"` and `listener "unix"`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use holdfast_hcl::{Block, Problems, Settings};

use super::ConfigError;
use super::file::blocks;
use crate::http::{ClientCertificates, Limits, ListenerSettings, SocketSettings, TlsSettings};

/// Where a listener binds that names no address.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8200);

/// A listener as the operator wrote it.
#[derive(Debug, Default)]
pub(super) struct ListenerFile {
    /// `tcp` or `unix`; none where that was wrong already.
    kind: Option<Kind>,
    address: Option<String>,
    /// The name of a socket that is passed on, in place of `address`.
    inherited_fd: Option<String>,
    socket_mode: Option<u32>,
    tls_disable: Option<bool>,
    /// Allows HTTP without TLS on addresses beyond this machine.
    unsafe_allow_cleartext: Option<bool>,
    tls_cert_file: Option<String>,
    tls_key_file: Option<String>,
    tls_min_version: Option<String>,
    tls_client_ca_file: Option<String>,
    tls_require_client_cert: Option<bool>,
    tls_disable_client_certs: Option<bool>,
    max_request_size: Option<i64>,
    max_request_duration: Option<Duration>,
    http_read_timeout: Option<Duration>,
    http_read_header_timeout: Option<Duration>,
    http_idle_timeout: Option<Duration>,
    tls_handshake_timeout: Option<Duration>,
    /// `unauthenticated_metrics_access` of its block `telemetry`.
    open_metrics: Option<bool>,
    /// Percent of all connections, requests and bodies that one address may have.
    address_share: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Unix,
}

impl ListenerFile {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Self {
        let kind = match block.labels[..] {
            ["tcp"] => Kind::Tcp,
            ["unix"] => Kind::Unix,
            _ => {
                let expected = "expected \"tcp\" or \"unix\" as its type";
                problems.add(block.position, "listener", expected);
                return Self::default();
            }
        };
        let mut settings = block.settings(problems);
        let this = Self { kind: Some(kind), ..Self::read_settings(kind, &mut settings) };
        settings.finish();
        this
    }

    fn read_settings(kind: Kind, settings: &mut Settings<'_, '_>) -> Self {
        let mut this = Self {
            address: settings.string("address"),
            inherited_fd: settings.string("inherited_fd"),
            max_request_size: settings.integer("max_request_size"),
            max_request_duration: settings.duration("max_request_duration"),
            http_read_timeout: settings.duration("http_read_timeout"),
            http_read_header_timeout: settings.duration("http_read_header_timeout"),
            http_idle_timeout: settings.duration("http_idle_timeout"),
            open_metrics: blocks(settings, "telemetry", read_telemetry).pop().flatten(),
            address_share: settings.integer("max_percent_per_address"),
            ..Self::default()
        };
        // An answer is written as fast as the client reads it; `http_idle_timeout` bounds that.
        settings.ignore("http_write_timeout");
        if this.max_request_size.is_some_and(|size| size <= 0) {
            settings.refuse("max_request_size", "expected a size in bytes above zero");
        }
        if this.address_share.is_some_and(|share| !(1..=100).contains(&share)) {
            settings.refuse("max_percent_per_address", "expected a number from 1 to 100");
        }
        if kind == Kind::Unix {
            this.tls_disable = settings.bool("tls_disable").or(Some(true));
            this.socket_mode = settings.string("socket_mode").and_then(|text| {
                let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
                if mode.is_none() {
                    settings.refuse("socket_mode", "expected an octal mode such as \"0660\"");
                }
                mode
            });
            if this.address.is_none() && this.inherited_fd.is_none() {
                settings.refuse("address", "is missing: the path of the socket");
            }
            if this.tls_disable == Some(false) {
                settings.refuse("tls_disable", "a Unix socket has no TLS");
            }
            return this;
        }
        settings.ignore("cluster_address");
        this.tls_disable = settings.bool("tls_disable");
        this.unsafe_allow_cleartext = settings.bool("unsafe_allow_cleartext");
        this.tls_cert_file = settings.string("tls_cert_file");
        this.tls_key_file = settings.string("tls_key_file");
        this.tls_min_version = settings.string("tls_min_version");
        this.tls_client_ca_file = settings.string("tls_client_ca_file");
        this.tls_require_client_cert = settings.bool("tls_require_and_verify_client_cert");
        this.tls_disable_client_certs = settings.bool("tls_disable_client_certs");
        this.tls_handshake_timeout = settings.duration("tls_handshake_timeout");
        this.check_tls(settings);
        this
    }

    /// What can be said of a TCP listener's TLS settings while their places are at hand.
    fn check_tls(&self, settings: &mut Settings<'_, '_>) {
        if self.tls_disable == Some(true) {
            return;
        }
        for (key, value) in
            [("tls_cert_file", &self.tls_cert_file), ("tls_key_file", &self.tls_key_file)]
        {
            if value.is_none() {
                settings.refuse(key, "is missing, and tls_disable is not set");
            }
        }
        if let Some(version) = &self.tls_min_version
            && !matches!(version.as_str(), "tls12" | "tls13")
        {
            settings.refuse("tls_min_version", "expected \"tls12\" or \"tls13\"");
        }
        if self.tls_require_client_cert == Some(true) {
            if self.tls_disable_client_certs == Some(true) {
                let text = "contradicts tls_require_and_verify_client_cert";
                settings.refuse("tls_disable_client_certs", text);
            }
            if self.tls_client_ca_file.is_none() {
                let text =
                    "is missing: the CAs that tls_require_and_verify_client_cert checks with";
                settings.refuse("tls_client_ca_file", text);
            }
        }
    }

    pub(super) fn resolve(self, problems: &mut ConfigError) -> Option<ListenerSettings> {
        let kind = self.kind?;
        let socket = match (kind, self.inherited_fd, self.address) {
            (_, Some(name), _) => SocketSettings::Inherited(name),
            (Kind::Unix, None, path) => SocketSettings::Unix {
                path: PathBuf::from(path?),
                mode: self.socket_mode.unwrap_or(0o600),
            },
            (Kind::Tcp, None, None) => SocketSettings::Tcp(DEFAULT_ADDRESS),
            (Kind::Tcp, None, Some(text)) => match address(&text) {
                Ok(address) => SocketSettings::Tcp(address),
                Err(reason) => {
                    problems.add(format!("listener.tcp.address: {text:?} {reason}"));
                    return None;
                }
            },
        };
        let cleartext_anywhere = self.unsafe_allow_cleartext.unwrap_or(false);
        let tls = match (self.tls_disable.unwrap_or(false), self.tls_cert_file, self.tls_key_file) {
            (true, ..) => None,
            (false, Some(certificate), Some(key)) => Some(TlsSettings {
                certificate_file: certificate.into(),
                key_file: key.into(),
                client_certificates: match (
                    self.tls_require_client_cert.unwrap_or(false),
                    self.tls_disable_client_certs.unwrap_or(false),
                    self.tls_client_ca_file,
                ) {
                    (true, _, Some(ca)) => ClientCertificates::Require(ca.into()),
                    (_, true, _) => ClientCertificates::Ignore,
                    _ => ClientCertificates::Ask,
                },
                only_tls13: self.tls_min_version.as_deref() == Some("tls13"),
            }),
            // Reported where it was read.
            (false, ..) => return None,
        };
        if tls.is_none()
            && let SocketSettings::Tcp(address) = &socket
            && !address.ip().is_loopback()
            && !cleartext_anywhere
        {
            problems.add(format!(
                "listener.tcp.tls_disable: tokens and secrets would cross the network in clear \
                 text at {address}; bind a loopback address, set tls_cert_file and tls_key_file, \
                 or allow it with unsafe_allow_cleartext = true"
            ));
        }
        let usual = Limits::default();
        let limits = Limits {
            body: self
                .max_request_size
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(usual.body),
            handshake_timeout: self.tls_handshake_timeout.unwrap_or(usual.handshake_timeout),
            header_timeout: self.http_read_header_timeout.unwrap_or(usual.header_timeout),
            body_timeout: self.http_read_timeout.unwrap_or(usual.body_timeout),
            idle_timeout: self.http_idle_timeout.unwrap_or(usual.idle_timeout),
            request_timeout: self.max_request_duration.unwrap_or(usual.request_timeout),
            open_metrics: self.open_metrics.unwrap_or(usual.open_metrics),
            address_share: self
                .address_share
                .and_then(|share| u8::try_from(share).ok())
                .unwrap_or(usual.address_share),
        };
        Some(ListenerSettings { socket, tls, cleartext_anywhere, limits })
    }
}

/// `telemetry { unauthenticated_metrics_access = true }`.
fn read_telemetry(block: &Block<'_>, problems: &mut Problems) -> Option<bool> {
    let mut settings = block.settings(problems);
    let open = settings.bool("unauthenticated_metrics_access");
    // Profiles and the table of requests under way always need a token.
    settings.ignore("unauthenticated_pprof_access");
    settings.ignore("unauthenticated_in_flight_request_access");
    settings.finish();
    open
}

/// `127.0.0.1:8200`, `[::1]:8200`, `localhost:8200`, or `:8200` for all addresses.
fn address(text: &str) -> Result<SocketAddr, String> {
    let everywhere = text.strip_prefix(':').map(|port| format!("[::]:{port}"));
    let text = everywhere.as_deref().unwrap_or(text);
    let mut addresses = text.to_socket_addrs().map_err(|error| {
        format!("is no address with a port, such as \"127.0.0.1:8200\": {error}")
    })?;
    addresses.next().ok_or_else(|| "names no address".to_owned())
}

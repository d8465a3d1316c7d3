//! The configuration as the server may tell it: under OpenBao's names, without what is secret.

use serde_json::{Value, json};

use super::{SealSettings, ServerConfig, StorageSettings};
use crate::http::{ClientCertificates, ListenerSettings, SocketSettings};

impl ServerConfig {
    /// What `sys/config/state/sanitized` answers: paths, addresses and times, no key.
    pub fn sanitized(&self) -> Value {
        let seal = match self.seal {
            SealSettings::Shamir => "shamir",
            SealSettings::Static { .. } => "static",
        };
        let storage = match &self.storage {
            StorageSettings::Sqlite { path, reserve_bytes } => {
                json!({ "type": "sqlite", "path": path, "reserve_bytes": reserve_bytes })
            }
            StorageSettings::Inmem => json!({ "type": "inmem" }),
        };
        json!({
            "allow_audit_log_prefixing": self.audit_allowances.prefix,
            "api_addr": self.api_addr.as_deref().unwrap_or_default(),
            "cluster_name": self.cluster_name.as_deref().unwrap_or_default(),
            "default_lease_ttl": self.default_lease_ttl.as_secs(),
            "disable_clustering": true,
            "enable_ui": false,
            "listeners": self.listeners.iter().map(listener).collect::<Vec<_>>(),
            "log_format": if self.log_json { "json" } else { "standard" },
            "log_level": self.log_level,
            "max_lease_ttl": self.max_lease_ttl.as_secs(),
            "pid_file": self.pid_file,
            "raw_storage_endpoint": false,
            "seals": [{ "type": seal, "disabled": false }],
            "storage": storage,
        })
    }
}

fn listener(settings: &ListenerSettings) -> Value {
    let (kind, address) = match &settings.socket {
        SocketSettings::Tcp(address) => ("tcp", address.to_string()),
        SocketSettings::Unix { path, .. } => ("unix", path.display().to_string()),
        SocketSettings::Inherited(name) => ("inherited", name.clone()),
    };
    let limits = &settings.limits;
    let mut config = json!({
        "address": address,
        "max_percent_per_address": limits.address_share,
        "max_request_size": limits.body,
        "max_request_duration": limits.request_timeout.as_secs(),
        "tls_disable": settings.tls.is_none(),
        "unauthenticated_metrics_access": limits.open_metrics,
    });
    if let Some(tls) = &settings.tls {
        config["tls_cert_file"] = json!(tls.certificate_file);
        config["tls_min_version"] = json!(if tls.only_tls13 { "tls13" } else { "tls12" });
        config["tls_require_and_verify_client_cert"] =
            json!(matches!(tls.client_certificates, ClientCertificates::Require(_)));
    }
    json!({ "type": kind, "config": config })
}

//! A row of the mount table, as stored and as shown.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_logical::{MountInfo, TokenKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::MountClass;
use crate::core::Limits;
use crate::lockout::LockoutConfig;

/// Shown where OpenBao shows the version of a plugin: all of ours are built in.
pub(crate) const RUNNING_VERSION: &str =
    concat!("v", env!("CARGO_PKG_VERSION"), "+builtin.holdfast");

/// A row of the mount table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MountEntry {
    pub class: MountClass,
    /// With a `/` at its end, without `auth/`: `kv/`, `approle/`.
    pub path: String,
    /// `kv`, `approle`.
    pub kind: String,
    /// Names the mount's storage: `logical/<uuid>/` or `auth/<uuid>/`.
    pub uuid: String,
    pub accessor: String,
    #[serde(default)]
    pub description: String,
    /// None: shown as null, as those that are not mounted by a request.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub config: MountConfig,
    #[serde(default)]
    pub local: bool,
    #[serde(default)]
    pub seal_wrap: bool,
    /// Being disabled: it serves no more requests, but its leases are still to be revoked and its
    /// storage to be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doomed: bool,
    /// Being moved to this full path: it serves no more requests until it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
}

/// What can be tuned. Zero and empty mean "not set".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MountConfig {
    pub default_lease_ttl: Duration,
    pub max_lease_ttl: Duration,
    pub force_no_cache: bool,
    pub audit_non_hmac_request_keys: Vec<String>,
    pub audit_non_hmac_response_keys: Vec<String>,
    /// `unauth`, `hidden` or empty.
    pub listing_visibility: String,
    pub passthrough_request_headers: Vec<String>,
    pub allowed_response_headers: Vec<String>,
    /// Of login methods: the kind of their tokens.
    pub token_type: TokenKind,
    /// Of login methods: when a name may not try any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_lockout: Option<LockoutConfig>,
}

impl MountEntry {
    /// Where it is mounted: `kv/`, `auth/approle/`.
    pub(crate) fn prefix(&self) -> String {
        match self.class {
            MountClass::Secret => self.path.clone(),
            MountClass::Auth => format!("auth/{}", self.path),
        }
    }

    /// Whether it takes requests.
    pub(crate) fn serves(&self) -> bool {
        !self.doomed && self.moving_to.is_none()
    }

    /// The prefix of all that it stores.
    pub(crate) fn storage(&self) -> String {
        match self.class {
            MountClass::Secret => format!("logical/{}/", self.uuid),
            MountClass::Auth => format!("auth/{}/", self.uuid),
        }
    }

    /// Whether it is the server's own, always there.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.kind.as_str(), "system" | "identity" | "cubbyhole" | "token")
    }

    /// What its requests carry.
    pub(crate) fn info(&self, limits: Limits) -> MountInfo {
        let max_ttl = set_or(self.config.max_lease_ttl, limits.max_lease_ttl);
        let default_ttl = set_or(self.config.default_lease_ttl, limits.default_lease_ttl);
        MountInfo {
            path: self.prefix(),
            accessor: self.accessor.clone(),
            kind: self.kind.clone(),
            options: self.options.clone().unwrap_or_default(),
            default_ttl: default_ttl.min(max_ttl),
            max_ttl,
        }
    }

    /// The row in `sys/mounts` and `sys/auth`.
    pub(crate) fn to_wire(&self) -> Value {
        let mut config = self.config.shown();
        config
            .insert("default_lease_ttl".to_owned(), json!(self.config.default_lease_ttl.as_secs()));
        config.insert("max_lease_ttl".to_owned(), json!(self.config.max_lease_ttl.as_secs()));
        if self.class == MountClass::Auth {
            config.insert("token_type".to_owned(), json!(self.token_kind().as_str()));
        }
        if let Some(lockout) = &self.config.user_lockout {
            config.insert("user_lockout_config".to_owned(), lockout.print().into());
        }
        let mut row = json!({
            "accessor": self.accessor,
            "config": config,
            "description": self.description,
            "external_entropy_access": false,
            "local": self.local,
            "options": self.options,
            "plugin_version": "",
            "running_plugin_version": RUNNING_VERSION,
            "running_sha256": "",
            "seal_wrap": self.seal_wrap,
            "type": self.kind,
            "uuid": self.uuid,
        });
        // OpenBao counts databases among the plugins of others.
        if !self.is_own()
            && self.kind != "database"
            && let Value::Object(row) = &mut row
        {
            row.insert("deprecation_status".to_owned(), json!("supported"));
        }
        row
    }

    /// What `sys/mounts/<path>/tune` shows: times as they hold.
    pub(crate) fn tuning(&self, limits: Limits) -> Value {
        let info = self.info(limits);
        let mut shown = self.config.shown();
        shown.insert("default_lease_ttl".to_owned(), json!(info.default_ttl.as_secs()));
        shown.insert("max_lease_ttl".to_owned(), json!(info.max_ttl.as_secs()));
        shown.insert("description".to_owned(), json!(self.description));
        if self.class == MountClass::Auth {
            shown.insert("token_type".to_owned(), json!(self.token_kind().as_str()));
        }
        shown.extend(self.config.user_lockout.iter().flat_map(LockoutConfig::print));
        if let Some(options) = self.options.as_ref().filter(|options| !options.is_empty()) {
            shown.insert("options".to_owned(), json!(options));
        }
        Value::Object(shown)
    }

    /// The kind of tokens that logins here make.
    pub(crate) fn token_kind(&self) -> TokenKind {
        match self.config.token_type {
            TokenKind::Default => TokenKind::DefaultService,
            kind => kind,
        }
    }
}

impl MountConfig {
    /// All but the times: what is not set is not shown.
    fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        shown.insert("force_no_cache".to_owned(), json!(self.force_no_cache));
        for (name, list) in [
            ("audit_non_hmac_request_keys", &self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &self.passthrough_request_headers),
            ("allowed_response_headers", &self.allowed_response_headers),
        ] {
            if !list.is_empty() {
                shown.insert(name.to_owned(), json!(list));
            }
        }
        if !self.listing_visibility.is_empty() {
            shown.insert("listing_visibility".to_owned(), json!(self.listing_visibility));
        }
        shown
    }
}

fn set_or(own: Duration, default: Duration) -> Duration {
    if own.is_zero() { default } else { own }
}

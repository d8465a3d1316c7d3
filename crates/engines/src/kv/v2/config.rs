//! What holds for all keys of a mount: `config`.

use std::time::Duration;

use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::format_go_duration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Versioned;

/// Where the configuration is stored.
pub(super) const CONFIG: &str = "config";

/// Settings of the mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// 0: ten.
    pub(super) max_versions: u32,
    pub(super) cas_required: bool,
    pub(super) delete_version_after: DeleteAfter,
    pub(super) metadata_cas_required: bool,
}

/// How long versions live at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum DeleteAfter {
    /// So long; zero: as each key says.
    Life(Duration),
    /// For ever, whatever a key says: written as a negative duration.
    Never,
}

impl Default for DeleteAfter {
    fn default() -> Self {
        Self::Life(Duration::ZERO)
    }
}

impl DeleteAfter {
    /// None: for ever.
    pub(super) fn life(self) -> Option<Duration> {
        match self {
            Self::Life(life) => Some(life),
            Self::Never => None,
        }
    }
}

impl Versioned {
    /// `GET config`
    pub(super) fn read_config(&self) -> Reply {
        let config = self.config.load();
        let delete_version_after = match config.delete_version_after {
            DeleteAfter::Life(life) => format_go_duration(life),
            DeleteAfter::Never => "-1s".to_owned(),
        };
        Ok(Some(Response::data(json!({
            "cas_required": config.cas_required,
            "delete_version_after": delete_version_after,
            "max_versions": config.max_versions,
            "metadata_cas_required": config.metadata_cas_required,
        }))))
    }

    /// `PUT config`: a field that is missing stays as it was.
    pub(super) async fn write_config(&self, request: &Request) -> Reply {
        let _guard = self.locks.lock(CONFIG).await;
        let mut config = Config::clone(&self.config.load());
        update(&mut config, request).map_err(Error::field_validation)?;
        self.storage.put_json(CONFIG, &config).await?;
        self.config.store(config.into());
        Ok(None)
    }
}

fn update(config: &mut Config, request: &Request) -> Result<(), Error> {
    let fields = request.fields();
    if let Some(most) = max_versions(request)? {
        config.max_versions = most;
    }
    if let Some(required) = fields.bool("cas_required")? {
        config.cas_required = required;
    }
    if let Some(required) = fields.bool("metadata_cas_required")? {
        config.metadata_cas_required = required;
    }
    if is_negative(fields.value("delete_version_after")) {
        config.delete_version_after = DeleteAfter::Never;
    } else if let Some(life) = fields.duration("delete_version_after")? {
        config.delete_version_after = DeleteAfter::Life(life);
    }
    Ok(())
}

/// The field `max_versions`, which null resets. Below zero is without limit, as in OpenBao.
pub(super) fn max_versions(request: &Request) -> Result<Option<u32>, Error> {
    if request.fields().sent("max_versions").is_some_and(Value::is_null) {
        return Ok(Some(0));
    }
    let most = request.fields().integer("max_versions")?;
    Ok(most.map(|most| u32::try_from(most).unwrap_or(u32::MAX)))
}

fn is_negative(duration: Option<&Value>) -> bool {
    match duration {
        Some(Value::Number(number)) => number.as_f64().is_some_and(|seconds| seconds < 0.0),
        Some(Value::String(text)) => text
            .strip_prefix('-')
            .is_some_and(|rest| holdfast_types::Ttl::parse(rest).is_ok_and(|ttl| !ttl.0.is_zero())),
        _ => false,
    }
}

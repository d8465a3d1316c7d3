//! `config/crl`

use std::time::Duration;

use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::{Ttl, TtlError, format_go_duration};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Engine;

/// How revocations are published. Durations stay as they were written, for that is how they are
/// read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct CrlConfig {
    expiry: String,
    /// Lists are empty.
    pub(super) disable: bool,
    pub(super) ocsp_disable: bool,
    ocsp_expiry: String,
    /// Lists are rebuilt on a tick, and not at each revocation.
    pub(super) auto_rebuild: bool,
    auto_rebuild_grace_period: String,
    /// Between complete lists there are some that add to them.
    pub(super) enable_delta: bool,
    delta_rebuild_interval: String,
    pub(super) allow_expired_cert_revocation: bool,
}

impl Default for CrlConfig {
    fn default() -> Self {
        Self {
            expiry: "72h".to_owned(),
            disable: false,
            ocsp_disable: false,
            ocsp_expiry: "12h".to_owned(),
            auto_rebuild: false,
            auto_rebuild_grace_period: "12h".to_owned(),
            enable_delta: false,
            delta_rebuild_interval: "15m".to_owned(),
            allow_expired_cert_revocation: false,
        }
    }
}

fn duration(text: &str) -> Duration {
    // Checked when it was written.
    Ttl::parse(text).map(|ttl| ttl.0).unwrap_or_default()
}

impl CrlConfig {
    /// How long a list holds.
    pub(super) fn expiry(&self) -> Duration {
        duration(&self.expiry)
    }

    /// How long an OCSP answer holds; zero: it does not say.
    pub(super) fn ocsp_expiry(&self) -> Duration {
        duration(&self.ocsp_expiry)
    }

    /// How long before its end a list is rebuilt.
    pub(super) fn grace_period(&self) -> Duration {
        duration(&self.auto_rebuild_grace_period)
    }

    /// How often a list is built that adds to the complete one.
    pub(super) fn delta_interval(&self) -> Duration {
        duration(&self.delta_rebuild_interval)
    }

    fn written(mut self, request: &Request) -> Result<Self, Error> {
        let fields = request.fields();
        for (name, text) in [
            ("expiry", &mut self.expiry),
            ("ocsp_expiry", &mut self.ocsp_expiry),
            ("auto_rebuild_grace_period", &mut self.auto_rebuild_grace_period),
            ("delta_rebuild_interval", &mut self.delta_rebuild_interval),
        ] {
            let Some(given) = fields.string(name)? else { continue };
            if let (Err(TtlError::Negative(_)), "ocsp_expiry") = (Ttl::parse(&given), name) {
                let length = duration(given.trim().trim_start_matches('-'));
                return Err(Error::invalid(format!(
                    "ocsp_expiry must be greater than or equal to 0 got: -{}",
                    format_go_duration(length)
                )));
            }
            // Asked as a duration for the words of the refusal.
            let asked = serde_json::Map::from_iter([(name.to_owned(), given.clone().into())]);
            holdfast_logical::Fields::new(&asked).duration(name).map_err(|error| {
                let error = error.to_string();
                let why = error.split_once(": ").map_or(error.as_str(), |(_, why)| why);
                Error::invalid(format!("given {name} could not be decoded: {why}"))
            })?;
            *text = given;
        }
        for (name, flag) in [
            ("disable", &mut self.disable),
            ("ocsp_disable", &mut self.ocsp_disable),
            ("auto_rebuild", &mut self.auto_rebuild),
            ("enable_delta", &mut self.enable_delta),
            ("allow_expired_cert_revocation", &mut self.allow_expired_cert_revocation),
        ] {
            if let Some(given) = fields.bool(name)? {
                *flag = given;
            }
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), Error> {
        let expiry = &self.expiry;
        if self.auto_rebuild && self.grace_period() >= self.expiry() {
            return Err(Error::invalid(format!(
                "CRL auto-rebuilding grace period ({}) must be strictly shorter than CRL expiry \
                 ({expiry}) value when auto-rebuilding of CRLs is enabled",
                self.auto_rebuild_grace_period
            )));
        }
        if self.enable_delta && self.delta_interval() >= self.expiry() {
            return Err(Error::invalid(format!(
                "CRL delta rebuild window ({}) must be strictly shorter than CRL expiry ({expiry}) \
                 value when delta CRLs are enabled",
                self.delta_rebuild_interval
            )));
        }
        if self.enable_delta && !self.auto_rebuild {
            return Err(Error::invalid(
                "Delta CRLs cannot be enabled when auto rebuilding is disabled as the complete CRL \
                 is always regenerated!",
            ));
        }
        Ok(())
    }
}

impl Engine {
    pub(super) async fn crl_config(&self) -> Result<CrlConfig, Error> {
        Ok(self.context.storage.get_json("config/crl").await?.unwrap_or_default())
    }

    pub(super) async fn read_crl_config(&self) -> Reply {
        Ok(Some(Response::data(json!(self.crl_config().await?))))
    }

    pub(super) async fn write_crl_config(&self, request: &Request) -> Reply {
        let old = self.crl_config().await?;
        let new = old.clone().written(request)?;
        self.context.storage.put_json("config/crl", &new).await?;
        let mut response = Response::data(json!(new));
        let is_other = old.disable != new.disable
            || (old.auto_rebuild && !new.auto_rebuild)
            || old.enable_delta != new.enable_delta;
        if is_other {
            for (index, warning) in self.rebuild_lists(true).await?.iter().enumerate() {
                response =
                    response.warn(format!("Warning {} during CRL rebuild: {warning}", index + 1));
            }
        }
        Ok(Some(response))
    }
}

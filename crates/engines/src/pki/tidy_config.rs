//! What is tidied: by `config/auto-tidy` again and again, by `tidy` once.

use std::time::Duration;

use holdfast_logical::{Error, Fields, Reply, Request, Response};
use holdfast_types::{Ttl, format_go_duration};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Engine;

const DAY: Duration = Duration::from_secs(86_400);

/// What is tidied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TidyConfig {
    pub(super) enabled: bool,
    pub(super) interval_duration: Duration,
    pub(super) tidy_cert_store: bool,
    pub(super) tidy_revoked_certs: bool,
    pub(super) tidy_invalid_certs: bool,
    pub(super) tidy_revoked_cert_issuer_associations: bool,
    pub(super) tidy_expired_issuers: bool,
    /// There is no older layout that a bundle could be left from; nothing happens.
    tidy_move_legacy_ca_bundle: bool,
    /// There are no ACME accounts yet; nothing happens.
    tidy_acme: bool,
    pub(super) safety_buffer: Duration,
    /// None: as `safety_buffer`.
    revoked_safety_buffer: Option<Duration>,
    pub(super) issuer_safety_buffer: Duration,
    acme_account_safety_buffer: Duration,
    pub(super) pause_duration: Duration,
    pub(super) page_size: i64,
    maintain_stored_certificate_counts: bool,
    publish_stored_certificate_count_metrics: bool,
}

impl Default for TidyConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            interval_duration: DAY / 2,
            tidy_cert_store: false,
            tidy_revoked_certs: false,
            tidy_invalid_certs: false,
            tidy_revoked_cert_issuer_associations: false,
            tidy_expired_issuers: false,
            tidy_move_legacy_ca_bundle: false,
            tidy_acme: false,
            safety_buffer: DAY * 3,
            revoked_safety_buffer: None,
            issuer_safety_buffer: DAY * 365,
            acme_account_safety_buffer: DAY * 30,
            pause_duration: Duration::ZERO,
            page_size: 1000,
            maintain_stored_certificate_counts: false,
            publish_stored_certificate_count_metrics: false,
        }
    }
}

/// What can be tidied, as it is named where nothing was.
pub(super) const OPERATIONS: &str = "tidy_cert_store / tidy_revoked_certs / tidy_invalid_certs / \
     tidy_revoked_cert_issuer_associations / tidy_expired_issuers / tidy_move_legacy_ca_bundle / \
     tidy_acme";

impl TidyConfig {
    pub(super) fn does_anything(&self) -> bool {
        self.tidy_cert_store
            || self.tidy_revoked_certs
            || self.tidy_invalid_certs
            || self.tidy_revoked_cert_issuer_associations
            || self.tidy_expired_issuers
            || self.tidy_move_legacy_ca_bundle
            || self.tidy_acme
    }

    /// How long a revoked certificate is kept after it has expired.
    pub(super) fn revoked_safety_buffer(&self) -> Duration {
        self.revoked_safety_buffer.unwrap_or(self.safety_buffer)
    }

    /// How many entries are read at a time.
    pub(super) fn page(&self) -> usize {
        usize::try_from(self.page_size).ok().filter(|size| *size > 0).unwrap_or(usize::MAX)
    }

    /// The operations and buffers that a request sets over these. `refuse` says how a buffer of
    /// nothing is refused.
    fn update(&mut self, fields: Fields<'_>, refuse: impl Fn(&str) -> Error) -> Result<(), Error> {
        for (name, flag) in [
            ("tidy_cert_store", &mut self.tidy_cert_store),
            ("tidy_revoked_certs", &mut self.tidy_revoked_certs),
            ("tidy_invalid_certs", &mut self.tidy_invalid_certs),
            (
                "tidy_revoked_cert_issuer_associations",
                &mut self.tidy_revoked_cert_issuer_associations,
            ),
            ("tidy_expired_issuers", &mut self.tidy_expired_issuers),
            ("tidy_move_legacy_ca_bundle", &mut self.tidy_move_legacy_ca_bundle),
            ("tidy_acme", &mut self.tidy_acme),
        ] {
            if let Some(given) = fields.bool(name)? {
                *flag = given;
            }
        }
        let buffer = |name: &str| match fields.duration(name)? {
            Some(given) if given.as_secs() == 0 => Err(refuse(name)),
            given => Ok(given.map(|given| Duration::from_secs(given.as_secs()))),
        };
        for (name, duration) in [
            ("safety_buffer", &mut self.safety_buffer),
            ("issuer_safety_buffer", &mut self.issuer_safety_buffer),
            ("acme_account_safety_buffer", &mut self.acme_account_safety_buffer),
        ] {
            if let Some(given) = buffer(name)? {
                *duration = given;
            }
        }
        if let Some(given) = buffer("revoked_safety_buffer")? {
            self.revoked_safety_buffer = Some(given);
        }
        if let Some(size) = fields.integer("page_size")? {
            self.page_size = size;
        }
        Ok(())
    }

    fn set_pause(&mut self, fields: Fields<'_>, refusal: &str) -> Result<(), Error> {
        let Some(text) = fields.string("pause_duration")? else { return Ok(()) };
        let pause = Ttl::parse(&text).map_err(|error| {
            Error::invalid(match error {
                holdfast_types::TtlError::Negative(_) => {
                    "received invalid, negative pause_duration".to_owned()
                }
                _ => format!("{refusal}: time: invalid duration {text:?}"),
            })
        })?;
        self.pause_duration = pause.0;
        Ok(())
    }

    /// What a request to tidy once asks for.
    pub(super) fn once(fields: Fields<'_>) -> Result<Self, Error> {
        let mut config = Self::default();
        config.update(fields, |name| {
            let name = if name == "revoked_safety_buffer" { "revokedSafetyBuffer" } else { name };
            Error::invalid(format!("{name} must be greater than zero"))
        })?;
        config.tidy_revoked_certs |= fields.bool("tidy_revocation_list")?.unwrap_or_default();
        config.set_pause(fields, "Error parsing pause_duration")?;
        if (1..5).contains(&config.page_size) {
            return Err(Error::invalid("page_size must be greater than five"));
        }
        Ok(config)
    }

    fn written(mut self, fields: Fields<'_>) -> Result<Self, Error> {
        if let Some(flag) = fields.bool("enabled")? {
            self.enabled = flag;
        }
        if let Some(interval) = fields.duration("interval_duration")? {
            self.interval_duration = Duration::from_secs(interval.as_secs());
        }
        self.update(fields, |name| {
            let named = match name {
                "revoked_safety_buffer" => name.to_owned(),
                "issuer_safety_buffer" => "given safety_buffer".to_owned(),
                name => format!("given {name}"),
            };
            Error::invalid(format!("{named} must be at least one second; got: 0"))
        })?;
        self.set_pause(fields, "unable to parse given pause_duration")?;
        if fields.has("page_size") && self.page_size < 5 {
            return Err(Error::invalid("page_size must be at least 5"));
        }
        if self.enabled && !self.does_anything() {
            return Err(Error::invalid(format!(
                "Auto-tidy enabled but no tidy operations were requested. Enable at least one tidy \
                 operation to be run ({OPERATIONS})."
            )));
        }
        for (name, flag) in [
            ("maintain_stored_certificate_counts", &mut self.maintain_stored_certificate_counts),
            (
                "publish_stored_certificate_count_metrics",
                &mut self.publish_stored_certificate_count_metrics,
            ),
        ] {
            if let Some(given) = fields.bool(name)? {
                *flag = given;
            }
        }
        if self.publish_stored_certificate_count_metrics && !self.maintain_stored_certificate_counts
        {
            return Err(Error::invalid(
                "Can not publish a running storage metrics count to metrics without first \
                 maintaining that count.  Enable `maintain_stored_certificate_counts` to enable \
                 `publish_stored_certificate_count_metrics`.",
            ));
        }
        Ok(self)
    }

    /// What is tidied and with which buffers: what a run's status repeats.
    pub(super) fn operations(&self) -> Map<String, Value> {
        let data = json!({
            "tidy_cert_store": self.tidy_cert_store,
            "tidy_revoked_certs": self.tidy_revoked_certs,
            "tidy_invalid_certs": self.tidy_invalid_certs,
            "tidy_revoked_cert_issuer_associations": self.tidy_revoked_cert_issuer_associations,
            "tidy_expired_issuers": self.tidy_expired_issuers,
            "tidy_move_legacy_ca_bundle": self.tidy_move_legacy_ca_bundle,
            "tidy_acme": self.tidy_acme,
            "safety_buffer": self.safety_buffer.as_secs(),
            "revoked_safety_buffer": self.revoked_safety_buffer().as_secs(),
            "issuer_safety_buffer": self.issuer_safety_buffer.as_secs(),
            "acme_account_safety_buffer": self.acme_account_safety_buffer.as_secs(),
            "pause_duration": go_duration(self.pause_duration),
            "page_size": self.page_size,
        });
        data.as_object().cloned().unwrap_or_default()
    }

    fn response(&self) -> Response {
        let mut data = self.operations();
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("enabled", json!(self.enabled));
        set("interval_duration", json!(self.interval_duration.as_secs()));
        let (maintain, publish) = (
            self.maintain_stored_certificate_counts,
            self.publish_stored_certificate_count_metrics,
        );
        set("maintain_stored_certificate_counts", json!(maintain));
        set("publish_stored_certificate_count_metrics", json!(publish));
        Response { data: Some(data), ..Response::default() }
    }
}

/// A duration as Go writes it, also one of less than a second: `10ms`, `1.5s`.
fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.subsec_nanos();
    if nanoseconds == 0 {
        return format_go_duration(duration);
    }
    if duration.as_secs() > 0 {
        let whole = format_go_duration(duration);
        let fraction = format!("{nanoseconds:09}");
        return format!("{}.{}s", whole.trim_end_matches('s'), fraction.trim_end_matches('0'));
    }
    let (scale, unit) = match nanoseconds {
        1_000_000.. => (1_000_000, "ms"),
        1_000.. => (1_000, "µs"),
        _ => (1, "ns"),
    };
    let rest = nanoseconds % scale;
    if rest == 0 {
        return format!("{}{unit}", nanoseconds / scale);
    }
    let digits = scale.ilog10() as usize;
    let fraction = format!("{rest:0digits$}");
    format!("{}.{}{unit}", nanoseconds / scale, fraction.trim_end_matches('0'))
}

impl Engine {
    pub(super) async fn tidy_config(&self) -> Result<TidyConfig, Error> {
        Ok(self.context.storage.get_json("config/auto-tidy").await?.unwrap_or_default())
    }

    pub(super) async fn read_auto_tidy(&self) -> Reply {
        Ok(Some(self.tidy_config().await?.response()))
    }

    pub(super) async fn write_auto_tidy(&self, request: &Request) -> Reply {
        let config = self.tidy_config().await?.written(request.fields())?;
        self.context.storage.put_json("config/auto-tidy", &config).await?;
        Ok(Some(config.response()))
    }
}

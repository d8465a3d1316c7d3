//! `api_proxy { ... }` and `cache { ... }`: requests that the agent passes on.

use holdfast_hcl::Problems;
use holdfast_hcl::{Block, Settings};

use super::value;

/// Most entries, and most bytes of them.
const ENTRIES: usize = 10_000;
const BYTES: usize = 64 << 20;

/// Whose token the requests carry that are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApiProxyConfig {
    /// Default: the caller's own.
    pub use_auto_auth_token: AutoAuthToken,
}

/// When a request is given the agent's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoAuthToken {
    /// Never: callers bring their own.
    #[default]
    Never,
    /// When the caller brings none.
    IfNone,
    /// Always, also in place of the caller's.
    Always,
}

/// Keeps answers that have a lease, or hold a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many answers at most.
    pub max_entries: usize,
    /// How many bytes of them at most.
    pub max_bytes: usize,
}

/// `api_proxy` as the operator wrote it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiProxyFile {
    pub(super) token: Option<AutoAuthToken>,
}

/// `cache` as the operator wrote it.
#[derive(Debug, Clone)]
pub(super) struct CacheFile {
    /// The old place of [`ApiProxyFile::token`].
    pub(super) token: Option<AutoAuthToken>,
    /// Where settings stand that have no effect here.
    pub(super) without_effect: Vec<&'static str>,
    pub(super) config: CacheConfig,
}

impl ApiProxyFile {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Self {
        let mut settings = block.settings(problems);
        let token = token(&mut settings);
        // Of clusters with standbys that answer reads, behind by a moment.
        let consistency = [("never", ()), ("always", ())];
        value::word(&mut settings, "enforce_consistency", &consistency);
        let inconsistent = [("retry", ()), ("forward", ()), ("fail", ())];
        value::word(&mut settings, "when_inconsistent", &inconsistent);
        settings.bool("prepend_configured_namespace");
        settings.finish();
        Self { token }
    }
}

impl CacheFile {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Self {
        let mut settings = block.settings(problems);
        let token = token(&mut settings);
        let config = CacheConfig {
            max_entries: bound(&mut settings, "max_entries").unwrap_or(ENTRIES),
            max_bytes: bound(&mut settings, "max_bytes").unwrap_or(BYTES),
        };
        let mut without_effect = Vec::new();
        for key in [
            "persist",
            "cache_static_secrets",
            "disable_caching_dynamic_secrets",
            "static_secret_token_capability_refresh_interval",
            "static_secret_token_capability_refresh_behavior",
        ] {
            if settings.is_set(key) {
                without_effect.push(key);
            }
            settings.ignore(key);
        }
        // Of clusters, as in `api_proxy`.
        settings.ignore("enforce_consistency");
        settings.ignore("when_inconsistent");
        settings.finish();
        Self { token, without_effect, config }
    }
}

fn bound(settings: &mut Settings<'_, '_>, key: &'static str) -> Option<usize> {
    let number = settings.integer(key)?;
    let bound = usize::try_from(number).ok().filter(|bound| *bound > 0);
    if bound.is_none() {
        settings.refuse(key, "expected a number above zero");
    }
    bound
}

/// `true`, `false` or `"force"`.
fn token(settings: &mut Settings<'_, '_>) -> Option<AutoAuthToken> {
    let key = "use_auto_auth_token";
    let force = settings.value(key)?.as_text().is_some_and(|it| it.eq_ignore_ascii_case("force"));
    if force {
        return Some(AutoAuthToken::Always);
    }
    let token = settings.bool(key)?;
    Some(if token { AutoAuthToken::IfNone } else { AutoAuthToken::Never })
}

/// `telemetry { ... }`: the agent's figures are read at `/agent/v1/metrics`, and sent nowhere.
pub(super) fn read_telemetry(block: &Block<'_>, problems: &mut Problems) -> Vec<&'static str> {
    const SENT: [&str; 12] = [
        "circonus_api_token",
        "circonus_api_url",
        "circonus_submission_url",
        "dogstatsd_addr",
        "dogstatsd_tags",
        "stackdriver_location",
        "stackdriver_namespace",
        "stackdriver_project_id",
        "statsd_address",
        "statsite_address",
        "statsd_addr",
        "statsite_addr",
    ];
    let settings = block.settings(problems);
    // Of the many others none has an effect either, and none is missed.
    SENT.into_iter().filter(|key| settings.is_set(key)).collect()
}

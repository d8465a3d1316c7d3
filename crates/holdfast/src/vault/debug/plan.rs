//! What to collect, how often and for how long.

use std::time::Duration;

use holdfast_types::format_go_duration;

use super::Debug;
use crate::vault::Failure;
use crate::vault::output::print_line;

/// The shortest time between two looks, and of all of it.
const SHORTEST: Duration = Duration::from_secs(5);

/// Something to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Config,
    Host,
    Requests,
    Metrics,
    Pprof,
    ReplicationStatus,
    ServerStatus,
    Log,
}

impl Target {
    const ALL: [Self; 8] = [
        Self::Config,
        Self::Host,
        Self::Requests,
        Self::Metrics,
        Self::Pprof,
        Self::ReplicationStatus,
        Self::ServerStatus,
        Self::Log,
    ];

    /// Its name on the command line and in `index.json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Host => "host",
            Self::Requests => "requests",
            Self::Metrics => "metrics",
            Self::Pprof => "pprof",
            Self::ReplicationStatus => "replication-status",
            Self::ServerStatus => "server-status",
            Self::Log => "log",
        }
    }

    /// The file that it is written to; none for those that are more than one document.
    pub(super) fn file(self) -> Option<&'static str> {
        match self {
            Self::Config => Some("config.json"),
            Self::Host => Some("host_info.json"),
            Self::Requests => Some("requests.json"),
            Self::Metrics => Some("metrics.json"),
            Self::ReplicationStatus => Some("replication_status.json"),
            Self::ServerStatus => Some("server_status.json"),
            Self::Pprof | Self::Log => None,
        }
    }
}

/// The flags, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) duration: Duration,
    pub(super) interval: Duration,
    pub(super) metrics_interval: Duration,
    pub(super) targets: Vec<Target>,
}

impl Plan {
    /// Says what of the flags is not done as they say.
    pub(super) fn new(flags: &Debug) -> Result<Self, Failure> {
        let at_least = |name: &str, value: Duration| match value < SHORTEST {
            true => overwrite(name, value, "minimum value of", SHORTEST),
            false => Ok(value),
        };
        let duration = at_least("duration", flags.duration)?;
        let interval = at_least("interval", flags.interval)?;
        let metrics_interval = at_least("metrics interval", flags.metrics_interval)?;
        let at_most = |name: &str, value: Duration| match value > duration {
            true => overwrite(name, value, "duration value", duration),
            false => Ok(value),
        };
        let interval = at_most("interval", interval)?;
        let metrics_interval = at_most("metrics interval", metrics_interval)?;
        let known = |name: &str| Target::ALL.into_iter().find(|target| target.name() == name);
        let asked: Vec<_> = flags.target.iter().map(|name| name.trim().to_lowercase()).collect();
        let unknown: Vec<_> =
            asked.iter().filter(|name| known(name).is_none()).map(String::as_str).collect();
        if !unknown.is_empty() {
            print_line(&format!("Ignoring invalid targets: {}", unknown.join(", ")))?;
        }
        let targets = match asked.is_empty() {
            true => Target::ALL.to_vec(),
            false => asked.iter().filter_map(|name| known(name)).collect(),
        };
        Ok(Self { duration, interval, metrics_interval, targets })
    }

    pub(super) fn has(&self, target: Target) -> bool {
        self.targets.contains(&target)
    }
}

fn overwrite(name: &str, old: Duration, which: &str, new: Duration) -> Result<Duration, Failure> {
    let (was, is) = (format_go_duration(old), format_go_duration(new));
    print_line(&format!("Overwriting {name} value {was:?} to the {which} {is:?}"))?;
    Ok(new)
}

//! How long a token lives, and with which policies.

use std::time::Duration;

use holdfast_logical::Error;
use holdfast_types::{Timestamp, format_go_duration};

/// How long is asked for, and what bounds it. Durations of zero mean "not set".
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LifeRequest {
    /// The life asked for, or else the mount's or role's default.
    pub ttl: Duration,
    /// Instead of `ttl`, at every renewal, without end.
    pub period: Duration,
    /// The mount's limit, always set.
    pub mount_max: Duration,
    /// The role's limit.
    pub role_max: Duration,
    /// The limit that holds for periodic tokens as well.
    pub explicit_max: Duration,
    /// How long ago it was issued.
    pub age: Duration,
}

/// What was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub ttl: Duration,
    pub warning: Option<String>,
}

/// The life that is granted: what is asked for, within the limits that are left after `age`, which
/// counts in whole seconds.
///
/// # Errors
/// Nothing is left.
///
/// Wordings of the warnings are OpenBao's: clients watch for them.
pub(crate) fn grant_life(request: &LifeRequest) -> Result<Granted, Error> {
    let set = |limit: Duration| Some(limit).filter(|limit| !limit.is_zero());
    let (word, asked) = match set(request.period) {
        Some(period) => ("period", period),
        None => ("TTL", request.ttl),
    };
    // To the nearest second, so that a token renewed at once has all its life before it.
    let age = Duration::from_secs((request.age + Duration::from_millis(500)).as_secs());
    let mut limit = Duration::MAX;
    if request.period.is_zero() {
        let max = set(request.role_max).map_or(request.mount_max, |max| max.min(request.mount_max));
        limit = max.saturating_sub(age);
    } else {
        // A period is bounded, but starts anew with each renewal.
        limit = limit.min(request.mount_max);
    }
    if let Some(max) = set(request.explicit_max) {
        limit = limit.min(max.saturating_sub(age));
    }
    if limit.is_zero() {
        return Err(Error::invalid("past the max TTL, cannot renew"));
    }
    if asked <= limit {
        return Ok(Granted { ttl: asked, warning: None });
    }
    let warning = format!(
        "{word} of \"{}\" exceeded the effective max_ttl of \"{}\"; {word} value is capped accordingly",
        short_duration(asked),
        short_duration(limit),
    );
    Ok(Granted { ttl: limit, warning: Some(warning) })
}

/// `now` and `ttl` later, or the end of all time.
pub(crate) fn after(now: Timestamp, ttl: Duration) -> Timestamp {
    now.checked_add(ttl).unwrap_or(Timestamp::MAX)
}

/// The whole seconds from `now` to `end`, to the nearest: a life of an hour shows as 3600 at first.
pub(crate) fn seconds_until(end: Timestamp, now: Timestamp) -> u64 {
    u64::try_from((end.duration_since(now).as_millis() + 500) / 1000).unwrap_or(0)
}

/// As OpenBao shortens durations in warnings: `768h`, `1h30m`, `45s`.
pub(crate) fn short_duration(duration: Duration) -> String {
    let mut text = format_go_duration(duration);
    if text.ends_with("m0s") {
        text.truncate(text.len() - 2);
    }
    if text.ends_with("h0m") {
        text.truncate(text.len() - 2);
    }
    text
}

/// Names trimmed, in lower case, sorted, without repeats; `root` alone where it is among them,
/// else with `default` unless that is not wanted.
pub(crate) fn sanitize_policies(policies: &[String], add_default: bool) -> Vec<String> {
    let names = policies.iter().map(|name| name.trim().to_lowercase());
    let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| name == "root") {
        return vec!["root".to_owned()];
    }
    if add_default {
        names.push("default".to_owned());
    }
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_life_is_capped_with_openbaos_warning() {
        let base = LifeRequest { mount_max: seconds(3600), ..LifeRequest::default() };
        for (request, want) in [
            (LifeRequest { ttl: seconds(60), ..base }, Ok((60, None))),
            (
                LifeRequest { ttl: seconds(7200), ..base },
                Ok((3600, Some("TTL of \"2h\" exceeded the effective max_ttl of \"1h\""))),
            ),
            (
                LifeRequest { ttl: seconds(12), role_max: seconds(20), age: seconds(14), ..base },
                Ok((6, Some("TTL of \"12s\" exceeded the effective max_ttl of \"6s\""))),
            ),
            (LifeRequest { period: seconds(600), age: seconds(999_999), ..base }, Ok((600, None))),
            (
                LifeRequest { period: seconds(7200), explicit_max: seconds(600), ..base },
                Ok((600, Some("period of \"2h\" exceeded the effective max_ttl of \"10m\""))),
            ),
            (LifeRequest { ttl: seconds(1), age: seconds(3600), ..base }, Err(())),
        ] {
            let got = grant_life(&request);
            match (got, want) {
                (Ok(got), Ok((ttl, warning))) => {
                    assert_eq!(got.ttl, seconds(ttl), "{request:?}");
                    let text = got.warning.unwrap_or_default();
                    assert!(text.starts_with(warning.unwrap_or_default()), "{text}");
                    assert_eq!(text.is_empty(), warning.is_none(), "{text}");
                }
                (Err(_), Err(())) => {}
                (got, _) => panic!("{request:?}: {got:?}"),
            }
        }
    }

    #[test]
    fn policies_are_sorted_and_root_stands_alone() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(sanitize_policies(&names(&["P2", " a", "a", ""]), true), ["a", "default", "p2"]);
        assert_eq!(sanitize_policies(&names(&["x", "Root"]), true), ["root"]);
        assert_eq!(sanitize_policies(&names(&["x"]), false), ["x"]);
    }
}

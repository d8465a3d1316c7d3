//! Checks of what keeps the mount small.

use holdfast_types::{Timestamp, format_go_duration};

use super::check::Findings;
use super::finding::{Finding, Status};
use super::mount::{Found, Mount, is_set};
use super::settings::{Settings, duration};

/// Whether the mount tidies up by itself, and often enough.
pub(super) async fn auto_tidy(mount: &Mount<'_>, settings: &Settings) -> Findings {
    const PATH: &str = "config/auto-tidy";
    let data = match mount.read(&mount.under(PATH)).await? {
        Found::Data(data) => data,
        Found::Nothing => return Ok(Vec::new()),
        Found::Unknown(why) => return Ok(vec![why]),
    };
    let endpoint = mount.endpoint(PATH);
    if !is_set(&data, "enabled") {
        let message = "Nothing is tidied by itself: with enabled=true the mount stays small.";
        return Ok(vec![Finding::new(Status::Informational, &endpoint, message)]);
    }
    let mut findings = Vec::new();
    for field in ["interval_duration", "pause_duration"] {
        let value = data.get(field).and_then(duration);
        let value = value.ok_or_else(|| format!("{PATH}: {field} is no duration"))?;
        let is_reached = |level: &str| value >= settings.duration(&format!("{field}_{level}"));
        let status = match () {
            () if is_reached("critical") => Status::Critical,
            () if is_reached("warning") => Status::Warning,
            () => continue,
        };
        let message = format!(
            "{field} is {}: so the mount is tidied too seldom, or for too long.",
            format_go_duration(value)
        );
        findings.push(Finding::new(status, &endpoint, message));
    }
    if findings.is_empty() {
        findings.push(Finding::new(Status::Ok, &endpoint, "The mount tidies up by itself."));
    }
    Ok(findings)
}

/// When it was tidied last.
pub(super) async fn last_tidy(mount: &Mount<'_>, settings: &Settings) -> Findings {
    const PATH: &str = "tidy-status";
    let data = match mount.read(&mount.under(PATH)).await? {
        Found::Data(data) => data,
        Found::Nothing => return Ok(Vec::new()),
        Found::Unknown(why) => return Ok(vec![why]),
    };
    let (status, message) = match data.get("time_finished").filter(|time| !time.is_null()) {
        None => (Status::Critical, "The mount was never tidied: enable auto-tidy.".to_owned()),
        Some(time) => {
            let time = time.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let time = time.ok_or_else(|| format!("{PATH}: time_finished is no time"))?;
            let age = mount.now.as_second().saturating_sub(time.as_second());
            let is_older = |level: &str| {
                u64::try_from(age).is_ok_and(|age| age > settings.duration(level).as_secs())
            };
            let status = match () {
                () if is_older("last_run_critical") => Status::Critical,
                () if is_older("last_run_warning") => Status::Warning,
                () => Status::Ok,
            };
            (status, format!("The mount was tidied last at {time}."))
        }
    };
    Ok(vec![Finding::new(status, &mount.endpoint(PATH), message)])
}

/// How many certificates are stored.
pub(super) async fn certificates(mount: &Mount<'_>, settings: &Settings) -> Findings {
    let count = match mount.list(&mount.under("certs")).await? {
        Ok(serials) => u64::try_from(serials.len()).unwrap_or(u64::MAX),
        Err(why) => return Ok(vec![why]),
    };
    let status = match () {
        () if count >= settings.number("count_critical") => Status::Critical,
        () if count >= settings.number("count_warning") => Status::Warning,
        () => Status::Ok,
    };
    let message = match status {
        Status::Ok => format!("{count} certificates are stored."),
        _ => format!(
            "{count} certificates are stored: tidy the mount, let certificates live for a shorter \
             time, or set no_store=true at roles."
        ),
    };
    Ok(vec![Finding::new(status, &mount.endpoint("certs"), message)])
}

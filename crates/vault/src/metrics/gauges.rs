//! What is looked up when somebody asks, and not counted on the way.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Metrics;
use super::render::Sample;
use crate::core::answer::Chain;
use crate::core::vault::Vault;
use crate::mounts::MountClass;

/// How long a count of leases holds: to count them is to read all their keys, page by page.
const COUNT_HOLDS: Duration = Duration::from_secs(60);

/// Everything that there is to say now. While sealed there is no `vault`.
pub(super) async fn collect(metrics: &Metrics, vault: Option<&Vault>) -> Vec<Sample> {
    let now = Instant::now();
    let mut samples = Vec::new();
    for (name, summary) in [
        ("core.handle_request", &metrics.requests),
        ("core.handle_login_request", &metrics.logins),
        ("audit.log_request", &metrics.audit_requests),
        ("audit.log_response", &metrics.audit_responses),
        ("barrier.get", &metrics.barrier_get),
        ("barrier.list", &metrics.barrier_list),
        ("barrier.put", &metrics.barrier_put),
    ] {
        samples.push(Sample::summary(name, summary.snapshot(now)));
    }
    for (name, snapshot) in metrics.route_snapshots(now) {
        samples.push(Sample::summary(format!("route.{name}"), snapshot));
    }
    for (name, counter) in [
        ("audit.log_request_failure", &metrics.audit_request_failures),
        ("audit.log_response_failure", &metrics.audit_response_failures),
        ("quota.rate_limit.violation", &metrics.rate_limited),
    ] {
        samples.push(Sample::counter(name, counter.get()));
    }
    let in_flight = metrics.in_flight.count();
    samples.push(Sample::gauge("core.in_flight_requests", in_flight));
    samples.push(Sample::gauge("core.unsealed", usize::from(vault.is_some())));
    samples.push(Sample::gauge("core.active", usize::from(vault.is_some())));
    if let Some(vault) = vault {
        samples.extend(mounts(vault));
        samples.extend(leases(metrics, vault).await);
    }
    samples.extend(process());
    samples
}

fn mounts(vault: &Vault) -> Vec<Sample> {
    let all = vault.mounts.all();
    let mut samples = Vec::new();
    for (kind, class) in [("auth", MountClass::Auth), ("logical", MountClass::Secret)] {
        for local in [false, true] {
            let of =
                all.iter().filter(|mount| mount.entry.class == class && mount.entry.local == local);
            let sample = Sample::gauge("core.mount_table.num_entries", of.count());
            let local = if local { "true" } else { "false" };
            samples.push(sample.label("type", kind).label("local", local));
        }
    }
    samples
}

async fn leases(metrics: &Metrics, vault: &Vault) -> Vec<Sample> {
    let mut samples = Vec::new();
    let known = *metrics.leases.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = known.filter(|(at, _)| at.elapsed() < COUNT_HOLDS);
    let count = match fresh {
        Some((_, count)) => Some(count),
        None => match vault.leases.count().await {
            Ok(count) => {
                let mut slot = metrics.leases.lock().unwrap_or_else(PoisonError::into_inner);
                *slot = Some((Instant::now(), count));
                Some(count)
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "count the leases");
                None
            }
        },
    };
    samples.extend(count.map(|count| Sample::gauge("expire.num_leases", count)));
    if let Ok(given_up) = vault.leases.given_up().await {
        samples.push(Sample::gauge("expire.num_irrevocable_leases", given_up.len()));
    }
    samples
}

/// The process as the kernel knows it, by the names that Prometheus has for it.
fn process() -> Vec<Sample> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<usize>().ok()
    };
    let kilobytes = |name: &str| value(name).map(|kilobytes| kilobytes.saturating_mul(1024));
    let files = std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    [
        ("process_resident_memory_bytes", kilobytes("VmRSS")),
        ("process_virtual_memory_bytes", kilobytes("VmSize")),
        ("process_threads", value("Threads")),
        ("process_open_fds", files),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(Sample::gauge(name, value?).bare()))
    .collect()
}

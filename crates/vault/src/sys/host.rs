//! What the server says of itself and of the machine that it runs on: `sys/host-info`,
//! `sys/ha-status`, `sys/version-history`.

use holdfast_logical::{Error, Operation, Response};
use holdfast_types::rfc3339;
use serde_json::{Map, Value, json};

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::front::VERSION;

/// Answers a request to one of them.
pub(super) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    which: &str,
) -> Result<Answer, Error> {
    match (which, invocation.request.operation) {
        ("host-info", Operation::Read) => {
            let timestamp = rfc3339(vault.clock.now());
            // Files of the kernel: read from memory, but not by the runtime's own threads.
            let data = tokio::task::spawn_blocking(move || host_info(&timestamp)).await;
            data.map(|data| Response::data(data).into())
                .map_err(|failed| Error::internal("look at the machine", failed))
        }
        ("ha-status", Operation::Read) => {
            let node = json!({
                "hostname": kernel("hostname"),
                "api_address": "",
                "cluster_address": "",
                "active_node": true,
                "last_echo": null,
                "version": VERSION,
            });
            Ok(Response { flatten: true, ..Response::data(json!({ "nodes": [node] })) }.into())
        }
        ("version-history", Operation::List) => Ok(versions(vault).await?.into()),
        ("host-info" | "ha-status", Operation::List) => Err(Error::UnsupportedPath),
        _ => Err(Error::UnsupportedOperation),
    }
}

/// A setting of the kernel, such as the host's name.
fn kernel(name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    text.unwrap_or_default().trim().to_owned()
}

fn host_info(timestamp: &str) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory, uptime) =
        (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/proc/uptime"));
    let up: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
    let up = up.max(0.0) as u64;
    json!({
        "timestamp": timestamp,
        "cpu": cpus.split("\n\n").filter_map(cpu).collect::<Vec<_>>(),
        "cpu_times": times(&read("/proc/stat")),
        "disk": null,
        "host": {
            "hostname": kernel("hostname"),
            "uptime": up,
            "os": std::env::consts::OS,
            "kernelVersion": kernel("osrelease"),
            "kernelArch": std::env::consts::ARCH,
        },
        "memory": memory_in_bytes(&memory),
    })
}

/// One paragraph of `/proc/cpuinfo`.
fn cpu(text: &str) -> Option<Value> {
    let value = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut named = lines.filter(|(found, _)| found.trim() == name);
        named.next().map(|(_, value)| value.trim().to_owned())
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<f64>().ok());
    let index: u32 = value("processor")?.parse().ok()?;
    Some(json!({
        "cpu": index,
        "vendorId": value("vendor_id").unwrap_or_default(),
        "family": value("cpu family").unwrap_or_default(),
        "model": value("model").unwrap_or_default(),
        "stepping": number("stepping").unwrap_or_default(),
        "physicalId": value("physical id").unwrap_or_default(),
        "coreId": value("core id").unwrap_or_default(),
        "cores": 1,
        "modelName": value("model name").unwrap_or_default(),
        "mhz": number("cpu MHz").unwrap_or_default(),
        "flags": value("flags").unwrap_or_default().split_whitespace().collect::<Vec<_>>(),
    }))
}

/// The lines `cpu0 ...` of `/proc/stat`, in seconds of a hundred ticks.
fn times(text: &str) -> Vec<Value> {
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let cpu = words.next().filter(|cpu| cpu.starts_with("cpu") && cpu.len() > 3)?;
        let mut next = || words.next().and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
        let (user, nice, system, idle) = (next(), next(), next(), next());
        let (iowait, irq, softirq, steal) = (next(), next(), next(), next());
        Some(json!({
            "cpu": cpu, "user": user, "nice": nice, "system": system, "idle": idle,
            "iowait": iowait, "irq": irq, "softirq": softirq, "steal": steal,
        }))
    });
    rows.collect()
}

fn memory_in_bytes(text: &str) -> Value {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or_default().saturating_mul(1024)
    };
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    json!({
        "total": total,
        "available": available,
        "used": total.saturating_sub(available),
        "free": bytes("MemFree"),
        "cached": bytes("Cached"),
        "buffers": bytes("Buffers"),
    })
}

/// The versions that have run on this store; this one is noted when the server is unsealed.
async fn versions(vault: &Vault) -> Result<Response, Error> {
    let history = vault.versions.all().await?;
    let mut info = Map::new();
    let mut previous = Value::Null;
    let mut keys = Vec::new();
    for (version, installed) in history {
        let row = json!({
            "previous_version": previous,
            "timestamp_installed": rfc3339(installed),
            "commit_date": "",
        });
        previous = version.clone().into();
        keys.push(version.clone());
        info.insert(version, row);
    }
    Ok(Response::data(json!({ "keys": keys, "key_info": info })))
}

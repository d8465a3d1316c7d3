//! `sys/health`, for load balancers.

use holdfast_types::Timestamp;
use serde_json::{Map, Value, json};

use super::{Lifecycle, VERSION};
use crate::wire::Outgoing;

/// 200 when it serves, 503 sealed, 501 not initialised; the query changes each of them.
pub(super) fn answer(
    lifecycle: &Lifecycle,
    now: Timestamp,
    query: &Map<String, Value>,
) -> Outgoing {
    let status = lifecycle.barrier().seal_status();
    let sealed = lifecycle.is_sealed();
    let (name, usual) = match (status.initialized, sealed) {
        (false, _) => ("uninitcode", 501),
        (true, true) => ("sealedcode", 503),
        (true, false) => ("activecode", 200),
    };
    let codes = Codes::read(query);
    let code = match codes.and_then(|codes| codes.get(name)) {
        Ok(code) => code.unwrap_or(usual),
        Err(()) => return Outgoing::errors(400, Vec::<String>::new()),
    };
    let mut body = json!({
        "initialized": status.initialized,
        "sealed": sealed,
        // What does not serve is no active server.
        "standby": sealed,
        "replication_performance_mode": if sealed { "unknown" } else { "disabled" },
        "replication_dr_mode": if sealed { "unknown" } else { "disabled" },
        "server_time_utc": now.as_second(),
        "version": VERSION,
    });
    if let Some(cluster) = lifecycle.cluster() {
        body["cluster_name"] = cluster.name.clone().into();
        body["cluster_id"] = cluster.id.clone().into();
    }
    Outgoing::json(code, body)
}

/// The status codes that the query names, all checked: a typing error must not pass for health.
struct Codes<'a>(Vec<(&'a str, u16)>);

impl<'a> Codes<'a> {
    fn read(query: &'a Map<String, Value>) -> Result<Self, ()> {
        let mut codes = Vec::new();
        for (name, value) in query {
            let text = value.as_str().ok_or(())?;
            match name.as_str() {
                "activecode"
                | "sealedcode"
                | "uninitcode"
                | "standbycode"
                | "drsecondarycode"
                | "performancestandbycode" => {
                    let code = text.parse().ok().filter(|code| (100..=999).contains(code));
                    codes.push((name.as_str(), code.ok_or(())?));
                }
                // There are no standbys; but the value must be one of the allowed.
                "standbyok" | "perfstandbyok"
                    if !matches!(text, "" | "true" | "false" | "1" | "0" | "t" | "f") =>
                {
                    return Err(());
                }
                _ => {}
            }
        }
        Ok(Self(codes))
    }

    fn get(&self, name: &str) -> Result<Option<u16>, ()> {
        Ok(self.0.iter().find(|(known, _)| *known == name).map(|(_, code)| *code))
    }
}

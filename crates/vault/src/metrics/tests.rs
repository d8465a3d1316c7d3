use std::time::Duration;

use serde_json::json;

use super::render::{Sample, document, prometheus};
use super::*;
use crate::testing::Server;
use crate::wire::Verb;

#[test]
fn mounts_beyond_the_bound_count_together() {
    let metrics = Metrics::default();
    let now = Instant::now();
    for number in 0..MOST_ROUTES + 100 {
        metrics.routed("read", &format!("m{number}/"), now, now);
    }
    let routes = metrics.route_snapshots(now);
    assert_eq!(routes.len(), MOST_ROUTES + 1);
    let other = routes.iter().find(|(name, _)| name == "other-").unwrap();
    assert_eq!(other.1.count, 100);
}

#[test]
fn both_forms_hold_the_same_numbers() {
    let metrics = Metrics::default();
    let now = Instant::now();
    metrics.requests.record(now, now + Duration::from_millis(4));
    let samples = [
        Sample::summary("core.handle_request", metrics.requests.snapshot(now)),
        Sample::gauge("core.mount_table.num_entries", 3).label("type", "auth"),
        Sample::gauge("process_threads", 2).bare(),
        Sample::counter("quota.rate_limit.violation", 7),
    ];
    assert_eq!(
        prometheus(&samples),
        "# TYPE vault_core_handle_request summary\n\
         vault_core_handle_request{quantile=\"0.5\"} 4\n\
         vault_core_handle_request{quantile=\"0.9\"} 4\n\
         vault_core_handle_request{quantile=\"0.99\"} 4\n\
         vault_core_handle_request_sum 4\n\
         vault_core_handle_request_count 1\n\
         # TYPE vault_core_mount_table_num_entries gauge\n\
         vault_core_mount_table_num_entries{type=\"auth\"} 3\n\
         # TYPE process_threads gauge\n\
         process_threads 2\n\
         # TYPE vault_quota_rate_limit_violation counter\n\
         vault_quota_rate_limit_violation 7\n"
    );
    let json = document(&samples, holdfast_types::Timestamp::UNIX_EPOCH);
    assert_eq!(json["Timestamp"], "1970-01-01 00:00:00 +0000 UTC");
    assert_eq!(json["Samples"][0]["Name"], "vault.core.handle_request");
    assert_eq!(json["Samples"][0]["Mean"], 4.0);
    assert_eq!(json["Gauges"][0]["Labels"], json!({ "type": "auth" }));
    assert_eq!(json["Counters"][0]["Count"], 7);
}

#[tokio::test]
async fn requests_are_counted_by_what_they_ask_and_where() {
    let server = Server::new().await;
    server.ok(Verb::Write, "fake/store/a", json!({ "v": 1 })).await;
    server.ok(Verb::Read, "fake/creds", json!({})).await;
    let vault = server.core.vault();
    let data = json!({ "format": "prometheus" });
    let now = vault.clock.now();
    let raw = answer(&vault.metrics, Some(&vault), data.as_object().unwrap(), now).await.unwrap();
    let text = String::from_utf8(raw.body).unwrap();
    assert!(raw.content_type.starts_with("text/plain"), "{}", raw.content_type);
    for line in [
        "vault_route_read_fake__count 1\n",
        "vault_route_create_fake__count 1\n",
        "vault_core_unsealed 1\n",
        "vault_expire_num_leases 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("store"), "{text}");
}

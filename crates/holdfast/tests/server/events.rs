//! Being told of changes, through the whole server and the client that others use.

use std::time::Duration;

use holdfast_client::vault::{
    EventStream, StreamEnd, SubscribeError, VaultClient, VaultConfig, VaultError,
};
use holdfast_testkit::StockServer;
use serde_json::{Value, json};

use crate::conformance::server;

/// How long an event may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);

const READER: &str = r#"
    path "sys/events/subscribe/*" { capabilities = ["read"] }
    path "events/data/mine/*"     { capabilities = ["read"] }
"#;

fn config(server: &StockServer, token: &str) -> VaultConfig {
    let mut config = VaultConfig::new(server.address().parse().unwrap());
    config.token = Some(token.into());
    config
}

/// A server with a mount `events/`, a root client, and a token with the rights of [`READER`].
async fn start() -> (StockServer, VaultClient, String) {
    let server = server();
    let root = VaultClient::new(&config(&server, StockServer::ROOT_TOKEN)).unwrap();
    let mount = json!({ "type": "kv", "options": { "version": "2" } });
    root.write("sys/mounts/events", &mount).await.unwrap();
    root.write("sys/policies/acl/reader", &json!({ "policy": READER })).await.unwrap();
    let reply = root.write("auth/token/create", &json!({ "policies": ["reader"] })).await.unwrap();
    let token = reply.auth.unwrap().client_token.expose().clone();
    (server, root, token)
}

async fn next(events: &mut EventStream) -> Result<Value, StreamEnd> {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("an event, or the end")
}

fn told(event: &Value) -> (&str, &str) {
    let data = &event["data"];
    let path = data["event"]["metadata"]["path"].as_str().unwrap();
    (data["event_type"].as_str().unwrap(), path)
}

#[tokio::test]
async fn a_reader_is_told_of_what_it_may_read_alone() {
    let (server, root, token) = start().await;
    let mut all = EventStream::subscribe(&config(&server, StockServer::ROOT_TOKEN), "*").await;
    let all = all.as_mut().unwrap();
    let mine = EventStream::subscribe(&config(&server, &token), "kv-v2/data-*").await;
    let mut mine = mine.unwrap();
    let secret = json!({ "data": { "password": "canary-77" } });
    root.write("events/data/theirs", &secret).await.unwrap();
    root.write("events/data/mine/a", &secret).await.unwrap();
    root.write("events/data/mine/a", &secret).await.unwrap();
    root.delete("events/metadata/mine/a").await.unwrap();
    root.write("events/data/mine/end", &secret).await.unwrap();

    let mut seen = Vec::new();
    for _ in 0..5 {
        let event = next(all).await.unwrap();
        assert!(!event.to_string().contains("canary-77"), "{event}");
        assert_eq!(event["specversion"], "1.0");
        let (kind, path) = told(&event);
        seen.push(format!("{kind} {path}"));
    }
    let want = [
        "kv-v2/data-write events/data/theirs",
        "kv-v2/data-write events/data/mine/a",
        "kv-v2/data-write events/data/mine/a",
        "kv-v2/metadata-delete events/data/mine/a",
        "kv-v2/data-write events/data/mine/end",
    ];
    assert_eq!(seen, want);

    let first = next(&mut mine).await.unwrap();
    assert_eq!(first["data"]["event"]["metadata"]["current_version"], "1");
    assert_eq!(first["data"]["plugin_info"]["mount_path"], "events/");
    assert_eq!(told(&first), ("kv-v2/data-write", "events/data/mine/a"));
    let second = next(&mut mine).await.unwrap();
    assert_eq!(second["data"]["event"]["metadata"]["current_version"], "2");
    // Nothing of the other's, and nothing of another kind, came in between.
    assert_eq!(told(&next(&mut mine).await.unwrap()).1, "events/data/mine/end");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let (server, root, token) = start().await;
    let mut events = EventStream::subscribe(&config(&server, &token), "kv-v2/*").await.unwrap();
    root.write("auth/token/revoke", &json!({ "token": token })).await.unwrap();
    match next(&mut events).await {
        Err(StreamEnd::Closed { code: 1008, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_may_not_subscribe_is_refused_as_anywhere() {
    let (server, root, _) = start().await;
    let body = json!({ "policies": ["default"] });
    let reply = root.write("auth/token/create", &body).await.unwrap();
    let token = reply.auth.unwrap().client_token.expose().clone();
    for token in ["wrong", &token] {
        match EventStream::subscribe(&config(&server, token), "kv-v2/*").await {
            Err(SubscribeError::Server(VaultError::Denied(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    // Without a WebSocket it is told what it needs.
    let plain = root.read("sys/events/subscribe/kv-v2/*", &[]).await;
    assert!(format!("{plain:?}").contains("426"), "{plain:?}");
}

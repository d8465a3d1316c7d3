//! Reading the server's log over the API, and collecting all that it tells of itself.

use std::process::Command;
use std::time::Duration;

use holdfast_client::vault::{LogStream, SubscribeError, VaultClient, VaultConfig};
use holdfast_testkit::StockServer;
use serde_json::{Value, json};

use crate::conformance::server;

/// How long a line may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(server: &StockServer, token: &str) -> VaultConfig {
    let mut config = VaultConfig::new(server.address().parse().unwrap());
    config.token = Some(token.into());
    config
}

/// Everything up to the first text that holds `word`, or to the end.
async fn read_up_to(log: &mut LogStream, word: &str) -> String {
    let mut text = String::new();
    while !text.contains(word) {
        let piece = tokio::time::timeout(PATIENCE, log.next()).await.expect("a line, or the end");
        let Some(piece) = piece else { break };
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    text
}

#[tokio::test]
async fn readers_hear_what_they_asked_for_while_their_token_lasts() {
    let server = server();
    let root = VaultClient::new(&config(&server, StockServer::ROOT_TOKEN)).unwrap();
    let policy = json!({ "policy": "path \"sys/monitor\" { capabilities = [\"read\"] }" });
    root.write("sys/policies/acl/reader", &policy).await.unwrap();
    let reply = root.write("auth/token/create", &json!({ "policies": ["reader"] })).await.unwrap();
    let token = reply.auth.unwrap().client_token;

    let mut quiet =
        LogStream::open(&config(&server, token.expose()), "error", "json").await.unwrap();
    let config_of_root = config(&server, StockServer::ROOT_TOKEN);
    let mut log = LogStream::open(&config_of_root, "info", "standard").await.unwrap();
    root.write("sys/mounts/first", &json!({ "type": "kv" })).await.unwrap();
    let text = read_up_to(&mut log, "first/").await;
    assert!(text.contains(" [INFO]  mounts: mount enabled: mount=first/\n"), "{text}");
    // What stderr leaves out is heard all the same.
    root.write("sys/loggers", &json!({ "level": "error" })).await.unwrap();
    root.write("sys/mounts/second", &json!({ "type": "kv" })).await.unwrap();
    assert!(read_up_to(&mut log, "second/").await.contains("second/"));

    root.write("auth/token/revoke", &json!({ "token": token.expose() })).await.unwrap();
    assert_eq!(read_up_to(&mut quiet, "never").await, "", "nothing went wrong, and it has ended");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let server = server();
    for (token, level, format, want) in [
        ("nobody", "info", "standard", 403),
        (StockServer::ROOT_TOKEN, "loud", "standard", 400),
        (StockServer::ROOT_TOKEN, "info", "xml", 400),
    ] {
        match LogStream::open(&config(&server, token), level, format).await {
            Err(SubscribeError::Server(error)) => {
                assert_eq!(error.failure().map(|failure| failure.status), Some(want), "{error}");
            }
            other => panic!("{level} {format}: {:?}", other.map(|_| ())),
        }
    }
}

/// `debug` of the official client reads our server, and ours what it reads.
#[test]
fn everything_that_a_server_tells_of_itself_is_collected() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["vault", "debug", "-duration=5s", "-compress=false", "-output=all"])
        .current_dir(folder.path())
        .env("BAO_ADDR", server.address())
        .env("BAO_TOKEN", StockServer::ROOT_TOKEN)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join("all").join(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(read("config.json")[0]["config"]["storage"]["type"], "inmem");
    for (file, field) in [
        ("host_info.json", "host"),
        ("metrics.json", "Gauges"),
        ("requests.json", "in_flight_requests"),
        ("server_status.json", "seal"),
    ] {
        let documents = read(file);
        // One at the beginning, one at the end.
        assert_eq!(documents.as_array().map(Vec::len), Some(2), "{file}");
        assert!(!documents[0][field].is_null(), "{file}: {documents}");
    }
    let index = read("index.json");
    let files = &index["output"]["files"];
    assert_eq!(files.as_array().map(Vec::len), Some(6), "{files}");
    let missing: Vec<_> = index["errors"].as_array().unwrap().iter().collect();
    let missing: Vec<_> = missing.iter().filter_map(|it| it["target"].as_str()).collect();
    let pprof = ["allocs", "block", "goroutine", "heap", "mutex"].map(|it| format!("pprof.{it}"));
    assert_eq!(missing[..5], pprof, "{index}");
    assert_eq!(missing[5..], ["replication-status"], "{index}");
}

//! What cannot be written down is not served.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::Server;

/// How long the server may take to open its logs anew.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn nothing_is_served_when_no_audit_device_can_write() {
    let server = Server::audited().await;
    let client = server.client();
    let mount = json!({ "type": "kv", "options": { "version": "2" } });
    client.write("sys/mounts/kv", &mount).await.expect("mount kv");
    client.write("kv/data/app", &json!({ "data": { "a": "1" } })).await.expect("write");
    let file = server.folder().join("audit.log");
    let lines = std::fs::read_to_string(&file).unwrap();
    assert!(lines.contains("kv/data/app"), "{lines}");

    fill(&server, &file);
    let start = Instant::now();
    let error = loop {
        match client.read("kv/data/app", &[]).await {
            Err(error) => break error,
            Ok(_) => assert!(start.elapsed() < PATIENCE, "still served"),
        }
    };
    assert_eq!(error.status(), Some(500), "{error}");
    let error = client.write("kv/data/app", &json!({ "data": { "a": "2" } })).await;
    assert_eq!(error.expect_err("not written down, not done").status(), Some(500));
}

/// Puts `/dev/full` in the log's place and has the server open it anew, as after a rotation.
fn fill(server: &Server, file: &Path) {
    use nix::sys::signal::{Signal, kill};
    std::fs::remove_file(file).unwrap();
    std::os::unix::fs::symlink("/dev/full", file).unwrap();
    let pid = nix::unistd::Pid::from_raw(server.pid().cast_signed());
    kill(pid, Signal::SIGHUP).expect("reopen");
}

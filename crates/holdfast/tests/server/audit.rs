//! What cannot be written down is not served.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clients::credentials;
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

#[tokio::test]
async fn a_workload_stands_in_the_log_by_its_spiffe_id() {
    const ID: &str = "spiffe://demo.local/ns/apps/sa/backend";
    let server = Server::audited().await;
    let client = server.client();
    let folder = tempfile::tempdir().unwrap();
    credentials(folder.path());
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let config = json!({
        "trust_domain": "demo.local", "profile": "static", "bundle": text("bundle.json"),
        "audience": "vault",
    });
    for (path, body) in [
        ("sys/auth/spiffe", json!({ "type": "spiffe" })),
        ("auth/spiffe/config", config),
        ("auth/spiffe/role/apps", json!({ "workload_id_patterns": "/ns/apps/sa/+" })),
    ] {
        client.write(path, &body).await.expect(path);
    }
    let login = json!({ "role": "apps", "jwt": text("svid.jwt") });
    let login = client.write("auth/spiffe/login", &login).await.expect("log in");
    let token = login.auth.expect("a token").client_token;
    let workload = client.with_token(Some(token));
    workload.read("auth/token/lookup-self", &[]).await.expect("look up");

    let log = std::fs::read_to_string(server.folder().join("audit.log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let is_its = |line: &serde_json::Value| {
        let places = ["/auth/metadata/spiffe_id", "/response/auth/metadata/spiffe_id"];
        places.iter().any(|place| line.pointer(place).is_some_and(|id| id == ID))
    };
    let by_workload: Vec<_> = lines.filter(is_its).collect();
    let paths: Vec<_> = by_workload.iter().map(|line| &line["request"]["path"]).collect();
    // The answer to the login, and what was asked with its token and answered.
    let look_up = "auth/token/lookup-self";
    assert_eq!(paths, ["auth/spiffe/login", look_up, look_up]);
    assert!(!log.contains(&text("svid.jwt")), "the SVID itself is a secret");

    let start = Instant::now();
    while !std::fs::read_to_string(server.log()).unwrap().contains(ID) {
        assert!(start.elapsed() < PATIENCE, "the server's own log does not name it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Puts `/dev/full` in the log's place and has the server open it anew, as after a rotation.
fn fill(server: &Server, file: &Path) {
    use nix::sys::signal::{Signal, kill};
    std::fs::remove_file(file).unwrap();
    std::os::unix::fs::symlink("/dev/full", file).unwrap();
    let pid = nix::unistd::Pid::from_raw(server.pid().cast_signed());
    kill(pid, Signal::SIGHUP).expect("reopen");
}

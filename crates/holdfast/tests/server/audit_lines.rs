//! What an audit device writes down, and what it hides: line by line as the real server does.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_client::vault::{InitRequest, UnsealRequest, VaultClient, VaultConfig};
use holdfast_testkit::{Stock, StockServer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conformance::server;
use crate::process::Server;

/// How long the real server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The real server behind a Unix socket, with the same audit device.
struct Real {
    folder: TempDir,
    child: Child,
    token: String,
}

impl Real {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            r#"
            storage "inmem" {{}}
            api_addr = "http://127.0.0.1:1"
            disable_clustering = true
            listener "unix" {{ address = "{}" }}
            audit "file" "file" {{
              options {{ file_path = "{}" elide_list_responses = "true" }}
            }}
            "#,
            at("server.sock"),
            at("audit.log"),
        );
        std::fs::write(folder.path().join("server.hcl"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("server.log")).unwrap();
        let child = Command::new(Stock::install().bao())
            .args(["server", "-config"])
            .arg(folder.path().join("server.hcl"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("start the real server");
        let mut real = Self { folder, child, token: String::new() };
        let client = VaultClient::new(&real.config()).unwrap();
        let start = Instant::now();
        while client.seal_status().await.is_err() {
            assert!(start.elapsed() < PATIENCE, "the real server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let request =
            InitRequest { secret_shares: 1, secret_threshold: 1, ..InitRequest::default() };
        let reply = client.init(&request).await.expect("initialise");
        client.unseal(&UnsealRequest::Key(reply.keys[0].clone())).await.unwrap();
        reply.root_token.expose().clone_into(&mut real.token);
        let client = VaultClient::new(&real.config()).unwrap();
        while client.token_lookup_self().await.is_err() {
            assert!(start.elapsed() < PATIENCE, "the real server does not serve");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        real
    }

    fn config(&self) -> VaultConfig {
        config(self.folder.path(), &self.token)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(folder: &Path, token: &str) -> VaultConfig {
    let address = format!("unix://{}", folder.join("server.sock").display());
    let mut config = VaultConfig::new(address.parse().unwrap());
    config.max_retries = 0;
    config.token = Some(token.into());
    config
}

/// Asks for things that devices treat each in their own way.
async fn ask(config: &VaultConfig) {
    let client = VaultClient::new(config).unwrap();
    let write = async |path: &str, body: Value| {
        client.write(path, &body).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    };
    write("sys/mounts/kv", json!({ "type": "kv" })).await;
    write("kv/before", json!({ "ticket": "T-1", "password": "P-1" })).await;
    let keys = json!({
        "audit_non_hmac_request_keys": ["ticket", "tags"],
        "audit_non_hmac_response_keys": ["ticket"],
    });
    write("sys/mounts/kv/tune", keys).await;
    write("sys/config/auditing/request-headers/X-Plain", json!({ "hmac": false })).await;
    write("sys/config/auditing/request-headers/X-Hidden", json!({ "hmac": true })).await;
    let mut with_headers = config.clone();
    for (name, value) in [("X-Plain", "shown"), ("X-Hidden", "H-1"), ("X-Other", "left out")] {
        with_headers.headers.push((name.to_owned(), value.to_owned()));
    }
    let with_headers = VaultClient::new(&with_headers).unwrap();
    let body = json!({ "ticket": "T-2", "password": "P-2", "tags": ["a", "b"], "n": 7 });
    with_headers.write("kv/after", &body).await.unwrap();
    client.read("kv/after", &[]).await.unwrap();
    client.list("kv").await.unwrap();
    client.list("sys/policies/acl").await.unwrap();
    client.list("sys/policies/detailed/acl").await.unwrap();
}

/// What the lines say of those requests: hashes masked, for each server has a key of its own.
fn lines(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    let masked = regex::Regex::new("hmac-sha256:[0-9a-f]{64}").unwrap();
    let text = masked.replace_all(&text, "HASH");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_interest = lines.filter(|line| {
        let path = line["request"]["path"].as_str().unwrap_or_default();
        path.starts_with("kv/") || path.starts_with("sys/config/") || path.contains("/acl")
    });
    let shown = of_interest.map(|line| {
        let request = &line["request"];
        json!({
            "type": line["type"],
            "operation": request["operation"],
            "path": request["path"],
            "headers": request["headers"],
            "request": request["data"],
            "response": line["response"]["data"],
        })
    });
    shown.map(|line| line.to_string()).collect()
}

#[tokio::test]
async fn fields_headers_and_lists_are_written_as_the_real_server_writes_them() {
    let ours = Server::audited_eliding().await;
    let real = Real::start().await;
    ask(&ours.config()).await;
    ask(&real.config()).await;
    let got = lines(&ours.folder().join("audit.log"));
    let want = lines(&real.folder.path().join("audit.log"));
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got, want);
    }
    assert_eq!(got.len(), want.len());
    // Both might have said nothing.
    let all = got.join("\n");
    for shown in ["\"ticket\":\"T-2\"", "\"x-plain\":[\"shown\"]", "\"x-hidden\":[\"HASH\"]"] {
        assert!(all.contains(shown), "{shown} is missing:\n{all}");
    }
    for hidden in ["P-1", "P-2", "T-1", "H-1", "left out", "x-other"] {
        assert!(!all.contains(hidden), "{hidden} is written:\n{all}");
    }
    assert!(all.contains("\"response\":{\"key_info\":2,\"keys\":2}"), "{all}");
}

/// The statuses of logins by two roles in turn, one of which may log in twice a minute.
async fn logins(config: &VaultConfig) -> Vec<u16> {
    let client = VaultClient::new(config).unwrap();
    let write = async |path: &str, body: Value| {
        client.write(path, &body).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    };
    write("sys/auth/approle", json!({ "type": "approle" })).await;
    let mut ids = Vec::new();
    for role in ["one", "two"] {
        let role = format!("auth/approle/role/{role}");
        write(&role, json!({ "token_policies": ["default"] })).await;
        let id = client.read(&format!("{role}/role-id"), &[]).await.unwrap().unwrap();
        let secret = client.write(&format!("{role}/secret-id"), &json!({})).await.unwrap();
        ids.push(json!({
            "role_id": id.data.unwrap()["role_id"],
            "secret_id": secret.data.unwrap()["secret_id"],
        }));
    }
    let limit = json!({ "path": "auth/approle", "role": "one", "rate": 2, "interval": "60s" });
    write("sys/quotas/rate-limit/one", limit).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        for id in &ids {
            let login = client.write("auth/approle/login", id).await;
            statuses.push(login.map_or_else(|error| error.status().unwrap_or_default(), |_| 200));
        }
    }
    statuses
}

#[tokio::test]
async fn a_limit_by_role_holds_for_that_role_alone() {
    for server in [server(), StockServer::start(&Stock::install())] {
        let mut config = VaultConfig::new(server.address().parse().unwrap());
        config.max_retries = 0;
        config.token = Some(StockServer::ROOT_TOKEN.into());
        assert_eq!(logins(&config).await, [200, 200, 200, 200, 429, 200, 429, 200]);
    }
}

impl Server {
    fn config(&self) -> VaultConfig {
        let token = self.client().token().expect("the root token").clone();
        config(self.folder(), token.expose())
    }
}

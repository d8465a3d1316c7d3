//! `holdfast vault agent` as a process of its own, against our server and the real one.

mod compare;
mod logins;
mod proxy;
mod tokens;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use holdfast_client::vault::{VaultClient, VaultConfig};
use holdfast_testkit::{Stock, StockServer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with an AppRole `app`, and a folder in memory for one agent.
struct Scene {
    server: StockServer,
    root: VaultClient,
    folder: TempDir,
}

impl Scene {
    async fn new(server: StockServer) -> Self {
        let root = client(server.address()).with_token(Some(StockServer::ROOT_TOKEN.into()));
        // The agent keeps its state on tmpfs alone.
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let this = Self { server, root, folder };
        let policy = "path \"secret/*\" { capabilities = [\"create\", \"read\", \"update\"] }\n\
                      path \"auth/token/create\" { capabilities = [\"update\"] }";
        this.write("sys/policies/acl/app", &json!({ "policy": policy })).await;
        this.write("sys/auth/approle", &json!({ "type": "approle" })).await;
        this.role("1h", "2h").await;
        this.write("secret/data/a", &json!({ "data": { "v": "1" } })).await;
        this
    }

    async fn ours() -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_holdfast"));
        Self::new(StockServer::start_binary(binary, &["vault", "server"])).await
    }

    /// Ours and the real one.
    async fn both() -> [Self; 2] {
        [Self::ours().await, Self::new(StockServer::start(&Stock::install())).await]
    }

    /// Sets how long the role's tokens last.
    async fn role(&self, ttl: &str, max_ttl: &str) {
        let role = json!({
            "token_policies": "app", "token_ttl": ttl, "token_max_ttl": max_ttl,
        });
        self.write("auth/approle/role/app", &role).await;
    }

    async fn write(&self, path: &str, body: &Value) -> holdfast_client::vault::Reply {
        self.root.write(path, body).await.unwrap_or_else(|error| panic!("{path}: {error:?}"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    /// Puts the role's ids into `role-id` and `secret-id`.
    async fn put_ids(&self) {
        let role = self.root.read("auth/approle/role/app/role-id", &[]).await.unwrap().unwrap();
        let role_id = role.data.unwrap()["role_id"].as_str().unwrap().to_owned();
        fs::write(self.at("role-id"), role_id + "\n").unwrap();
        let reply = self.write("auth/approle/role/app/secret-id", &json!({})).await;
        let secret_id = reply.data.unwrap()["secret_id"].as_str().unwrap().to_owned();
        fs::write(self.at("secret-id"), secret_id + "\n").unwrap();
    }

    /// Writes a configuration: the server's address, and `text` with `FOLDER` replaced.
    fn configure(&self, name: &str, text: &str) -> PathBuf {
        let text = text.replace("FOLDER", &self.folder.path().display().to_string());
        let path = self.at(name);
        let head = format!("vault {{ address = \"{}\" }}\n", self.server.address());
        fs::write(&path, head + &text).unwrap();
        path
    }

    /// Starts our agent.
    fn start(&self, config: &Path, more: &[&str]) -> Agent {
        let command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        self.start_as(command, &["vault", "agent"], config, more)
    }

    /// Starts the real one.
    fn start_real(&self, config: &Path, more: &[&str]) -> Agent {
        self.start_as(Command::new(Stock::install().bao()), &["agent"], config, more)
    }

    fn start_as(&self, mut command: Command, name: &[&str], config: &Path, more: &[&str]) -> Agent {
        let log = self.at("agent.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.args(name).arg(format!("-config={}", config.display())).args(more);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        for name in ["BAO_ADDR", "VAULT_ADDR", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY"] {
            command.env_remove(name);
        }
        let child = command.process_group(0).spawn().expect("start the agent");
        Agent { child, log }
    }

    /// What the server says about a token.
    async fn look_up(&self, token: &str) -> Option<Value> {
        let client = self.root.with_token(Some(token.into()));
        client.token_lookup_self().await.ok().map(Value::Object)
    }
}

/// A running agent. It is killed when this is dropped.
struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).expect("signal the agent");
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    async fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it logged.
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `find` finds what it looks for.
    async fn until<T>(&mut self, what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = find().await {
                return found;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{what}: the agent ended with {status}:\n{}", self.said());
            }
            assert!(start.elapsed() < PATIENCE, "{what}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a text in a sink, other than `before`.
    async fn token(&mut self, sink: &Path, before: &str) -> String {
        let find = async || {
            let text = fs::read_to_string(sink).unwrap_or_default();
            (!text.is_empty() && text != before).then_some(text)
        };
        self.until("a token in the sink", find).await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

fn client(address: &str) -> VaultClient {
    let mut config = VaultConfig::new(address.parse().expect("an address"));
    config.max_retries = 0;
    VaultClient::new(&config).expect("a client")
}

/// Logs in as `app` from the files of [`Scene::put_ids`], and writes `token`.
const APPROLE: &str = r#"
auto_auth {
  method "approle" {
    config = {
      role_id_file_path = "FOLDER/role-id"
      secret_id_file_path = "FOLDER/secret-id"
    }
  }
  sink "file" { config = { path = "FOLDER/token" } }
}
"#;

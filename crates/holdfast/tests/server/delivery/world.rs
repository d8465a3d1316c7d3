//! A secrets server with an AppRole, and agents that log in with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_agent::status::{self, StatePlace, Status};
use holdfast_client::vault::{VaultClient, VaultConfig};
use holdfast_testkit::{Stock, StockServer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::conformance::server;

/// How long anything here may take before it counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the agents may do.
const POLICY: &str = r#"
    path "kv/*"                   { capabilities = ["read", "list"] }
    path "kv/data/denied/*"       { capabilities = ["deny"] }
    path "one/*"                  { capabilities = ["read", "list"] }
    path "pki/issue/*"            { capabilities = ["update"] }
    path "database/creds/*"       { capabilities = ["read"] }
    path "sys/leases/revoke"      { capabilities = ["update"] }
    path "sys/events/subscribe/*" { capabilities = ["read"] }
"#;

/// Which program runs as agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    Bao,
}

/// A folder with what agents log in with.
pub(crate) struct World {
    pub(crate) address: String,
    pub(crate) root: VaultClient,
    folder: TempDir,
    /// Ends with the world, where it is the world's.
    _server: Option<StockServer>,
}

impl World {
    /// Our server.
    pub(crate) async fn ours() -> Self {
        let server = server();
        Self::at(server.address().to_owned(), StockServer::ROOT_TOKEN, Some(server)).await
    }

    /// The real one.
    pub(crate) async fn bao() -> Self {
        let server = StockServer::start(&Stock::install());
        Self::at(server.address().to_owned(), StockServer::ROOT_TOKEN, Some(server)).await
    }

    /// One that is there already.
    pub(crate) async fn at(address: String, token: &str, server: Option<StockServer>) -> Self {
        let mut config = VaultConfig::new(address.parse().unwrap());
        config.token = Some(token.into());
        let root = VaultClient::new(&config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (mount, version) in [("kv", "2"), ("one", "1")] {
            let body = json!({ "type": "kv", "options": { "version": version } });
            root.write(&format!("sys/mounts/{mount}"), &body).await.unwrap();
        }
        root.write("sys/policies/acl/app", &json!({ "policy": POLICY })).await.unwrap();
        root.write("sys/auth/approle", &json!({ "type": "approle" })).await.unwrap();
        root.write("auth/approle/role/app", &json!({ "token_policies": "app" })).await.unwrap();
        let role = root.read("auth/approle/role/app/role-id", &[]).await.unwrap().unwrap();
        let role_id = role.data.unwrap()["role_id"].as_str().unwrap().to_owned();
        let secret = root.write("auth/approle/role/app/secret-id", &json!({})).await.unwrap();
        let secret_id = secret.data.unwrap()["secret_id"].as_str().unwrap().to_owned();
        fs::write(folder.path().join("role-id"), role_id).unwrap();
        fs::write(folder.path().join("secret-id"), secret_id).unwrap();
        Self { address, root, folder, _server: server }
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is in a file of its folder now; nothing where there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a secret to `kv/<name>`, once the mount is ready.
    pub(crate) async fn put(&self, name: &str, data: Value) {
        let start = Instant::now();
        let path = format!("kv/data/{name}");
        // A mount of the real server is turned into version 2 in the background.
        while let Err(error) = self.root.write(&path, &json!({ "data": data })).await {
            assert!(start.elapsed() < PATIENCE, "{error:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts an agent with `config` beside the login and the server. `FOLDER` stands for the folder.
    pub(crate) fn agent(&self, program: Program, name: &str, config: &str) -> Agent {
        let file = self.configure(name, config);
        let mut agent =
            Agent { program, file, log: self.path(&format!("{name}.log")), child: None };
        agent.start();
        agent
    }

    /// Writes the file of an agent.
    pub(crate) fn configure(&self, name: &str, config: &str) -> PathBuf {
        let config = format!(
            r#"
            vault {{ address = "{}" }}
            auto_auth {{
              method "approle" {{
                config = {{
                  role_id_file_path                   = "FOLDER/role-id"
                  secret_id_file_path                 = "FOLDER/secret-id"
                  remove_secret_id_file_after_reading = false
                }}
              }}
              sink "file" {{ config = {{ path = "FOLDER/{name}/token" }} }}
            }}
            {config}
            "#,
            self.address
        );
        let file = self.path(&format!("{name}.hcl"));
        fs::create_dir_all(self.path(name)).unwrap();
        fs::write(&file, config.replace("FOLDER", &self.folder.path().display().to_string()))
            .unwrap();
        file
    }

    /// Waits until a file of the folder holds `text`.
    pub(crate) async fn until(&self, agent: &Agent, name: &str, text: &str) {
        let path = self.path(name);
        until(&format!("{name} to be {text:?}"), agent, || {
            fs::read_to_string(&path).is_ok_and(|there| there == text)
        })
        .await;
    }
}

/// A running agent. It is killed when dropped.
pub(crate) struct Agent {
    program: Program,
    file: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// Starts it, again after it ended.
    pub(crate) fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = match self.program {
            Program::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
                command.arg("vault");
                command
            }
            Program::Bao => Command::new(Stock::install().bao()),
        };
        command.arg("agent").arg("-config").arg(&self.file).arg("-log-level=debug");
        command.env_remove("VAULT_TOKEN").env_remove("BAO_TOKEN");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Kills it, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets it read its file anew.
    pub(crate) fn hangup(&self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGHUP).unwrap();
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.child.as_ref().unwrap().id().cast_signed()
    }

    /// Waits for it to end by itself. Gives its exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            if start.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("it does not end:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it tells about itself.
    pub(crate) async fn status(&self) -> Status {
        let mut last = String::new();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            for socket in status::sockets() {
                match status::read(&socket).await {
                    Ok(status) if i64::from(status.pid) == i64::from(self.pid()) => return status,
                    Ok(_) => {}
                    Err(error) => last = error.to_string(),
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no status: {last}\n{}", self.log());
    }

    /// Waits until what it tells about itself is as wanted.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            if is(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {status:#?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if self.program == Program::Ours {
            // A killed agent leaves its socket.
            StatePlace::of(std::slice::from_ref(&self.file), None).clear();
        }
    }
}

/// Waits for something.
pub(crate) async fn until(what: &str, agent: &Agent, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}\n{}", agent.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a file is, for messages.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

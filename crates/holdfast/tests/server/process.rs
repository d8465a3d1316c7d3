//! `holdfast vault server` in a temporary folder, behind a Unix socket, unsealed by a static key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_client::vault::{InitRequest, VaultClient, VaultConfig};
use tempfile::TempDir;

/// A server's folder, and the process while there is one.
pub(crate) struct Server {
    folder: TempDir,
    child: Option<Child>,
    token: String,
}

/// How long anything here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    /// Starts one on an empty store and initialises it.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// The same with one audit device, the file `audit.log`.
    pub(crate) async fn audited() -> Self {
        Self::with(r#"audit "file" "file" { options { file_path = "FOLDER/audit.log" } }"#).await
    }

    /// The same, and of lists it writes the number of their names alone.
    pub(crate) async fn audited_eliding() -> Self {
        Self::with(
            r#"
            audit "file" "file" {
              options { file_path = "FOLDER/audit.log" elide_list_responses = "true" }
            }
            "#,
        )
        .await
    }

    /// The same with its store and its log on `disk`, of which it sets `reserve` bytes aside.
    pub(crate) async fn on_disk(disk: &Path, reserve: u64) -> Self {
        let disk = disk.display();
        // Of two storages the later one counts.
        Self::with(&format!(
            r#"
            storage "sqlite" {{ path = "{disk}/vault.db" reserve_bytes = {reserve} }}
            audit "file" "file" {{ options {{ file_path = "{disk}/audit.log" }} }}
            "#
        ))
        .await
    }

    /// A server whose audit log has a disk of its own.
    pub(crate) async fn audited_on(disk: &Path, reserve: u64) -> Self {
        let disk = disk.display();
        Self::with(&format!(
            r#"
            storage "sqlite" {{ path = "FOLDER/vault.db" reserve_bytes = {reserve} }}
            audit "file" "file" {{ options {{ file_path = "{disk}/audit.log" }} }}
            "#
        ))
        .await
    }

    /// The same with more in its configuration.
    pub(crate) async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("seal.key"), [7; 32]).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            r#"
            listener "unix" {{ address = "{}" }}
            storage "sqlite" {{ path = "{}" }}
            seal "static" {{
              current_key_id = "1"
              current_key    = "file://{}"
            }}
            "#,
            at("server.sock"),
            at("vault.db"),
            at("seal.key"),
        );
        let more = more.replace("FOLDER", &folder.path().display().to_string());
        fs::write(folder.path().join("server.hcl"), config + &more).unwrap();
        let mut server = Self { folder, child: None, token: String::new() };
        server.start().await;
        let request = InitRequest::default();
        let reply = server.client().init(&request).await.expect("initialise");
        reply.root_token.expose().clone_into(&mut server.token);
        server.until_unsealed().await;
        server
    }

    /// The folder with its store, socket and log.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the server writes what it has to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    /// The command that runs the server.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["vault", "server", "-config"]).arg(self.folder().join("server.hcl"));
        command
    }

    /// Starts the process and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let command = self.command();
        self.start_as(command).await;
    }

    /// Starts it by another command, such as one that traces it.
    pub(crate) async fn start_as(&mut self, mut command: Command) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("start the server"));
        let client = self.client();
        let start = Instant::now();
        while client.seal_status().await.is_err() {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("the server ended with {status}:\n{}", self.tail());
            }
            assert!(start.elapsed() < PATIENCE, "the server does not answer:\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if !self.token.is_empty() {
            self.until_unsealed().await;
        }
    }

    /// Waits until the server has unsealed itself.
    async fn until_unsealed(&self) {
        let client = self.client();
        let start = Instant::now();
        loop {
            let health = client.health().await;
            if health.is_ok_and(|health| health.initialized && !health.sealed) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "still sealed:\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A client with the root token, that tries once.
    pub(crate) fn client(&self) -> VaultClient {
        let socket = self.folder().join("server.sock");
        let address = format!("unix://{}", socket.display()).parse().expect("a socket's address");
        let mut config = VaultConfig::new(address);
        config.max_retries = 0;
        config.token = Some(self.token.as_str().into());
        VaultClient::new(&config).expect("a client")
    }

    /// Kills the process, as a power cut would, and waits for its end.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill the server");
            child.wait().expect("wait for the server");
        }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().expect("wait for the server");
        }
    }

    /// The last of its log, for messages of tests that fail.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

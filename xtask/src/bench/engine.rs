//! The two servers side by side: how each is configured, started, stopped and killed.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use holdfast_testkit::Ca;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::load::Target;
use super::process::Process;

/// How long a start, a stop, or a step of the set-up may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a starting server is asked whether it is healthy.
const POLL: Duration = Duration::from_micros(500);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// Ours, with the store, the audit log and the seal that it has in production.
    Holdfast,
    /// The real one, on raft storage.
    OpenBao,
}

impl Engine {
    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "Holdfast",
            Self::OpenBao => "OpenBao",
        }
    }
}

/// The programs.
pub(super) struct Binaries {
    pub(super) holdfast: PathBuf,
    pub(super) bao: PathBuf,
}

/// A server with a folder of its own, running or not.
pub(super) struct Server {
    engine: Engine,
    binary: PathBuf,
    folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
    client_tls: Arc<rustls::ClientConfig>,
    child: Option<Child>,
    root_token: String,
}

/// What a start took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub(super) elapsed: Duration,
    /// Processor time, user and system.
    pub(super) cpu: Duration,
}

impl Server {
    /// Starts one on an empty store, and initialises it.
    pub(super) fn new(engine: Engine, binaries: &Binaries) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-bench-").tempdir()?;
        let ca = Ca::new("benchmark");
        let leaf = ca.server(&["localhost", "127.0.0.1"]);
        fs::write(folder.path().join("tls.pem"), &leaf.certificate_pem)?;
        fs::write(folder.path().join("tls.key"), &leaf.key_pem)?;
        // A benchmark's key guards a benchmark's secrets.
        fs::write(folder.path().join("seal.key"), [7; 32])?;
        let ports = free_ports::<4>()?;
        let own_address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der().to_vec()))?;
        let client_tls =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let binary = match engine {
            Engine::Holdfast => binaries.holdfast.clone(),
            Engine::OpenBao => binaries.bao.clone(),
        };
        let config = match engine {
            Engine::Holdfast => holdfast_config(folder.path(), ports),
            Engine::OpenBao => bao_config(folder.path(), ports),
        };
        fs::create_dir(folder.path().join("store"))?;
        make_private(&folder.path().join("store"))?;
        fs::write(folder.path().join("server.hcl"), config)?;
        let mut server = Self {
            engine,
            binary,
            folder,
            plain: own_address(ports[0]),
            tls: own_address(ports[1]),
            client_tls: Arc::new(client_tls),
            child: None,
            root_token: String::new(),
        };
        server.spawn()?;
        server.until(|status| status == 501)?;
        let shares = json!({ "recovery_shares": 1, "recovery_threshold": 1 });
        let (status, reply) = http::call(server.plain, "PUT", "sys/init", "", &shares)?;
        ensure!(status == 200, "initialise {}: {status} {reply}", engine.name());
        reply["root_token"].as_str().context("a root token")?.clone_into(&mut server.root_token);
        server.until(|status| status == 200)?;
        Ok(server)
    }

    pub(super) fn engine(&self) -> Engine {
        self.engine
    }

    /// Its folder: `store/`, `seal.key`.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it again, until it says that it is healthy.
    pub(super) fn start(&mut self) -> Result<Started> {
        let start = Instant::now();
        self.spawn()?;
        self.until(|status| status == 200)?;
        Ok(Started { elapsed: start.elapsed(), cpu: self.process().cpu()? })
    }

    /// Stops it cleanly. Gives how long it took.
    pub(super) fn stop(&mut self) -> Result<Duration> {
        self.end(Signal::SIGTERM)
    }

    /// Kills it.
    pub(super) fn kill(&mut self) -> Result<Duration> {
        self.end(Signal::SIGKILL)
    }

    /// Where load goes, with or without TLS.
    pub(super) fn target(&self, tls: bool) -> Target {
        Target {
            address: if tls { self.tls } else { self.plain },
            tls: tls.then(|| Arc::clone(&self.client_tls)),
            process: self.process(),
        }
    }

    /// Its process, while it runs.
    pub(super) fn process(&self) -> Process {
        Process(self.child.as_ref().map_or(0, Child::id))
    }

    /// Sends a request with the root token, until it succeeds: a mount of the real server is not
    /// ready at once.
    pub(super) fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let start = Instant::now();
        loop {
            let (status, reply) = http::call(self.plain, method, path, &self.root_token, body)?;
            if (200..300).contains(&status) {
                return Ok(reply);
            }
            if start.elapsed() > Duration::from_secs(10) {
                bail!("{}: {method} {path}: {status} {reply}", self.engine.name());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn spawn(&mut self) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name);
        let log = fs::OpenOptions::new().create(true).append(true).open(at("server.log"))?;
        let mut command = Command::new(&self.binary);
        if self.engine == Engine::Holdfast {
            command.arg("vault");
        }
        command.arg("server").arg("-config").arg(at("server.hcl"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("run {}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until `sys/health` answers with a status that is `wanted`.
    fn until(&mut self, wanted: impl Fn(u16) -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            let asked = http::call(self.plain, "GET", "sys/health", "", &Value::Null);
            if asked.is_ok_and(|(status, _)| wanted(status)) {
                return Ok(());
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("{} ended with {status}:\n{}", self.engine.name(), self.log());
            }
            if start.elapsed() > PATIENCE {
                bail!("{} is not ready:\n{}", self.engine.name(), self.log());
            }
            std::thread::sleep(POLL);
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    fn end(&mut self, signal: Signal) -> Result<Duration> {
        let Some(mut child) = self.child.take() else { return Ok(Duration::ZERO) };
        let start = Instant::now();
        kill(Pid::from_raw(child.id().cast_signed()), signal)?;
        while child.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                child.kill()?;
                bail!("{} does not stop", self.engine.name());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(start.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn holdfast_config(folder: &Path, [plain, tls, ..]: [u16; 4]) -> String {
    let common = common_config(folder, plain, tls, ["", ""]);
    format!("{common}\nstorage \"sqlite\" {{ path = \"{}/store/vault.db\" }}\n", folder.display())
}

fn bao_config(folder: &Path, [plain, tls, cluster, other]: [u16; 4]) -> String {
    let cluster_of = |port| format!("cluster_address = \"127.0.0.1:{port}\"");
    let common = common_config(folder, plain, tls, [&cluster_of(cluster), &cluster_of(other)]);
    format!(
        "{common}\napi_addr = \"http://127.0.0.1:{plain}\"\n\
         cluster_addr = \"https://127.0.0.1:{cluster}\"\n\
         storage \"raft\" {{ path = \"{}/store\"\n node_id = \"benchmark\" }}\n",
        folder.display()
    )
}

/// What both read alike: listeners, seal, audit log.
fn common_config(folder: &Path, plain: u16, tls: u16, more: [&str; 2]) -> String {
    let folder = folder.display();
    let [more_plain, more_tls] = more;
    format!(
        r#"listener "tcp" {{
  address = "127.0.0.1:{plain}"
  tls_disable = true
  {more_plain}
}}
listener "tcp" {{
  address = "127.0.0.1:{tls}"
  tls_cert_file = "{folder}/tls.pem"
  tls_key_file = "{folder}/tls.key"
  {more_tls}
}}
seal "static" {{
  current_key_id = "benchmark"
  current_key = "file://{folder}/seal.key"
}}
audit "file" "main" {{
  options {{ file_path = "{folder}/audit.log" }}
}}
"#
    )
}

/// Ports that are free now.
fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let listeners: Vec<_> =
        (0..COUNT).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<_, _>>()?;
    let mut ports = [0; COUNT];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?)
}

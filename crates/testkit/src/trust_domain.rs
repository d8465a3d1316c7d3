//! A SPIFFE trust domain on this machine, ours or SPIRE's: a server and its agent.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::Ca;
use crate::stock::output_of;

mod settings;
mod spire;

pub use settings::{Registration, SpiffeEngine, TrustDomainSettings};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Starts an agent whose third descriptor is the socket that comes as its input.
const INTRODUCED: &str = "exec 3<&0 </dev/null; \
    LISTEN_FDS=1 LISTEN_FDNAMES=introductions exec \"$0\" \"$@\"";
const POLL: Duration = Duration::from_millis(1);

/// A server and an agent in a folder of their own, under an authority of the test's.
pub struct TrustDomain {
    engine: SpiffeEngine,
    settings: TrustDomainSettings,
    folder: TempDir,
    /// For the agent's other socket, which SPIRE wants elsewhere.
    operators: TempDir,
    /// The end of a supervisor's that our agent inherits.
    introductions: Option<OwnedFd>,
    port: u16,
    agent_id: String,
    server: Option<Child>,
    agent: Option<Child>,
}

impl TrustDomain {
    /// Starts both, by an authority of their own.
    ///
    /// # Panics
    /// They do not start.
    pub fn start(engine: SpiffeEngine, settings: TrustDomainSettings) -> Self {
        Self::start_under(engine, settings, &Ca::new("upstream"))
    }

    /// Starts both, by this authority.
    ///
    /// # Panics
    /// They do not start.
    pub fn start_under(engine: SpiffeEngine, settings: TrustDomainSettings, upstream: &Ca) -> Self {
        Self::start_introduced(engine, settings, upstream, None)
    }

    /// Starts both, by this authority. Our agent inherits the socket on which a supervisor introduces
    /// its children; SPIRE's has nothing like it.
    ///
    /// # Panics
    /// They do not start.
    pub fn start_introduced(
        engine: SpiffeEngine,
        settings: TrustDomainSettings,
        upstream: &Ca,
        introductions: Option<OwnedFd>,
    ) -> Self {
        let name = engine.name();
        match Self::try_start(engine, settings, upstream, introductions) {
            Ok(domain) => domain,
            Err(error) => panic!("start {name}'s server and agent: {error:#}"),
        }
    }

    fn try_start(
        engine: SpiffeEngine,
        settings: TrustDomainSettings,
        upstream: &Ca,
        introductions: Option<OwnedFd>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-spiffe-").tempdir()?;
        let operators = tempfile::Builder::new().prefix("holdfast-spiffe-").tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::write(at("upstream.pem"), upstream.pem())?;
        // A test's keys guard a test's identities.
        fs::write(at("upstream.key"), upstream.key_pem())?;
        fs::write(at("seal.key"), [7; 32])?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let agent_id = format!("spiffe://{}/spire/agent/local", settings.name);
        let (server, agent) = (None, None);
        let mut domain = Self {
            engine,
            settings,
            folder,
            operators,
            introductions,
            port,
            agent_id,
            server,
            agent,
        };
        if matches!(domain.engine, SpiffeEngine::Spire(_)) {
            fs::write(domain.path("server.conf"), domain.spire_server())?;
        }
        domain.try_start_server()?;
        if let SpiffeEngine::Spire(spire) = &domain.engine {
            let mut generate = Command::new(spire.server());
            generate.args(["token", "generate", "-ttl", "3600", "-socketPath"]);
            let told = output_of(generate.arg(domain.server_socket()))?;
            let token = told.split_whitespace().nth(1).context("a join token")?;
            domain.agent_id =
                format!("spiffe://{}/spire/agent/join_token/{token}", domain.settings.name);
            fs::write(domain.path("agent.conf"), domain.spire_agent(token))?;
        }
        domain.try_start_agent()?;
        Ok(domain)
    }

    /// Whose it is.
    pub fn engine(&self) -> &SpiffeEngine {
        &self.engine
    }

    /// The trust domain's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The SPIFFE ID of this path.
    pub fn id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.settings.name)
    }

    /// A file of its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where workloads connect.
    pub fn socket(&self) -> PathBuf {
        self.path("agent.sock")
    }

    /// Where the agent's operators connect, and delegates.
    pub fn admin_socket(&self) -> PathBuf {
        self.operators.path().join("admin.sock")
    }

    /// What clients have in `SPIFFE_ENDPOINT_SOCKET`.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Where operators of the server connect.
    pub fn server_socket(&self) -> PathBuf {
        self.path("server.sock")
    }

    /// The parent of what the agent serves.
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// The server's process, while it runs.
    pub fn server_process(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// The agent's process, while it runs.
    pub fn agent_process(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// Registers a workload. Gives the entry's id.
    ///
    /// # Panics
    /// The server refuses.
    pub fn register(&self, registration: &Registration) -> String {
        let mut create = self.tool(&["entry", "create", "-output", "json"]);
        create.arg("-spiffeID").arg(self.id(&registration.path));
        create.args(["-parentID", &self.agent_id]);
        for selector in &registration.selectors {
            create.args(["-selector", selector]);
        }
        for name in &registration.dns_names {
            create.args(["-dns", name]);
        }
        for name in &registration.federates_with {
            create.args(["-federatesWith", name]);
        }
        if !registration.entry_id.is_empty() {
            create.args(["-entryID", &registration.entry_id]);
        }
        if !registration.hint.is_empty() {
            create.args(["-hint", &registration.hint]);
        }
        let told = output_of(&mut create).unwrap_or_else(|error| panic!("register: {error:#}"));
        // Both say it first of the entry.
        let id = told.split("\"id\":").nth(1).and_then(|rest| rest.split('"').nth(1));
        id.unwrap_or_else(|| panic!("an entry's id in {told}")).to_owned()
    }

    /// Trusts another trust domain with the bundle that it has now.
    ///
    /// # Panics
    /// One of them refuses.
    pub fn trust(&self, other: &Self) {
        let bundle = output_of(&mut other.tool(&["bundle", "show", "-format", "spiffe"]));
        let bundle = bundle.unwrap_or_else(|error| panic!("show the bundle: {error:#}"));
        let path = self.path("federated.json");
        fs::write(&path, bundle).unwrap_or_else(|error| panic!("write the bundle: {error}"));
        let mut set = self.tool(&["bundle", "set", "-format", "spiffe"]);
        set.args(["-id", &other.id("")]).arg("-path").arg(path);
        output_of(&mut set).unwrap_or_else(|error| panic!("set the bundle: {error:#}"));
    }

    /// Removes an entry.
    ///
    /// # Panics
    /// The server refuses.
    pub fn unregister(&self, id: &str) {
        let told = output_of(&mut self.tool(&["entry", "delete", "-entryID", id]));
        told.unwrap_or_else(|error| panic!("unregister: {error:#}"));
    }

    /// Starts the server, which was stopped or killed.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_server(&mut self) {
        self.try_start_server().unwrap_or_else(|error| panic!("start the server: {error:#}"));
    }

    /// Starts the agent, which was stopped or killed.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_agent(&mut self) {
        self.try_start_agent().unwrap_or_else(|error| panic!("start the agent: {error:#}"));
    }

    /// Starts the agent and does not wait until it listens.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn spawn_agent(&mut self) -> Result<()> {
        let mut command = match &self.engine {
            SpiffeEngine::Holdfast(binary) => {
                let mut command = match &self.introductions {
                    Some(_) => Command::new("/bin/sh"),
                    None => Command::new(binary),
                };
                command.stdin(Stdio::null());
                if let Some(socket) = &self.introductions {
                    command.args(["-c", INTRODUCED]).arg(binary);
                    command.stdin(socket.try_clone()?);
                }
                command.args(["spiffe", "agent"]);
                command.arg("-socketPath").arg(self.socket());
                command.arg("-adminSocketPath").arg(self.admin_socket());
                for delegate in &self.settings.authorized_delegates {
                    command.args(["-authorizedDelegate", delegate]);
                }
                command.arg("-serverSocketPath").arg(self.server_socket());
                command
            }
            SpiffeEngine::Spire(spire) => {
                let mut command = Command::new(spire.agent());
                command.args(["run", "-config"]).arg(self.path("agent.conf")).stdin(Stdio::null());
                command
            }
        };
        self.agent = Some(self.spawn(&mut command, "agent.log")?);
        Ok(())
    }

    /// Kills the server.
    pub fn kill_server(&mut self) {
        end(self.server.take());
    }

    /// Kills the agent.
    pub fn kill_agent(&mut self) {
        end(self.agent.take());
    }

    /// A command of an operator's of the server.
    pub fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.engine {
            SpiffeEngine::Holdfast(binary) => {
                let mut command = Command::new(binary);
                command.arg("spiffe");
                command
            }
            SpiffeEngine::Spire(spire) => Command::new(spire.server()),
        };
        let verbs = arguments.iter().take_while(|argument| !argument.starts_with('-')).count();
        let (verbs, flags) = arguments.split_at(verbs);
        command.args(verbs).arg("-socketPath").arg(self.server_socket()).args(flags);
        command
    }

    /// What server and agent have logged.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for name in ["server.log", "agent.log"] {
            let text = fs::read_to_string(self.path(name)).unwrap_or_default();
            let _ = write!(logs, "{}'s {name}:\n{text}", self.engine.name());
        }
        logs
    }

    fn try_start_server(&mut self) -> Result<()> {
        let mut command = match &self.engine {
            SpiffeEngine::Holdfast(binary) => {
                let mut command = Command::new(binary);
                command.args(["spiffe", "server", "-trustDomain", &self.settings.name]);
                command.arg("-dataDir").arg(self.path("store"));
                command.arg("-sealKey").arg(self.path("seal.key"));
                command.arg("-socketPath").arg(self.server_socket());
                if self.settings.self_signed {
                    command.arg("-selfSigned");
                } else {
                    command.arg("-upstreamCert").arg(self.path("upstream.pem"));
                    command.arg("-upstreamKey").arg(self.path("upstream.key"));
                }
                for (flag, life) in [
                    ("-caTTL", self.settings.ca_ttl),
                    ("-x509SVIDTTL", self.settings.x509_ttl),
                    ("-jwtSVIDTTL", self.settings.jwt_ttl),
                ] {
                    command.args([flag, &seconds(life)]);
                }
                command.args(&self.settings.server_arguments);
                command
            }
            SpiffeEngine::Spire(spire) => {
                let mut command = Command::new(spire.server());
                command.args(["run", "-config"]).arg(self.path("server.conf"));
                command
            }
        };
        self.server = Some(self.spawn(command.stdin(Stdio::null()), "server.log")?);
        let socket = self.server_socket();
        let server = self.server.as_mut().context("the server was started")?;
        wait_for(server, &socket, &self.folder.path().join("server.log"))
    }

    fn try_start_agent(&mut self) -> Result<()> {
        self.spawn_agent()?;
        let socket = self.socket();
        // One after the other: SPIRE makes the second a moment later.
        for socket in [socket, self.admin_socket()] {
            let agent = self.agent.as_mut().context("the agent was started")?;
            wait_for(agent, &socket, &self.folder.path().join("agent.log"))?;
        }
        Ok(())
    }

    fn spawn(&self, command: &mut Command, log: &str) -> Result<Child> {
        let log = File::options().create(true).append(true).open(self.path(log))?;
        command.stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("run {command:?}"))
    }
}

impl Drop for TrustDomain {
    fn drop(&mut self) {
        self.kill_agent();
        self.kill_server();
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

fn seconds(life: Duration) -> String {
    format!("{}s", life.as_secs())
}

fn end(process: Option<Child>) {
    if let Some(mut process) = process {
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// Waits until somebody listens on `socket`.
fn wait_for(process: &mut Child, socket: &Path, log: &Path) -> Result<()> {
    let start = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if let Some(status) = process.try_wait()? {
            bail!("it ended with {status}: {}", fs::read_to_string(log).unwrap_or_default());
        }
        ensure!(start.elapsed() < PATIENCE, "nobody listens on {}", socket.display());
        std::thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_trust_domain_gives_identities() {
        let spire = crate::Spire::install();
        let mut domain =
            TrustDomain::start(SpiffeEngine::Spire(spire.clone()), TrustDomainSettings::default());
        let id = domain.register(&Registration::own("/backend").hint("main"));
        // A killed agent needs no other token.
        domain.kill_agent();
        domain.start_agent();
        let start = Instant::now();
        loop {
            let mut fetch = Command::new(spire.agent());
            fetch.args(["api", "fetch", "x509", "-socketPath"]).arg(domain.socket());
            match output_of(&mut fetch) {
                Ok(told) => {
                    assert!(told.contains("spiffe://example.org/backend"), "{told}");
                    break;
                }
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error:#}"),
            }
        }
        domain.unregister(&id);
    }
}

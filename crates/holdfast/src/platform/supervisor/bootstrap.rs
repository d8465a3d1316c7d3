//! From nothing to a running platform, in order. Every step is safe to repeat, so that a start
//! after a kill at any point goes the same way again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_client::vault::{Trust, UnsealRequest, VaultClient, VaultConfig, VaultError};
use holdfast_types::SecretString;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::super::config::{self, Engine};
use super::super::control::ApplyMode;
use super::super::identity::LoginError;
use super::super::logs::LogWriter;
use super::super::part::{self, PartHandle, PartPlan, PartState};
use super::super::progress::Progress;
use super::super::{delivery, ports, postgres, spiffe, vault};
use super::{Running, services};
use crate::apply::{
    Applier, Desired, Facts, Hooks, Migrations, NoHooks, Record as Applied, Report, engine_id,
};

/// How long a part may take until it answers.
pub(super) const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long the secrets server may take for its first start beyond that.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);
/// How long a server may take to open by itself; one that an operator sealed never does.
const SEALED_LIMIT: Duration = Duration::from_secs(5);
const SEALED: &str = "the secrets server was sealed by an operator";
/// How long a dead supervisor's server may hold on to its port.
const PORT_LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn bring_up(running: Rc<Running>) -> anyhow::Result<()> {
    let identities = prepare_spiffe(&running).await?;
    // First: what the others serve with is signed by it.
    start_spiffe_server(&running, identities).await?;
    let vault = async {
        match running.platform.vault.is_supervised() {
            true => start_vault(&running).await,
            false => reach_vault(&running).await,
        }
    };
    tokio::try_join!(vault, start_spiffe_agent(&running))?;
    if let Some(config) = &running.platform.postgres {
        start_postgres(&running, config).await?;
    }
    running.set_facts();
    if running.not_applied.borrow().is_some() {
        return Ok(());
    }
    running.listener.step("applying the platform directory");
    let mode = ApplyMode { plan: false, adopt: false, delete_data: false };
    match apply(&running, mode).await {
        Ok(report) if report.changes.is_empty() => {}
        Ok(report) => {
            let count = report.changes.len();
            running.listener.tell(&Progress::Notice(format!("{count} changes applied")));
        }
        Err(error) => {
            // The parts stay up, so that the cause can be looked at and `apply` repeated.
            let text = format!("{error:#}");
            running.listener.tell(&Progress::Notice(format!("not applied: {text}")));
            *running.not_applied.borrow_mut() = Some(text);
            return Ok(());
        }
    }
    services::start(&running).await
}

async fn start_vault(running: &Rc<Running>) -> anyhow::Result<()> {
    let platform = &running.platform;
    let (Engine::Embedded { listen } | Engine::Managed { listen, .. }) = platform.vault.engine
    else {
        return Ok(());
    };
    running
        .listener
        .step(format!("starting the secrets server ({})", platform.vault.engine.word()));
    let mut record = running.record.borrow().clone();
    let (address, socket) = match platform.vault.engine {
        // OpenBao takes no socket over, and needs a second port for itself.
        Engine::Managed { .. } => {
            let address = running.reserve(listen, record.ports.vault, "vault.listen").await?;
            let any = SocketAddr::new(listen.ip(), 0);
            let cluster = running.reserve(any, record.ports.vault_cluster, "vault.listen").await?;
            record.ports.vault_cluster = cluster.port();
            (address, None)
        }
        _ => {
            let bind = || ports::bind(listen, record.ports.vault, "vault.listen");
            let socket = claim(bind).await?;
            (socket.local_addr()?, Some(socket))
        }
    };
    record.ports.vault = address.port();
    running.save(&record)?;
    let server = vault::Server::prepare(
        &platform.vault,
        &running.state,
        &running.secrets_directory,
        address,
        record.ports.vault_cluster,
        record.vault_initialised,
    )?;
    let names = platform.vault.served_names();
    running.issue(vault::NAME, server.runtime.clone(), names, server.account.clone()).await?;
    let client = vault::client(server.dialled(), &running.state.ca_file())?;
    *running.vault.borrow_mut() = Some(client.clone());
    let seal_key = running.seal_key.for_vault()?;
    let plan = server.plan(&running.identity, &seal_key, socket, &client)?;
    let part = running.start(plan)?;
    part.wait_ready(READY_LIMIT).await?;
    let health = client.health().await?;
    running.versions.borrow_mut().push((vault::NAME.to_owned(), health.version));

    // The role that the supervisor logs in by is the last thing that the first start makes.
    let begun = Instant::now();
    let auth = loop {
        match running.identity.login(&client).await {
            Ok(auth) => break auth,
            Err(LoginError::Vault(VaultError::Sealed(_)))
                if record.vault_initialised && begun.elapsed() >= SEALED_LIMIT =>
            {
                running.listener.tell(&Progress::Notice(SEALED.to_owned()));
                *running.not_applied.borrow_mut() = Some(SEALED.to_owned());
                return Ok(());
            }
            Err(error) if begun.elapsed() >= LOGIN_LIMIT => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    if !record.vault_initialised {
        server.set_initialised();
        record.vault_initialised = true;
        running.save(&record)?;
    }
    let _ = client.with_token(Some(auth.client_token)).token_revoke_self().await;
    Ok(())
}

/// What the SPIFFE server is run by. It finds the identities of the platform directory, or, where
/// those are wrong, what was in force before: the first apply says what is wrong.
async fn prepare_spiffe(running: &Rc<Running>) -> anyhow::Result<PartPlan> {
    let listen = running.platform.spiffe.listen;
    let mut record = running.record.borrow().clone();
    let socket = claim(|| ports::bind(listen, record.ports.spiffe, "spiffe.listen")).await?;
    let web = socket.local_addr()?;
    record.ports.spiffe = web.port();
    running.save(&record)?;
    let directory = spiffe::Server::declared(&running.state);
    let declarations = match spiffe::Declarations::read(&running.platform) {
        Ok(declarations) => {
            declarations.write(&directory)?;
            declarations
        }
        Err(_) => {
            let own = spiffe::Declarations::of_parts(&running.platform)?;
            own.write_parts(&directory)?;
            own
        }
    };
    *running.declarations.borrow_mut() = Rc::new(declarations);
    let server = spiffe::Server::prepare(&running.state, &running.sockets, web)?;
    let key = running.seal_key.for_spiffe()?;
    server.plan(&running.platform, &running.state, &running.root, &key, socket)
}

async fn start_spiffe_server(running: &Rc<Running>, server: PartPlan) -> anyhow::Result<()> {
    running.listener.step("starting the SPIFFE server");
    running.start(server)?.wait_ready(READY_LIMIT).await?;
    let declarations = running.declarations.clone();
    let domain = spiffe::Domain::new(&running.sockets, declarations);
    *running.domain.borrow_mut() = Some(Rc::new(domain));
    Ok(())
}

/// Starts the agent that hands SVIDs out.
async fn start_spiffe_agent(running: &Rc<Running>) -> anyhow::Result<()> {
    running.listener.step("starting the SPIFFE agent");
    let socket = running.introduced.take().context("an agent runs already")?;
    let introductions = running.introductions.clone();
    let (platform, state) = (&running.platform, &running.state);
    let plan = spiffe::agent_plan(platform, state, &running.sockets, introductions, socket)?;
    running.start(plan)?.wait_ready(READY_LIMIT).await
}

/// An external engine is asked whether it is there and open, and nothing more.
async fn reach_vault(running: &Rc<Running>) -> anyhow::Result<()> {
    let Engine::External { address, ca_file, .. } = &running.platform.vault.engine else {
        return Ok(());
    };
    running.listener.step(format!("reaching the secrets server at {address}"));
    let client = external_client(address, ca_file.as_ref())?;
    let health = client.health().await.with_context(|| format!("reach {address}"))?;
    ensure!(
        health.initialized && !health.sealed,
        "the secrets server at {address} is {}; its operators have to open it",
        if health.initialized { "sealed" } else { "not initialised" }
    );
    running.versions.borrow_mut().push((vault::NAME.to_owned(), health.version));
    *running.vault.borrow_mut() = Some(client);
    Ok(())
}

async fn start_postgres(running: &Rc<Running>, config: &config::Postgres) -> anyhow::Result<()> {
    running.listener.step("starting PostgreSQL");
    let mut record = running.record.borrow().clone();
    let address = running.reserve(config.listen, record.ports.postgres, "postgres.listen").await?;
    record.ports.postgres = address.port();
    running.save(&record)?;
    let server = postgres::Server::prepare(&running.state, &running.secrets_directory, address)?;
    server.initialise().await?;
    server.configure(config)?;
    let names = config.served_names();
    running.issue(postgres::NAME, server.runtime.clone(), names, server.account.clone()).await?;
    running
        .versions
        .borrow_mut()
        .push((postgres::NAME.to_owned(), server.programs.version.clone()));
    *running.postgres.borrow_mut() = Some(server.clone());
    server.wait_for_the_last().await?;
    let part = running.start(server.plan())?;
    part.wait_ready(READY_LIMIT).await?;
    server.make_databases(config).await
}

/// Makes databases and secrets server what the platform directory says, or shows what would change.
pub(super) async fn apply(running: &Rc<Running>, mode: ApplyMode) -> anyhow::Result<Report> {
    let directory = &running.platform.directory;
    let declarations = Rc::new(spiffe::Declarations::read(&running.platform)?);
    let mut desired = Desired::read(directory, &running.facts.borrow().clone())?;
    let trust = running.trust().await?;
    desired.add(delivery::objects(&running.platform, &declarations, &trust)?);
    // One at a time: two would record each other's half-made objects.
    let _turn = running.applying.lock().await;
    let identities = declare(running, &declarations, mode).await?;
    let server = running.postgres.borrow().clone();
    let schemas = match (&server, &running.platform.postgres) {
        (Some(server), Some(config)) => migrate(directory, server, config, mode).await?,
        _ => Report::default(),
    };
    let vault = running.vault.borrow().clone().context("there is no secrets server")?;
    let vault = running.log_in(&vault).await?;
    let record = running.state.join("applied.json");
    let connections;
    let hooks: &dyn Hooks = match server {
        Some(server) => {
            connections = postgres::Connections::new(server, &desired);
            if !mode.plan {
                forget(&connections.broken(&vault).await?, &vault, &record).await?;
            }
            &connections
        }
        None => &NoHooks,
    };
    let applier = Applier {
        engine: &vault,
        record: &record,
        hooks,
        shared: !running.platform.vault.is_supervised(),
        adopt: mode.adopt,
        delete_data: mode.delete_data,
    };
    let result = match mode.plan {
        true => applier.plan(&desired).await,
        false => applier.apply(&desired, &|_| {}).await,
    };
    if running.platform.vault.is_supervised() {
        let _ = vault.token_revoke_self().await;
    }
    let mut report = result?;
    for first in [schemas, identities] {
        report.changes.splice(0..0, first.changes);
        report.unchanged += first.unchanged;
    }
    if !mode.plan {
        services::copy_templates(running)?;
        running.remember_login()?;
        running.applied.notify_one();
    }
    Ok(report)
}

/// Has the SPIFFE server know who is to be who, or shows what would change.
async fn declare(
    running: &Rc<Running>,
    declarations: &Rc<spiffe::Declarations>,
    mode: ApplyMode,
) -> anyhow::Result<Report> {
    let domain = running.domain()?;
    let report = domain.compare(declarations).await?;
    if !mode.plan {
        declarations.write(&spiffe::Server::declared(&running.state))?;
        let parts = running.parts.borrow().clone();
        // One that starts reads them anyway.
        let is_ready = |part: &&PartHandle| {
            part.name == spiffe::SERVER && part.status.borrow().state == PartState::Ready
        };
        if let Some(server) = parts.iter().find(is_ready) {
            server.signal(Signal::SIGHUP).await;
        }
        domain.has(declarations).await?;
    }
    Ok(report)
}

/// Brings the schema of each database up to its files.
async fn migrate(
    directory: &Path,
    server: &postgres::Server,
    config: &config::Postgres,
    mode: ApplyMode,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for database in &config.databases {
        let migrations = Migrations::read(&directory.join("database").join(&database.name))?;
        let mut client = server.connect(&database.name).await?;
        let (changes, unchanged) = migrations.plan(&client, &database.name).await?;
        if !mode.plan {
            migrations.apply(&mut client, &database.owner).await?;
        }
        report.changes.extend(changes);
        report.unchanged += unchanged;
    }
    Ok(report)
}

/// Opens a server that an operator sealed, and goes on where that stopped the start.
pub(super) async fn unseal(running: &Rc<Running>) -> anyhow::Result<()> {
    let vault = running.vault.borrow().clone().context("there is no secrets server")?;
    if vault.health().await?.sealed {
        match running.platform.vault.engine {
            Engine::Embedded { .. } => {
                let key = running.seal_key.for_vault()?;
                let key = SecretString::new(BASE64.encode(key.expose()));
                vault
                    .unseal(&UnsealRequest::Key(key))
                    .await
                    .context("unseal the secrets server")?;
            }
            Engine::Managed { .. } => {
                // OpenBao opens by itself at every start.
                let parts = running.parts.borrow().clone();
                let part = parts.iter().find(|part| part.name == vault::NAME);
                part.context("it does not run")?.restart().await?;
            }
            Engine::External { .. } => anyhow::bail!("its own operators have to open it"),
        }
        let begun = Instant::now();
        while let Err(error) = running.identity.login(&vault).await {
            if begun.elapsed() >= LOGIN_LIMIT {
                return Err(error.into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    if running.not_applied.borrow().is_some() {
        apply(running, ApplyMode { plan: false, adopt: false, delete_data: false }).await?;
        running.not_applied.borrow_mut().take();
        services::start(running).await?;
    }
    Ok(())
}

/// Has `paths` made anew by the next apply.
async fn forget(paths: &[String], vault: &VaultClient, record: &Path) -> anyhow::Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let id = engine_id(vault).await?;
    let mut applied = Applied::load(record, &id)?;
    for path in paths {
        tracing::warn!(path, "the engine's password is not PostgreSQL's: it gets a new one");
        applied.objects.remove(path);
    }
    applied.save(record)
}

impl Running {
    /// Keeps a port for a part that takes no socket over, as long as the platform is up. Gives the
    /// address.
    async fn reserve(
        &self,
        listen: SocketAddr,
        earlier: u16,
        key: &str,
    ) -> anyhow::Result<SocketAddr> {
        let socket = claim(|| ports::reserve(listen, earlier, key)).await?;
        let address = socket.local_addr()?;
        self.reserved.borrow_mut().push(socket);
        Ok(address)
    }

    /// The same client with a token that may apply: the supervisor's own for five minutes, or the
    /// one that the operator gave for an external engine.
    pub(super) async fn log_in(&self, vault: &VaultClient) -> anyhow::Result<VaultClient> {
        let Engine::External { token_file, .. } = &self.platform.vault.engine else {
            return self.log_in_as_supervisor(vault).await;
        };
        let token = match (token_file, &self.vault_token) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("read {} (vault.token_file)", path.display()))?;
                SecretString::new(text.trim().to_owned())
            }
            (None, Some(token)) => token.clone(),
            (None, None) => anyhow::bail!(
                "no token for the external secrets server: set VAULT_TOKEN, run `vault login`, or set vault.token_file"
            ),
        };
        Ok(vault.with_token(Some(token)))
    }

    /// By the supervisor's SVID; where that is not taken, or the SPIFFE server does not answer, by the
    /// key that it holds sealed.
    async fn log_in_as_supervisor(&self, vault: &VaultClient) -> anyhow::Result<VaultClient> {
        if self.record.borrow().svid_login {
            match self.log_in_by_svid(vault).await {
                Ok(client) => return Ok(client),
                Err(error) => {
                    tracing::warn!("log in by the sealed key instead of an SVID: {error:#}");
                }
            }
        }
        let auth = self.identity.login(vault).await?;
        Ok(vault.with_token(Some(auth.client_token)))
    }

    async fn log_in_by_svid(&self, vault: &VaultClient) -> anyhow::Result<VaultClient> {
        let token = self.domain()?.part_token("supervisor", delivery::AUDIENCE).await?.token;
        let mount = delivery::mount(&self.platform);
        let auth = vault.login_jwt(&mount, delivery::SUPERVISOR_ROLE, &token).await?;
        Ok(vault.with_token(Some(auth.client_token)))
    }

    /// From now on the secrets server knows the supervisor by its SVID.
    fn remember_login(&self) -> anyhow::Result<()> {
        if !self.platform.vault.is_supervised() {
            return Ok(());
        }
        let record = super::Record { svid_login: true, ..self.record.borrow().clone() };
        self.save(&record)
    }

    /// The trust domain, whose server runs.
    pub(super) fn domain(&self) -> anyhow::Result<Rc<spiffe::Domain>> {
        self.domain.borrow().clone().context("there is no SPIFFE server yet")
    }

    /// What the secrets server is to know the trust domain by.
    async fn trust(&self) -> anyhow::Result<delivery::Trust> {
        if self.platform.vault.is_supervised() {
            let web =
                SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.record.borrow().ports.spiffe);
            let root_pem = self.root.certificate_pem().to_owned();
            return Ok(delivery::Trust::Published {
                issuer: spiffe::Server::issuer(web),
                root_pem,
            });
        }
        let snapshot = self.domain()?.snapshot().await?;
        Ok(delivery::Trust::Brought(spiffe::jwt_keys(&snapshot)?))
    }

    /// Everything that files of the platform directory may name.
    fn set_facts(&self) {
        let mut facts = std::collections::BTreeMap::from([
            ("platform.name".to_owned(), self.platform.name.clone()),
            ("trust_domain".to_owned(), self.platform.trust_domain.clone()),
            ("domain".to_owned(), self.platform.domain.clone()),
            ("ca.file".to_owned(), self.state.ca_file().display().to_string()),
        ]);
        facts.insert("spiffe.endpoint".to_owned(), self.sockets.endpoint());
        let mount = delivery::certificate_mount(&self.platform);
        facts.insert("vault.login.cert".to_owned(), mount);
        facts.insert("vault.login.jwt".to_owned(), delivery::mount(&self.platform));
        if let Some(vault) = &*self.vault.borrow() {
            facts.insert("vault.address".to_owned(), vault.address().to_string());
        }
        if let Some(server) = &*self.postgres.borrow() {
            let address = server.dialled();
            facts.insert("postgres.host".to_owned(), host(address));
            facts.insert("postgres.port".to_owned(), address.port().to_string());
        }
        *self.facts.borrow_mut() = Facts(facts);
    }

    fn save(&self, record: &super::Record) -> anyhow::Result<()> {
        if *self.record.borrow() == *record {
            return Ok(());
        }
        self.state.save(record)?;
        *self.record.borrow_mut() = record.clone();
        Ok(())
    }

    pub(super) fn start(&self, plan: PartPlan) -> anyhow::Result<PartHandle> {
        let path = self.state.log_file(&plan.name);
        let log = LogWriter::open(&path).with_context(|| format!("open {}", path.display()))?;
        let part = part::spawn(plan, log);
        self.parts.borrow_mut().push(part.clone());
        Ok(part)
    }
}

/// A client of an external engine, without a token.
pub(crate) fn external_client(
    address: &str,
    ca_file: Option<&PathBuf>,
) -> anyhow::Result<VaultClient> {
    let mut config = VaultConfig::new(address.parse()?);
    config.trust = ca_file.map_or(Trust::System, |file| Trust::File(file.clone()));
    Ok(VaultClient::new(&config)?)
}

/// Makes a socket, once nobody has its port any more.
async fn claim<S>(make: impl Fn() -> anyhow::Result<S>) -> anyhow::Result<S> {
    let deadline = Instant::now() + PORT_LIMIT;
    loop {
        match make() {
            // A server that follows its supervisor into death needs a moment.
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(100)).await,
            made => return made,
        }
    }
}

/// As it stands in a URL.
fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

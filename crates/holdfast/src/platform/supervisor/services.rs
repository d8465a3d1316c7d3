//! The services: each starts when what it needs is ready and its secrets are there.

use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::super::account::Account;
use super::super::config::{Delivery, Engine, Service};
use super::super::confinement::Confinement;
use super::super::delivery::{self, Agent, Place};
use super::super::launch::{Launch, MARK};
use super::super::part::PartPlan;
use super::super::progress::Progress;
use super::super::{cgroup, files, postgres, spiffe, vault};
use super::Running;
use super::bootstrap::READY_LIMIT;

/// Starts those that do not run yet. Comes back when all run, or when what is left waits for secrets
/// that somebody has yet to write: it goes on by itself then.
pub(super) async fn start(running: &Rc<Running>) -> anyhow::Result<()> {
    let (held, mut is_held) = watch::channel(false);
    let mut starting = spawn_local(start_all(running.clone(), held));
    running.tasks.borrow_mut().push(starting.abort_handle());
    tokio::select! {
        outcome = &mut starting => outcome?,
        Ok(_) = is_held.wait_for(|held| *held) => {
            let text = "services wait for their secrets; `holdfast status` says which";
            running.listener.tell(&Progress::Notice(text.to_owned()));
            spawn_local(async move {
                if let Ok(Err(error)) = starting.await {
                    tracing::error!("start services: {error:#}");
                }
            });
            Ok(())
        }
    }
}

async fn start_all(running: Rc<Running>, held: watch::Sender<bool>) -> anyhow::Result<()> {
    let services = &running.platform.services;
    let mut left: Vec<_> = services.iter().enumerate().collect();
    let mut started: Vec<&str> = vec![vault::NAME, postgres::NAME, spiffe::SERVER, spiffe::AGENT];
    while !left.is_empty() {
        // Services that wait for each other are refused when the file is read.
        let index = left
            .iter()
            .position(|(_, (_, service))| {
                service.needs.iter().all(|need| started.contains(&need.as_str()))
            })
            .context("services wait for each other")?;
        let (slot, (name, service)) = left.remove(index);
        if !running.parts.borrow().iter().any(|part| part.name == *name) {
            running.listener.step(format!("starting {name}"));
            let account = account(&running, service, slot)?;
            start_one(&running, name, service, account, &held).await?;
        }
        started.push(name);
    }
    Ok(())
}

async fn start_one(
    running: &Running,
    name: &str,
    service: &Service,
    account: Account,
    held: &watch::Sender<bool>,
) -> anyhow::Result<()> {
    let environment = environment(running, name, service)?;
    let Some(wanted) = &service.delivery else {
        let plan = plan(running, name, service, account, environment, None)?;
        return running.start(plan)?.wait_ready(READY_LIMIT).await;
    };
    let place = running.place_of(name);
    let agent = Agent {
        platform: &running.platform,
        place: place.clone(),
        delivery: wanted,
        account: account.clone(),
        environment: environment.clone(),
        state: running.state.directory().to_owned(),
        address: running.vault_address()?,
        ca_file: running.vault_ca_file(),
        cgroup: running.cgroup_of(&Agent::part_name(name)),
    };
    let agent = agent.plan()?;
    let domain = running.domain()?;
    delivery::write_login(&domain, &place, &account).await?;
    let agent = running.start(agent)?;
    running.keep(delivery::keep_login(domain, place.clone(), account.clone()));
    delivery::delivered(&place, held).await;
    agent.wait_ready(READY_LIMIT).await?;
    let generation = place.generation();
    let plan = plan(running, name, service, account, environment, Some(place.files()))?;
    let part = running.start(plan)?;
    running.keep(delivery::follow(place, part.clone(), wanted.reload, generation));
    part.wait_ready(READY_LIMIT).await
}

/// Whom a service runs as.
fn account(running: &Running, service: &Service, slot: usize) -> anyhow::Result<Account> {
    match (&service.user, Uid::effective().is_root()) {
        (Some(user), true) => Account::named(user),
        (None, true) => Account::own(running.state.directory(), u32::try_from(slot)? + 1),
        (_, false) => Ok(Account::caller()),
    }
}

/// What a service and its agent have in their environments. Nothing of it is secret.
fn environment(
    running: &Running,
    name: &str,
    service: &Service,
) -> anyhow::Result<Vec<(String, OsString)>> {
    let data = data_directory(running, name);
    let mut environment: Vec<(String, OsString)> = vec![
        // As systemd names the one directory that a service may write to.
        ("STATE_DIRECTORY".to_owned(), data.clone().into()),
        ("HOME".to_owned(), data.into()),
        (MARK.to_owned(), running.state.directory().into()),
        ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".into()),
        // By the SPIFFE Workload Endpoint standard, section 4.
        ("SPIFFE_ENDPOINT_SOCKET".to_owned(), running.sockets.endpoint().into()),
    ];
    let facts = running.facts.borrow();
    for (key, value) in &service.environment {
        let value = facts.complete(value);
        let value = value.with_context(|| format!("services.{name}.environment.{key}"))?;
        environment.push((key.clone(), value.into()));
    }
    Ok(environment)
}

fn data_directory(running: &Running, name: &str) -> PathBuf {
    running.state.join("services").join(name)
}

/// How a service is run; `secrets` is the directory of its files, where it has any.
fn plan(
    running: &Running,
    name: &str,
    service: &Service,
    account: Account,
    mut environment: Vec<(String, OsString)>,
    secrets: Option<PathBuf>,
) -> anyhow::Result<PartPlan> {
    let (program, arguments) = service.command.split_first().context("a command")?;
    let program = if program.contains('/') {
        running.platform.directory.join(program)
    } else {
        vault::on_path(program).with_context(|| format!("{name}: no {program} on PATH"))?
    };
    let data = data_directory(running, name);
    let services = data.parent().context("a parent")?;
    files::directory(services, if account.is_caller() { 0o700 } else { 0o711 }, None)?;
    files::directory(&data, 0o700, Some(&account))?;
    let mut readable =
        vec![running.platform.directory.clone(), running.state.ca_file(), program.clone()];
    let variables = service.delivery.as_ref().map(|delivery| &delivery.variables);
    let variables = variables.filter(|variables| !variables.is_empty());
    let variables = variables.map(|variables| variables.keys().cloned().collect());
    let in_environment = secrets.clone().zip(variables);
    if let Some(secrets) = secrets {
        // As systemd names the directory of a service's secrets.
        environment.push(("CREDENTIALS_DIRECTORY".to_owned(), secrets.clone().into()));
        readable.push(secrets);
    }
    let confinement =
        Confinement::is_available().then(|| Confinement { readable, writable: vec![data.clone()] });
    Ok(PartPlan {
        name: name.to_owned(),
        launch: Launch {
            program,
            arguments: arguments.iter().map(Into::into).collect(),
            environment,
            secrets: in_environment,
            directory: running.platform.directory.clone(),
            account,
            death_signal: Signal::SIGKILL,
            inherit: Vec::new(),
            socket: None,
            confinement,
            cgroup: running.cgroup_of(name),
            introduced: Some((name.to_owned(), running.introductions.clone())),
        },
        prepare: Box::new(|| Ok(())),
        // A service says in no standard way that it is ready; that it runs is what is known.
        probe: Arc::new(|| Box::pin(async { Ok(()) })),
        stop_signal: Signal::SIGTERM,
        patience: Duration::from_secs(10),
    })
}

/// Lets running agents have the templates as they are now.
pub(super) fn copy_templates(running: &Running) -> anyhow::Result<()> {
    for (name, delivery) in running.deliveries() {
        let part = Agent::part_name(name);
        if running.parts.borrow().iter().any(|running| running.name == part) {
            delivery::copy_templates(&running.platform, &running.place_of(name), delivery)?;
        }
    }
    Ok(())
}

impl Running {
    /// The services that are given secrets.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = (&str, &Delivery)> {
        let services = self.platform.services.iter();
        services.filter_map(|(name, service)| Some((name.as_str(), service.delivery.as_ref()?)))
    }

    pub(super) fn place_of(&self, service: &str) -> Place {
        Place::of(&self.secrets_directory, &self.state, &self.platform, service)
    }

    fn vault_address(&self) -> anyhow::Result<String> {
        let vault = self.vault.borrow();
        let vault = vault.as_ref().context("there is no secrets server")?;
        Ok(vault.address().to_string())
    }

    fn vault_ca_file(&self) -> Option<PathBuf> {
        match &self.platform.vault.engine {
            Engine::External { ca_file, .. } => ca_file.clone(),
            Engine::Embedded { .. } | Engine::Managed { .. } => Some(self.state.ca_file()),
        }
    }

    fn cgroup_of(&self, part: &str) -> Option<PathBuf> {
        let platform = cgroup::of_platform(&self.state, &self.platform.name)?;
        // One that cannot be made is no reason not to start; `status` says that it is missing.
        cgroup::make(&platform, part)
            .inspect_err(|error| tracing::warn!(%error, part, "make a cgroup"))
            .ok()
    }

    /// Runs `task` beside everything else until the parts are stopped.
    fn keep(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(spawn_local(task).abort_handle());
    }
}

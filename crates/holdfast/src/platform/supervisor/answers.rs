//! What the supervisor answers on its socket.

use std::rc::Rc;

use anyhow::{Context, bail, ensure};
use holdfast_client::vault::{VaultClient, VaultError};
use holdfast_types::SecretString;
use nix::unistd::Uid;
use serde_json::{Value, json};
use tokio::task::spawn_local;

use super::super::config;
use super::super::control::{self, ApplyMode, Asked, Caller, Request};
use super::super::delivery::{self, Agent, OPERATOR_POLICY, OPERATOR_TTL};
use super::super::part::{PartHandle, PartState};
use super::super::seal::{self, SealKind};
use super::super::status::{self, CertificateStatus, DeliveryStatus, LeaseStatus, Part, Status};
use super::super::{cgroup, isolation, postgres, spiffe, vault};
use super::{Running, bootstrap, services};

/// How many leases are looked at for the next to expire.
const MOST_LEASES: usize = 50;

/// Answers until the task is aborted.
pub(super) async fn answer(running: Rc<Running>, listener: control::Listener) {
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept on the control socket");
                // Too many open files, most likely; the next moment may be better.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let running = running.clone();
        spawn_local(async move {
            if let Ok(asked) = control::read(stream).await {
                respond(&running, asked).await;
            }
        });
    }
}

async fn respond(running: &Rc<Running>, asked: Asked) {
    let caller = asked.caller;
    let answer = match &asked.request {
        Request::Down => {
            if let Err(error) = caller.must_own() {
                return asked.answer(Err(error)).await;
            }
            tracing::info!(caller = caller.name(), pid = caller.pid, "asked to stop");
            // Answered when all is stopped.
            running.waiting.borrow_mut().push(asked);
            running.shutdown.cancel();
            return;
        }
        Request::Status => match caller.must_operate() {
            Ok(()) => status(running).await,
            Err(error) => Err(error),
        },
        Request::Login { passphrase } => login(running, &caller, passphrase.as_ref()).await,
        Request::Apply(mode) => apply(running, &caller, *mode).await,
        Request::Unseal => match caller.must_own() {
            Ok(()) => bootstrap::unseal(running).await.map(|()| Value::Null),
            Err(error) => Err(error),
        },
        Request::Restart { part } => restart(running, &caller, part.as_deref()).await,
    };
    asked.answer(answer).await;
}

async fn login(
    running: &Running,
    caller: &Caller,
    passphrase: Option<&SecretString>,
) -> anyhow::Result<Value> {
    caller.must_operate()?;
    ensure!(
        running.platform.vault.is_supervised(),
        "the secrets server is external: log in there, with `vault login`"
    );
    // The kernel cannot tell a service from a person who share a uid.
    let shared = !Uid::effective().is_root() && !running.platform.services.is_empty();
    if shared && running.seal_kind == SealKind::Passphrase {
        let path = running.record.borrow().seal.clone();
        let passphrase = passphrase.context("services run under your uid: give the passphrase")?;
        let passphrase = passphrase.clone();
        let opened = tokio::task::spawn_blocking(move || seal::open(&path, Some(&passphrase)));
        opened.await??;
    }
    let vault = running.vault()?;
    let supervisor = running.log_in(&vault).await?;
    let result = operator_token(running, &vault, &supervisor, caller).await;
    // Orphans outlive it.
    let _ = supervisor.token_revoke_self().await;
    let token = result?;
    tracing::info!(caller = caller.name(), pid = caller.pid, "an operator logged in");
    Ok(
        json!({ "token": token.expose(), "ttl": OPERATOR_TTL, "address": vault.address().to_string() }),
    )
}

/// By the operator's own SPIFFE ID; where the SPIFFE server does not answer, a token that the
/// supervisor makes.
async fn operator_token(
    running: &Running,
    vault: &VaultClient,
    supervisor: &VaultClient,
    caller: &Caller,
) -> anyhow::Result<SecretString> {
    let policy = format!("sys/policies/acl/{OPERATOR_POLICY}");
    let found = supervisor.read(&policy, &[]).await?;
    ensure!(
        found.is_some(),
        "operators have no policy yet: write policies/{OPERATOR_POLICY}.hcl, then run `holdfast apply`"
    );
    match operator_login(running, vault, caller).await {
        Ok(token) => return Ok(token),
        Err(error) => tracing::warn!("make an operator's token without their SVID: {error:#}"),
    }
    let name = caller.name();
    let body = json!({
        "policies": [OPERATOR_POLICY],
        "ttl": OPERATOR_TTL,
        "explicit_max_ttl": OPERATOR_TTL,
        "renewable": false,
        "display_name": format!("operator-{name}"),
        "meta": { "operator": name, "uid": caller.uid.to_string() },
    });
    let reply = supervisor.write("auth/token/create-orphan", &body).await?;
    Ok(reply.auth.context("the secrets server gave no token")?.client_token)
}

async fn operator_login(
    running: &Running,
    vault: &VaultClient,
    caller: &Caller,
) -> anyhow::Result<SecretString> {
    let (domain, platform) = (running.domain()?, &running.platform);
    let name = caller.path_segment();
    let token = domain.operator_token(&platform.trust_domain, &name, delivery::AUDIENCE).await?;
    let mount = delivery::mount(platform);
    Ok(vault.login_jwt(&mount, delivery::OPERATOR_ROLE, &token).await?.client_token)
}

async fn apply(running: &Rc<Running>, caller: &Caller, mode: ApplyMode) -> anyhow::Result<Value> {
    caller.must_own()?;
    let report = bootstrap::apply(running, mode).await?;
    if !mode.plan {
        tracing::info!(caller = caller.name(), changes = report.changes.len(), "applied");
        // Where the start stopped at the directory, it goes on now.
        if running.not_applied.borrow_mut().take().is_some() {
            services::start(running).await?;
        }
    }
    Ok(serde_json::to_value(report)?)
}

async fn restart(running: &Running, caller: &Caller, name: Option<&str>) -> anyhow::Result<Value> {
    caller.must_own()?;
    let parts = running.parts.borrow().clone();
    let chosen: Vec<_> =
        parts.iter().filter(|part| name.is_none_or(|name| part.name == name)).collect();
    if let (Some(name), []) = (name, chosen.as_slice()) {
        let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
        bail!("there is no part {name}; {}", config::known(name, &names));
    }
    let limit = std::time::Duration::from_secs(60);
    for part in &chosen {
        part.restart().await?;
        part.wait_ready(limit).await?;
    }
    Ok(json!(chosen.iter().map(|part| &part.name).collect::<Vec<_>>()))
}

async fn status(running: &Rc<Running>) -> anyhow::Result<Value> {
    let mut parts = Vec::new();
    let handles = running.parts.borrow().clone();
    let sealed = is_sealed(running).await;
    for handle in &handles {
        let mut seen = handle.status.borrow().clone();
        if handle.name == vault::NAME && sealed && seen.state == PartState::Ready {
            (seen.state, seen.reason) = (PartState::Sealed, Some("it is sealed".to_owned()));
        }
        parts.push(Part {
            name: handle.name.clone(),
            engine: running.engine_of(&handle.name),
            address: running.address_of(&handle.name),
            version: running.version_of(&handle.name),
            state: seen.state,
            pid: seen.pid,
            since: Some(seen.since),
            restarts: seen.restarts,
            reason: seen.reason,
        });
    }
    parts.extend(waiting(running));
    if !running.platform.vault.is_supervised() {
        parts.insert(0, external(running).await);
    }
    let record = running.record.borrow().clone();
    let not_applied = running.not_applied.borrow().clone();
    let mut status = Status {
        platform: running.platform.name.clone(),
        directory: running.platform.directory.clone(),
        trust_domain: Some(running.platform.trust_domain.clone()),
        state: running.state.directory().to_owned(),
        running: true,
        ready: running.ready.get(),
        since: Some(running.started),
        worst: None,
        parts,
        seal: Some(running.seal_kind.describe(&record.seal)),
        ca_file: running.state.ca_file(),
        certificates: certificates(running),
        leases: leases(running).await.unwrap_or_default(),
        secrets: secrets(running).await,
        keys: running.keys.borrow().clone(),
        isolation: isolation::probe(
            Some(&running.secrets_directory),
            cgroup::of_platform(&running.state, &running.platform.name).is_some(),
        ),
    };
    status.worst = status::worst(&status, not_applied.as_deref());
    Ok(serde_json::to_value(status)?)
}

/// Whether the secrets server answers, and says that it is sealed.
async fn is_sealed(running: &Running) -> bool {
    let Ok(vault) = running.vault() else { return false };
    let health = tokio::time::timeout(std::time::Duration::from_secs(2), vault.health()).await;
    matches!(health, Ok(Ok(health)) if health.sealed)
}

async fn external(running: &Running) -> Part {
    let vault = running.vault();
    let answer = match &vault {
        Ok(vault) => vault.health().await.map_err(Into::into),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let reason = match &answer {
        Ok(health) if health.sealed => Some("it is sealed".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("{error:#}")),
    };
    Part {
        name: vault::NAME.to_owned(),
        engine: "external".to_owned(),
        address: vault.ok().map(|vault| vault.address().to_string()),
        version: answer.ok().map(|health| health.version),
        state: if reason.is_none() { PartState::Ready } else { PartState::Waiting },
        pid: None,
        since: None,
        restarts: 0,
        reason,
    }
}

fn certificates(running: &Running) -> Vec<CertificateStatus> {
    let mut all: Vec<_> = running
        .certificates
        .borrow()
        .iter()
        .map(|certificate| CertificateStatus {
            name: certificate.part.clone(),
            expires: certificate.info.not_after,
            problem: certificate.problem.clone(),
        })
        .collect();
    let root = running.root.info().not_after;
    all.push(CertificateStatus { name: "platform root".to_owned(), expires: root, problem: None });
    all.sort_by_key(|certificate| certificate.expires);
    all
}

/// The secrets of services whose agents run.
async fn secrets(running: &Running) -> Vec<DeliveryStatus> {
    let mut all = Vec::new();
    for (name, wanted) in running.deliveries() {
        let part = Agent::part_name(name);
        let is_ready = |handle: &PartHandle| {
            handle.name == part && handle.status.borrow().state == PartState::Ready
        };
        // Of one that is not ready its part says why.
        if running.parts.borrow().iter().any(is_ready) {
            all.push(delivery::status(&running.place_of(name), wanted).await);
        }
    }
    all
}

/// The services that wait for their secrets.
fn waiting(running: &Running) -> Vec<Part> {
    let parts = running.parts.borrow();
    let started = |name: &str| parts.iter().any(|part| part.name == name);
    let waiting = running.deliveries().map(|(name, _)| name);
    let waiting = waiting.filter(|name| started(&Agent::part_name(name)) && !started(name));
    waiting
        .map(|name| Part {
            name: name.to_owned(),
            engine: "service".to_owned(),
            address: None,
            version: None,
            state: PartState::Starting,
            pid: None,
            since: None,
            restarts: 0,
            reason: Some("it waits for its secrets".to_owned()),
        })
        .collect()
}

/// The database leases that expire next, soonest first.
async fn leases(running: &Running) -> anyhow::Result<Vec<LeaseStatus>> {
    if !running.platform.vault.is_supervised() || !running.ready.get() {
        return Ok(Vec::new());
    }
    let vault = running.log_in(&running.vault()?).await?;
    let found = database_leases(&vault).await;
    let _ = vault.token_revoke_self().await;
    let mut leases = found?;
    leases.sort_by_key(|lease| lease.expires);
    leases.truncate(5);
    Ok(leases)
}

async fn database_leases(vault: &VaultClient) -> Result<Vec<LeaseStatus>, VaultError> {
    let mut found = Vec::new();
    let mounts = vault.read("sys/mounts", &[]).await?.and_then(|reply| reply.data);
    for (mount, details) in mounts.unwrap_or_default() {
        if details["type"] != "database" {
            continue;
        }
        let prefix = format!("{mount}creds/");
        for role in vault.list(&format!("sys/leases/lookup/{prefix}")).await? {
            for id in vault.list(&format!("sys/leases/lookup/{prefix}{role}")).await? {
                if found.len() >= MOST_LEASES {
                    return Ok(found);
                }
                let lease = format!("{prefix}{role}{id}");
                let body = json!({ "lease_id": lease });
                // It may be gone by now.
                let Ok(reply) = vault.write("sys/leases/lookup", &body).await else { continue };
                let expires = reply
                    .data
                    .and_then(|data| data.get("expire_time").and_then(Value::as_str)?.parse().ok());
                found.push(LeaseStatus { lease, expires });
            }
        }
    }
    Ok(found)
}

impl Running {
    fn vault(&self) -> anyhow::Result<VaultClient> {
        self.vault.borrow().clone().context("the secrets server has not been started yet")
    }

    fn engine_of(&self, part: &str) -> String {
        match part {
            vault::NAME => self.platform.vault.engine.word(),
            postgres::NAME => "managed",
            spiffe::SERVER | spiffe::AGENT => "embedded",
            _ => "service",
        }
        .to_owned()
    }

    fn address_of(&self, part: &str) -> Option<String> {
        match part {
            vault::NAME => Some(self.vault.borrow().as_ref()?.address().to_string()),
            postgres::NAME => Some(self.postgres.borrow().as_ref()?.dialled().to_string()),
            spiffe::SERVER => Some(self.sockets.server.display().to_string()),
            spiffe::AGENT => Some(self.sockets.workload.display().to_string()),
            _ => None,
        }
    }

    fn version_of(&self, part: &str) -> Option<String> {
        let versions = self.versions.borrow();
        versions.iter().find(|(name, _)| name == part).map(|(_, version)| version.clone())
    }
}

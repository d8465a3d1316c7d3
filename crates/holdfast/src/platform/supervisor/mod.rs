//! The supervisor: brings the parts up in order, keeps them up, answers on its socket.
//!
//! It runs on one thread. Every process is started from that thread, because a child's death
//! signal is bound to the thread that forked it.

mod answers;
mod bootstrap;
mod keys;
mod renewal;
mod services;

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use holdfast_client::vault::VaultClient;
use holdfast_types::{Clock, SecretString, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

use super::config::Platform;
use super::control::{self, Asked};
use super::delivery;
use super::identity::Identity;
use super::part::PartHandle;
use super::postgres;
use super::progress::{Listener, Progress};
use super::seal::{SealKey, SealKind};
use super::state::{Record, State};
use super::status::KeysStatus;
use super::{leftovers, spiffe, tmpfs};
use crate::apply::Facts;

/// What a supervisor is told when it is started.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) state: PathBuf,
    pub(crate) platform: PathBuf,
    pub(crate) seal_file: Option<PathBuf>,
    pub(crate) seal: Option<SealKind>,
    pub(crate) secrets: Secrets,
    /// The life of servers' certificates, where it is not the usual one.
    pub(crate) leaf_lifetime: Option<Duration>,
    /// The same of the SPIFFE server's authorities.
    pub(crate) authority_lifetime: Option<Duration>,
    pub(crate) listener: Listener,
}

/// What must neither be an argument nor a variable; handed over on standard input.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// Opens the seal key, where that is under one.
    pub(crate) passphrase: Option<SecretString>,
    /// For an external engine.
    pub(crate) vault_token: Option<SecretString>,
}

/// What the tasks of a running supervisor share.
struct Running {
    platform: Platform,
    state: State,
    record: RefCell<Record>,
    seal_kind: SealKind,
    seal_key: SealKey,
    root: super::root::PlatformRoot,
    identity: Identity,
    /// Who is told to the SPIFFE agent, and the end that it inherits.
    introductions: spiffe::Introductions,
    introduced: RefCell<Option<OwnedFd>>,
    sockets: spiffe::Sockets,
    /// Who is who by the platform directory, as it was taken over last.
    declarations: Rc<RefCell<Rc<spiffe::Declarations>>>,
    /// The trust domain, once its server answers.
    domain: RefCell<Option<Rc<spiffe::Domain>>>,
    secrets_directory: PathBuf,
    vault_token: Option<SecretString>,
    /// The secrets server, once its address is known.
    vault: RefCell<Option<VaultClient>>,
    postgres: RefCell<Option<postgres::Server>>,
    versions: RefCell<Vec<(String, String)>>,
    /// The ports of parts that make their own sockets.
    reserved: RefCell<Vec<TcpSocket>>,
    /// In the order in which they were started.
    parts: RefCell<Vec<PartHandle>>,
    certificates: RefCell<Vec<renewal::Certificate>>,
    facts: RefCell<Facts>,
    /// What goes on beside the parts, and ends before them.
    tasks: RefCell<Vec<AbortHandle>>,
    /// Held by the apply that is at work.
    applying: tokio::sync::Mutex<()>,
    /// Told of each that is done.
    applied: tokio::sync::Notify,
    /// Where the trust domain's keys are brought to the secrets server: how that stands.
    keys: RefCell<Option<KeysStatus>>,
    /// Why the platform directory is not applied, if it is not.
    not_applied: RefCell<Option<String>>,
    ready: Cell<bool>,
    started: Timestamp,
    listener: Listener,
    shutdown: CancellationToken,
    /// Those who asked for the end and wait for it.
    waiting: RefCell<Vec<Asked>>,
}

/// Runs the platform until it is told to stop.
///
/// # Errors
/// It could not be started; its parts are stopped again.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let listener = options.listener;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, supervise(options));
    if let Err(error) = &result {
        listener.tell(&Progress::Failed(format!("{error:#}")));
    }
    result
}

async fn supervise(options: Options) -> anyhow::Result<()> {
    let platform = Platform::read(&options.platform)?;
    let state = State::create(&options.state)?;
    let lock = state.lock()?;
    let lock = lock.with_context(|| {
        format!("another supervisor has {}; see `holdfast status`", state.directory().display())
    })?;
    // The kernel lets go of it with this process: whoever has it next finds nothing of this one.
    let _lock = ManuallyDrop::new(lock);
    leftovers::end_services(&state, &platform.name)?;
    leftovers::reap(&state).await?;
    let running = Rc::new(open(options, platform, state)?);
    let control = control::Listener::bind(&running.state)?;
    let answering = spawn_local(answers::answer(running.clone(), control));
    watch_signals(&running)?;
    let introducing = spawn_local(running.introductions.clone().run());

    let outcome = tokio::select! {
        outcome = bootstrap::bring_up(running.clone()) => outcome,
        () = running.shutdown.cancelled() => Ok(()),
    };
    if outcome.is_ok() && !running.shutdown.is_cancelled() {
        running.ready.set(true);
        running.listener.tell(&Progress::Ready);
        let renewing = spawn_local(renewal::renew(running.clone()));
        if !running.platform.vault.is_supervised() {
            let bringing = spawn_local(keys::bring(running.clone()));
            running.tasks.borrow_mut().push(bringing.abort_handle());
        }
        running.shutdown.cancelled().await;
        renewing.abort();
    }
    stop(&running).await;
    introducing.abort();
    running.domain.take();
    delivery::withdraw(&running.state, &running.platform.name);
    answering.abort();
    let removed = super::files::remove(&running.state.join("control.sock"))
        .and_then(|()| tmpfs::remove(&running.secrets_directory))
        .and_then(|()| leftovers::end_services(&running.state, &running.platform.name));
    for asked in running.waiting.take() {
        asked.answer(Ok(serde_json::Value::Null)).await;
    }
    outcome.and(removed)
}

/// Opens what is locked, makes what is missing.
fn open(options: Options, platform: Platform, state: State) -> anyhow::Result<Running> {
    super::space::check(state.directory())?;
    state.check_passable()?;
    let Options { seal_file, seal, secrets, leaf_lifetime, authority_lifetime, .. } = options;
    let listener = options.listener;
    let record = state.record()?;
    let seal_path = match (&record, seal_file) {
        (Some(record), None) => record.seal.clone(),
        (_, Some(path)) => std::path::absolute(path)?,
        (None, None) => super::seal::default_path(&platform.name, &state)?,
    };
    for (what, directory) in
        [("state", state.directory()), ("platform", platform.directory.as_path())]
    {
        ensure!(
            !seal_path.starts_with(directory),
            "the seal key {} must not be in the {what} directory, which it locks",
            seal_path.display()
        );
    }
    let mut record = match record {
        Some(record) => record,
        None => {
            ensure!(
                !state.join("root.sealed").exists(),
                "{} holds keys but no state.json; restore that from a backup, or start afresh with `holdfast down --purge`",
                state.directory().display()
            );
            Record::new(&platform, seal_path.clone())
        }
    };
    record.check(&platform, &state)?;
    record.seal = seal_path;
    record.platform = platform.directory.clone();
    if !record.vault_initialised {
        record.engine = platform.vault.engine.word().to_owned();
    }
    // Where the seal key is going to be is written down before it is there, so that a purge after
    // a crash finds it.
    state.save(&record)?;
    let (seal_key, seal_kind) = seal_key(&record, &state, seal, &secrets)?;
    super::files::directory(&state.join("logs"), 0o700, None)?;
    let mut root = super::root::PlatformRoot::load(&state, &platform.trust_domain, &seal_key)?;
    if root.is_renewed() {
        listener.tell(&Progress::Notice(format!(
            "the platform root's certificate is renewed until {}: who has a copy of {} needs a new one",
            root.info().not_after,
            state.ca_file().display()
        )));
    }
    if let Some(lifetime) = leaf_lifetime {
        root = root.with_leaf_lifetime(lifetime);
    }
    if let Some(lifetime) = authority_lifetime {
        root = root.with_authority_lifetime(lifetime);
    }
    let identity = Identity::load(&state, &seal_key)?;
    let secrets_directory = tmpfs::prepare(&state, &platform.name)?;
    record.secrets = Some(secrets_directory.clone());
    state.save(&record)?;
    let (introductions, introduced) = spiffe::Introductions::new()?;
    let sockets = spiffe::Sockets::of(&secrets_directory, platform.spiffe.socket.as_ref());
    Ok(Running {
        introductions,
        introduced: RefCell::new(Some(introduced)),
        sockets,
        declarations: Rc::default(),
        domain: RefCell::default(),
        platform,
        state,
        record: RefCell::new(record),
        seal_kind,
        seal_key,
        root,
        identity,
        secrets_directory,
        vault_token: secrets.vault_token,
        vault: RefCell::default(),
        postgres: RefCell::default(),
        versions: RefCell::default(),
        reserved: RefCell::default(),
        parts: RefCell::default(),
        certificates: RefCell::default(),
        facts: RefCell::default(),
        tasks: RefCell::default(),
        applying: tokio::sync::Mutex::default(),
        applied: tokio::sync::Notify::default(),
        keys: RefCell::default(),
        not_applied: RefCell::default(),
        ready: Cell::new(false),
        started: SystemClock.now(),
        listener,
        shutdown: CancellationToken::new(),
        waiting: RefCell::default(),
    })
}

fn seal_key(
    record: &Record,
    state: &State,
    wanted: Option<SealKind>,
    secrets: &Secrets,
) -> anyhow::Result<(SealKey, SealKind)> {
    let path = &record.seal;
    let passphrase = secrets.passphrase.as_ref();
    match super::seal::kind(path)? {
        Some(kind) => {
            ensure!(
                wanted.is_none_or(|wanted| wanted == kind),
                "the seal key {} is kept another way already; it stays so until `holdfast down --purge`",
                path.display()
            );
            Ok((super::seal::open(path, passphrase)?, kind))
        }
        None => {
            ensure!(
                !state.join("root.sealed").exists(),
                "the seal key {} is gone, and without it nothing in {} opens; restore it from where you keep copies, or start afresh with `holdfast down --purge`",
                path.display(),
                state.directory().display()
            );
            let kind = wanted.unwrap_or_else(|| super::seal::best_kind(passphrase.is_some()));
            Ok((super::seal::create(path, kind, passphrase)?, kind))
        }
    }
}

fn watch_signals(running: &Rc<Running>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = running.shutdown.clone();
    spawn_local(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Stops the parts, the last one first.
async fn stop(running: &Running) {
    // Nothing is started any more.
    running.tasks.take().iter().for_each(AbortHandle::abort);
    loop {
        let part = running.parts.borrow_mut().pop();
        let Some(part) = part else { return };
        part.stop().await;
    }
}

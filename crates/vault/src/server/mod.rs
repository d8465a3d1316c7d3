//! The server as a whole: built from a configuration, run until it is told to stop.
//!
//! [`Server::build`] does all that can fail early: it takes the sockets, opens the store, unseals
//! what opens by itself. [`Server::run`] serves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_barrier::physical::{InMemory, OpenError, Physical, Sqlite};
use holdfast_barrier::{Barrier, EntryError, SealConfig, StaticKeyError};
use holdfast_types::{Clock, Random, SecretBytes, SystemClock, SystemRandom};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{InitRequest, SealSettings, ServerConfig, StorageSettings};
use crate::core::Limits;
use crate::front::{Chain, Front, Lifecycle, LifecycleError, LifecycleParts};
use crate::http::{self, Capacity, InFlight, Inherited, Listener, ListenerError, Tls};
use crate::logs::Logs;
use crate::space::{self, Reserve};

mod dev;
mod mountable;
#[cfg(test)]
mod routes;

pub use dev::{DevCredentials, DevSettings};
pub use mountable::mountable;

/// What the server is built from.
pub struct ServerOptions {
    /// The configuration.
    pub config: ServerConfig,
    /// Sets it up for development: initialised, unsealed, with a `secret/`.
    pub dev: Option<DevSettings>,
    /// The log of the process, which the server's operators read and set.
    pub logs: Arc<Logs>,
    /// Sockets that were passed on to this process.
    pub inherited: Inherited,
    /// What the process bears with.
    pub capacity: Capacity,
}

impl ServerOptions {
    /// The usual ones with this configuration.
    pub fn new(config: ServerConfig) -> Self {
        Self {
            config,
            dev: None,
            logs: Logs::detached(),
            inherited: Inherited::default(),
            capacity: Capacity::default(),
        }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A listener.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// The database file.
    #[error("open the store")]
    Open(#[from] OpenError),
    /// What the store says of its seal.
    #[error("open the store")]
    Entry(#[from] EntryError),
    /// A static seal's key.
    #[error(transparent)]
    SealKey(#[from] StaticKeyError),
    /// The store cannot be initialised or unsealed as configured.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The process id cannot be written down.
    #[error("write the process id to {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Damage was found in a large store while it was served already.
    #[error("the store is damaged, see the log; it was closed, and is not opened again")]
    Damaged,
    /// Signals cannot be received.
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
}

/// A server that holds its sockets and its store.
pub struct Server {
    lifecycle: Arc<Lifecycle>,
    http: http::Server,
    listeners: Vec<Listener>,
    tls: Vec<Arc<Tls>>,
    pid_file: Option<PidFile>,
    /// The store's file, where it has one, and how much room to set aside beside it.
    store: Option<(PathBuf, Option<u64>)>,
    dev: Option<DevCredentials>,
}

impl Server {
    /// Takes the sockets, opens the store, and unseals or initialises it where the configuration
    /// says how.
    ///
    /// # Errors
    /// What stopped it, before anything is served.
    pub async fn build(options: ServerOptions) -> Result<Self, ServerError> {
        let ServerOptions { config, dev, logs, mut inherited, capacity } = options;
        let sanitized = config.sanitized();
        config.warnings.iter().for_each(|warning| warn!("{warning}"));
        let listeners = config
            .listeners
            .into_iter()
            .map(|settings| Listener::open(settings, &mut inherited))
            .collect::<Result<Vec<_>, _>>()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let in_flight = Arc::<InFlight>::default();
        let (seal, static_key) = seal_config(config.seal)?;
        let store = match &config.storage {
            StorageSettings::Sqlite { path, reserve_bytes } => Some((path.clone(), *reserve_bytes)),
            StorageSettings::Inmem => None,
        };
        let physical = open_storage(config.storage).await?;
        let barrier =
            Barrier::open(physical, seal, Arc::clone(&clock), Arc::clone(&random)).await?;
        let lifecycle = Arc::new(Lifecycle::new(LifecycleParts {
            barrier: Arc::new(barrier),
            static_key,
            registry: mountable(),
            api_addr: config.api_addr.clone().unwrap_or_default(),
            limits: Limits {
                default_lease_ttl: config.default_lease_ttl,
                max_lease_ttl: config.max_lease_ttl,
            },
            audit: config.audit,
            audit_allowances: config.audit_allowances,
            cluster_name: config.cluster_name,
            logs,
            sanitized,
            in_flight: Arc::clone(&in_flight),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        }));
        let dev = start(&lifecycle, &config.initialize, dev).await?;
        let pid_file = config.pid_file.map(PidFile::write).transpose()?;
        let handler = Arc::new(Front::new(Arc::clone(&lifecycle), Arc::clone(&clock)));
        let parts = http::Parts { handler, clock, random, in_flight };
        Ok(Self {
            lifecycle,
            http: http::Server::new(parts, &capacity),
            tls: listeners.iter().filter_map(Listener::tls).collect(),
            listeners,
            pid_file,
            store,
            dev,
        })
    }

    /// The TCP addresses it listens on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::address).collect()
    }

    /// The key and the token of a development server.
    pub fn dev_credentials(&self) -> Option<&DevCredentials> {
        self.dev.as_ref()
    }

    /// Serves until `shutdown`; then it lets the requests under way finish, seals, and closes the
    /// store. SIGHUP reads the certificates again and opens the audit files anew.
    ///
    /// # Errors
    /// Signals cannot be received, damage was found in the store, or it could not be closed cleanly.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServerError> {
        let mut hangups = signal(SignalKind::hangup()).map_err(ServerError::Signals)?;
        for address in self.addresses() {
            info!(%address, "listening");
        }
        let serving = self.http.run(self.listeners, shutdown.clone());
        let mut serving = std::pin::pin!(serving);
        let lifecycle = Arc::clone(&self.lifecycle);
        let watching = space::watch(self.store, move || lifecycle.audit().files());
        let mut watching = std::pin::pin!(watching);
        let damaged = self.lifecycle.barrier().found_damaged();
        let mut damaged = std::pin::pin!(damaged);
        let mut is_damaged = false;
        loop {
            tokio::select! {
                biased;
                () = &mut serving => break,
                () = &mut damaged, if !is_damaged => {
                    is_damaged = true;
                    shutdown.cancel();
                }
                Some(()) = hangups.recv() => reload(&self.tls, &self.lifecycle),
                never = &mut watching => match never {},
            }
        }
        let closed = self.lifecycle.close().await;
        drop(self.pid_file);
        info!("stopped");
        if is_damaged { Err(ServerError::Damaged) } else { Ok(closed?) }
    }
}

/// Initialises and unseals what needs nobody.
async fn start(
    lifecycle: &Lifecycle,
    requests: &[InitRequest],
    dev: Option<DevSettings>,
) -> Result<Option<DevCredentials>, LifecycleError> {
    match dev {
        Some(settings) => dev::start(lifecycle, &settings).await.map(Some),
        None => lifecycle.start(requests).await.map(|()| None),
    }
}

fn reload(tls: &[Arc<Tls>], lifecycle: &Lifecycle) {
    info!("reloading certificates, reopening audit files");
    for tls in tls {
        if let Err(error) = tls.reload() {
            error!(error = %Chain(&error), "the certificates in use stay in use");
        }
    }
    lifecycle.audit().reopen();
}

async fn open_storage(settings: StorageSettings) -> Result<Arc<dyn Physical>, ServerError> {
    let (path, reserve_bytes) = match settings {
        StorageSettings::Inmem => return Ok(Arc::new(InMemory::new())),
        StorageSettings::Sqlite { path, reserve_bytes } => (path, reserve_bytes),
    };
    let opened = tokio::task::spawn_blocking(move || {
        let store = Sqlite::open(&path)?;
        let reserve = Reserve::beside(&path);
        if let Err(error) = reserve.hold(reserve_bytes) {
            let path = reserve.path().display();
            warn!(%path, error = %Chain(&error), "no room is set aside for when the disk is full");
        }
        Ok(store)
    })
    .await;
    let store = match opened {
        Ok(opened) => opened.map_err(ServerError::Open)?,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    };
    for key in store.damaged() {
        error!(key, "this entry is damaged: what it held cannot be read");
    }
    Ok(Arc::new(store))
}

/// The barrier's view of the seal, and the key with which an operator undoes a seal.
fn seal_config(
    settings: SealSettings,
) -> Result<(SealConfig, Option<SecretBytes>), StaticKeyError> {
    let seal = settings.barrier()?;
    Ok(match settings {
        SealSettings::Shamir => (seal, None),
        SealSettings::Static { current, .. } => (seal, Some(current.key)),
    })
}

/// A file with the process id, for as long as the server lives.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> Result<Self, ServerError> {
        match std::fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(ServerError::PidFile { path, source }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

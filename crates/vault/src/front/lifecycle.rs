//! From an empty store to a serving core and back: initialise, unseal, seal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use holdfast_barrier::{
    Barrier, Entries, EntryError, InitializeError, SharePlan, UnsealError, View,
};
use holdfast_types::{Clock, Random, SecretBytes, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::chain::Chain;
use super::new_store::{Cluster, NewStore};
use super::paths::ServerPaths;
use crate::audit::{Allowances, Audit, DeviceError, DeviceSpec};
use crate::config::InitRequest;
use crate::core::{Core, Deps, Limits};
use crate::http::InFlight;
use crate::logs::Logs;
use crate::metrics::{Measured, Metrics};
use crate::mounts::Registry;
use crate::wire::{Outgoing, OutgoingBody};

/// Where the audit devices are stored.
pub(super) const AUDIT_PREFIX: &str = "core/audit/";
/// Where the names of the installation are stored.
pub(super) const CLUSTER_KEY: &str = "core/cluster";
/// Is there while an operator wants the server sealed. Its name can be read without a key.
const HELD_SEALED_KEY: &str = "core/held-sealed";

/// What the life cycle is built from.
pub struct LifecycleParts {
    /// The encrypted store.
    pub barrier: Arc<Barrier>,
    /// The key of a static seal, with which an operator undoes a seal.
    pub static_key: Option<SecretBytes>,
    /// What can be mounted.
    pub registry: Registry,
    /// How long leases and tokens live.
    pub limits: Limits,
    /// Where clients reach the server; empty where that is not known.
    pub api_addr: String,
    /// The audit devices of the configuration.
    pub audit: Vec<DeviceSpec>,
    /// What audit devices may do.
    pub audit_allowances: Allowances,
    /// The name of the installation; random where none is set.
    pub cluster_name: Option<String>,
    /// The log of the process.
    pub logs: Arc<Logs>,
    /// The configuration as `sys/config/state/sanitized` tells it.
    pub sanitized: Value,
    /// The requests under way.
    pub in_flight: Arc<InFlight>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// Why a step of the life cycle was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The store's keys could not be made.
    #[error(transparent)]
    Initialize(#[from] InitializeError),
    /// The barrier stays sealed.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// An operator sealed the server; what was shown is not the key that undoes it.
    #[error(
        "the server was sealed by an operator; it is unsealed with the key of its static seal, \
         and this is not that key"
    )]
    WrongKey,
    /// The audit devices could not be loaded.
    #[error("load the audit devices")]
    Audit(#[from] DeviceError),
    /// The core could not be started.
    #[error("start serving")]
    Start(#[source] holdfast_logical::Error),
    /// A request of the configuration's `initialize` failed.
    #[error("initialize request {name} ({path}) was answered with {status} {errors}")]
    Request {
        /// Its name.
        name: String,
        /// Its path.
        path: String,
        /// The status.
        status: u16,
        /// What it said.
        errors: String,
    },
    /// The store.
    #[error("use the store")]
    Entry(#[from] EntryError),
}

impl LifecycleError {
    /// The error that an answer to a request of our own stands for, if it does.
    pub(crate) fn unless_ok(name: &str, path: &str, answer: &Outgoing) -> Result<(), Self> {
        if answer.status < 400 {
            return Ok(());
        }
        let errors = match &answer.body {
            OutgoingBody::Json(body) => body.get("errors").map(Value::to_string),
            _ => None,
        };
        Err(Self::Request {
            name: name.to_owned(),
            path: path.to_owned(),
            status: answer.status,
            errors: errors.unwrap_or_default(),
        })
    }
}

/// What initialisation hands out, once.
pub(crate) struct Started {
    pub(crate) shares: Vec<SecretBytes>,
    pub(crate) root_token: SecretString,
}

/// The barrier, the core behind it, and the order in which they open and close.
pub struct Lifecycle {
    parts: LifecycleParts,
    core: Arc<Core>,
    audit: Arc<Audit>,
    cluster: ArcSwapOption<Cluster>,
    serving: AtomicBool,
    /// Held while it initialises, unseals or seals.
    changing: Mutex<()>,
}

impl Lifecycle {
    /// Sealed.
    pub fn new(parts: LifecycleParts) -> Self {
        let entries = Arc::clone(&parts.barrier) as Arc<dyn Entries>;
        let (core, audit) = assemble(&parts, entries);
        Self {
            parts,
            core,
            audit,
            cluster: ArcSwapOption::empty(),
            serving: AtomicBool::new(false),
            changing: Mutex::new(()),
        }
    }

    /// The core, which answers "sealed" while it is.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The audit devices.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The encrypted store.
    pub fn barrier(&self) -> &Barrier {
        &self.parts.barrier
    }

    /// Whether nothing is served.
    pub fn is_sealed(&self) -> bool {
        !self.serving.load(Ordering::Acquire)
    }

    /// Does on its own what needs nobody: an empty store with `requests` is initialised by them, and
    /// a static seal is opened, unless an operator has sealed the server. Otherwise it waits.
    ///
    /// # Errors
    /// What stopped it. An initialisation that fails leaves the store as empty as it was.
    pub async fn start(&self, requests: &[InitRequest]) -> Result<(), LifecycleError> {
        let _changing = self.changing.lock().await;
        let status = self.barrier().seal_status();
        if !status.initialized {
            if requests.is_empty() {
                info!("the store is not initialised");
                return Ok(());
            }
            let NewStore { entries, .. } = self.new_store(requests, None).await?;
            self.barrier().initialize(None, entries).await?;
            info!("the store has initialised itself as configured");
        }
        if !status.recovery_seal {
            return Ok(());
        }
        if self.is_held_sealed().await? {
            warn!("an operator sealed this server; it stays so until it is unsealed");
            return Ok(());
        }
        self.barrier().auto_unseal().await?;
        self.serve().await
    }

    /// Makes the keys and a root token in an empty store. A seal that opens by itself does.
    /// `root_token` is the token to be, where it is not to be random.
    pub(crate) async fn initialize(
        &self,
        plan: Option<SharePlan>,
        root_token: Option<&str>,
    ) -> Result<Started, LifecycleError> {
        let _changing = self.changing.lock().await;
        let status = self.barrier().seal_status();
        if status.initialized {
            return Err(InitializeError::Already.into());
        }
        let store = self.new_store(&[], root_token).await?;
        let initialized = self.barrier().initialize(plan, store.entries).await?;
        if status.recovery_seal {
            self.barrier().auto_unseal().await?;
            self.serve().await?;
        }
        let root_token = store.root_token.unwrap_or_default();
        Ok(Started { shares: initialized.shares, root_token })
    }

    /// Takes one share; the last one needed unseals. With a static seal it takes that seal's key,
    /// which undoes what an operator sealed.
    pub(crate) async fn unseal(&self, share: SecretBytes) -> Result<(), LifecycleError> {
        let _changing = self.changing.lock().await;
        if !self.is_sealed() {
            return Ok(());
        }
        match &self.parts.static_key {
            Some(key) if *key == share => {
                self.barrier().auto_unseal().await?;
                let released = View::new(self.entries(), "").delete(HELD_SEALED_KEY).await;
                if let Err(error) = released {
                    self.barrier().seal();
                    return Err(error.into());
                }
            }
            Some(_) => return Err(LifecycleError::WrongKey),
            None => {
                self.barrier().unseal(share).await?;
            }
        }
        if self.barrier().is_sealed() { Ok(()) } else { self.serve().await }
    }

    /// Seals. A static seal stays so over restarts.
    pub(super) async fn seal_by_operator(&self) {
        let _changing = self.changing.lock().await;
        if self.is_sealed() {
            return;
        }
        if self.parts.static_key.is_some() {
            let now = holdfast_types::rfc3339(self.parts.clock.now());
            let held = View::new(self.entries(), "").put(HELD_SEALED_KEY, now.into_bytes()).await;
            // Whoever seals a server in an emergency must not be stopped by a full disk.
            if let Err(error) = held {
                warn!(error = %Chain(&error), "the seal holds until the next restart only");
            }
        }
        self.stop_serving().await;
        self.barrier().seal();
        info!("sealed by an operator");
    }

    /// Stops serving and closes the store, at the end of the process.
    ///
    /// # Errors
    /// The store could not be closed cleanly. Nothing that was acknowledged is lost by that.
    pub async fn close(&self) -> Result<(), LifecycleError> {
        let _changing = self.changing.lock().await;
        self.stop_serving().await;
        Ok(self.barrier().close().await?)
    }

    pub(super) fn cluster(&self) -> Option<Arc<Cluster>> {
        if self.is_sealed() { None } else { self.cluster.load_full() }
    }

    pub(super) fn cluster_name(&self) -> Option<&str> {
        self.parts.cluster_name.as_deref()
    }

    pub(crate) fn random(&self) -> &dyn Random {
        &*self.parts.random
    }

    pub(super) fn declared_audit(&self) -> &[DeviceSpec] {
        &self.parts.audit
    }

    /// A core and its audit devices over other entries.
    pub(super) fn assemble(&self, entries: Arc<dyn Entries>) -> (Arc<Core>, Arc<Audit>) {
        assemble(&self.parts, entries)
    }

    fn entries(&self) -> Arc<dyn Entries> {
        Arc::clone(&self.parts.barrier) as Arc<dyn Entries>
    }

    async fn is_held_sealed(&self) -> Result<bool, EntryError> {
        let held = self.barrier().physical().get(HELD_SEALED_KEY).await;
        Ok(held.map_err(EntryError::from)?.is_some())
    }

    /// The barrier is open: loads everything, or seals again.
    async fn serve(&self) -> Result<(), LifecycleError> {
        let loaded = async {
            let view = View::new(self.entries(), "");
            let mut cluster = match view.get_json::<Cluster>(CLUSTER_KEY).await? {
                Some(cluster) => cluster,
                None => Cluster::generate(None, self.random()),
            };
            if let Some(name) = self.cluster_name()
                && cluster.name != name
            {
                name.clone_into(&mut cluster.name);
                view.put_json(CLUSTER_KEY, &cluster).await?;
            }
            self.cluster.store(Some(Arc::new(cluster)));
            self.audit.load(view.sub(AUDIT_PREFIX), &self.parts.audit, self.random()).await?;
            self.core.post_unseal().await.map_err(LifecycleError::Start)
        };
        if let Err(error) = loaded.await {
            self.audit.unload();
            self.barrier().seal();
            return Err(error);
        }
        self.serving.store(true, Ordering::Release);
        Ok(())
    }

    async fn stop_serving(&self) {
        if self.serving.swap(false, Ordering::AcqRel) {
            self.core.pre_seal().await;
            self.audit.unload();
        }
    }
}

fn assemble(parts: &LifecycleParts, entries: Arc<dyn Entries>) -> (Arc<Core>, Arc<Audit>) {
    let audit = Arc::new(Audit::new(parts.audit_allowances, Arc::clone(&parts.clock)));
    let metrics = Arc::new(Metrics::new(Arc::clone(&parts.in_flight)));
    let core = Arc::new(Core::new(Deps {
        entries: Arc::new(Measured::new(entries, Arc::clone(&metrics))),
        metrics,
        clock: Arc::clone(&parts.clock),
        random: Arc::clone(&parts.random),
        audit: Arc::clone(&audit),
        registry: parts.registry.clone(),
        limits: parts.limits,
        logs: Arc::clone(&parts.logs),
        api_addr: parts.api_addr.clone(),
    }));
    core.extend_system(Arc::new(ServerPaths::new(parts, &core, Arc::clone(&audit))));
    (core, audit)
}

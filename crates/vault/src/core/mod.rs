//! The request pipeline, and the life cycle of what answers it.

mod access;
pub(crate) mod acl;
pub(crate) mod answer;
mod audit;
pub(crate) mod invocation;
mod limits;
pub(crate) mod ongoing;
mod path;
pub(crate) mod pipeline;
mod settle;
#[cfg(test)]
mod tests;
mod timing;
pub(crate) mod vault;
mod versions;
pub(crate) mod wrapping;
mod wrapping_jwt;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use holdfast_barrier::{Batch, Entries, EntryError, View};
use holdfast_logical::{Backend, Error};
use holdfast_types::{Clock, Random, SecretString};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::acl::Acls;
use self::answer::Chain;
use self::vault::Vault;
use self::versions::Versions;
use self::wrapping::Wrapped;
use crate::audit::Audit;
use crate::denials::{self, Denials};
use crate::events::Events;
use crate::identity::Identity;
use crate::leases::{self, Leases};
use crate::lockout::Lockouts;
use crate::logs::Logs;
use crate::metrics::{self, Metrics};
use crate::mounts::{Mounts, Registry, finish_disabling, finish_moves};
use crate::passwords::PasswordPolicies;
use crate::policies::Policies;
use crate::quotas::Quotas;
use crate::settings::{CorsVerdict, Settings};
use crate::tokens::{Tokens, finish_revocations, root_entry};
use crate::wire::{Incoming, Outgoing};

/// How often backends tidy up.
const TICK: Duration = Duration::from_secs(60);
/// How long sealing waits for work in the background.
const DRAIN: Duration = Duration::from_secs(5);

/// What the core is built from.
pub struct Deps {
    /// Everything that is stored, behind the barrier.
    pub entries: Arc<dyn Entries>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The audit devices.
    pub audit: Arc<Audit>,
    /// What can be mounted.
    pub registry: Registry,
    /// How long leases and tokens live where nothing else says.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The log of the process.
    pub logs: Arc<Logs>,
    /// Where clients reach the server, such as `https://vault.example:8200`; empty where that is
    /// not known.
    pub api_addr: String,
}

/// How long leases and tokens live where no mount, role or request says.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At first.
    pub default_lease_ttl: Duration,
    /// With renewals.
    pub max_lease_ttl: Duration,
}

impl Default for Limits {
    /// 32 days, as in OpenBao.
    fn default() -> Self {
        let ttl = Duration::from_secs(768 * 3600);
        Self { default_lease_ttl: ttl, max_lease_ttl: ttl }
    }
}

/// The server behind the listener: sealed until [`Core::post_unseal`].
pub struct Core {
    deps: Deps,
    system: OnceLock<Arc<dyn Backend>>,
    vault: ArcSwapOption<Vault>,
    /// Held while the server is being unsealed or sealed.
    changing: Mutex<Option<Background>>,
}

/// What runs beside the requests.
struct Background {
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Core {
    /// A sealed core.
    pub fn new(deps: Deps) -> Self {
        Self {
            deps,
            system: OnceLock::new(),
            vault: ArcSwapOption::empty(),
            changing: Mutex::new(None),
        }
    }

    /// Adds paths of `sys/` that this crate's `sys` does not serve itself (audit devices, rotation,
    /// sealing). They are authenticated, authorised and audited like all others; paths are relative
    /// to `sys/`. Only the first call counts, and it must come before [`Core::post_unseal`].
    pub fn extend_system(&self, backend: Arc<dyn Backend>) {
        let _ = self.system.set(backend);
    }

    /// Loads what is stored and begins to serve. The barrier must be open. On an empty store it
    /// writes the first mount table and policies. Called again, it does nothing.
    ///
    /// # Errors
    /// What could not be loaded; the core is still sealed then.
    pub async fn post_unseal(&self) -> Result<(), Error> {
        let mut background = self.changing.lock().await;
        if background.is_some() {
            return Ok(());
        }
        let vault = Arc::new(self.load().await?);
        vault.mounts.start().await;
        finish_revocations(&vault).await?;
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(leases::run(vault.clone(), shutdown.clone()));
        tasks.spawn(tick(vault.clone(), shutdown.clone()));
        tasks.spawn(denials::run(vault.clone(), shutdown.clone()));
        *background = Some(Background { shutdown, tasks });
        self.vault.store(Some(vault));
        info!("unsealed");
        Ok(())
    }

    async fn load(&self) -> Result<Vault, Error> {
        let Deps { entries, clock, random, audit, registry, limits, metrics, logs, api_addr } =
            &self.deps;
        let root = View::new(entries.clone(), "");
        let system = self.system.get();
        let passwords = Arc::new(PasswordPolicies::new(&root, random.clone()));
        Ok(Vault {
            clock: clock.clone(),
            random: random.clone(),
            audit: audit.clone(),
            mounts: Mounts::load(
                &root,
                registry.clone(),
                *limits,
                clock.clone(),
                random.clone(),
                passwords.clone(),
                system,
            )
            .await?,
            policies: Policies::load(&root, clock.clone()).await?,
            passwords,
            identity: Identity::new(&root, clock.clone(), random.clone(), api_addr),
            tokens: Tokens::load(&root, clock.clone(), random.clone()).await?,
            acls: Acls::default(),
            leases: Leases::new(&root, clock.clone(), random.clone()),
            wrapped: Wrapped::new(&root),
            events: Events::new(clock.clone(), random.clone()),
            lockouts: Lockouts::default(),
            settings: Settings::load(&root).await?,
            metrics: metrics.clone(),
            logs: logs.clone(),
            quotas: Quotas::load(&root).await?,
            versions: Versions::load(&root, clock.now()).await?,
            denials: Denials::new(&root),
            system: system.cloned(),
        })
    }

    /// Ends serving, before the barrier forgets its keys. Requests under way fail with "sealed".
    pub async fn pre_seal(&self) {
        let Some(Background { shutdown, mut tasks }) = self.changing.lock().await.take() else {
            return;
        };
        let vault = self.vault.swap(None);
        shutdown.cancel();
        let drained =
            tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            // A revocation that is broken off is due again after the next unseal.
            warn!("work in the background is broken off by sealing");
            tasks.shutdown().await;
        }
        if let Some(vault) = vault {
            vault.mounts.stop().await;
        }
        if let Some(system) = self.system.get() {
            system.stop().await;
        }
        info!("sealed");
    }

    /// Whether requests are served.
    pub fn is_unsealed(&self) -> bool {
        self.vault.load().is_some()
    }

    /// Makes a root token: at initialisation, and by `generate-root`. `id` is the token itself
    /// where the operator chooses it (development servers), else it is random.
    ///
    /// # Errors
    /// The core is sealed, `id` is taken, or the store does not take it.
    pub async fn create_root_token(&self, id: Option<&str>) -> Result<SecretString, Error> {
        let vault = self.vault.load_full().ok_or(EntryError::Sealed)?;
        let mut entry = root_entry(vault.clock.now());
        if id.is_some() {
            // OpenBao makes a chosen one by a request with the first: clients see that.
            "auth/token/create".clone_into(&mut entry.path);
            "token".clone_into(&mut entry.display_name);
        }
        let created = vault.tokens.create(&vault.leases, entry, id, Batch::new()).await?;
        Ok(created.token)
    }

    /// Makes anew the keys that are made anew with the keyring: that of batch tokens.
    ///
    /// # Errors
    /// The core is sealed, or the store does not take it.
    pub async fn rotate_keys(&self) -> Result<(), Error> {
        let vault = self.vault.load_full().ok_or(EntryError::Sealed)?;
        vault.tokens.rotate_batch_key().await
    }

    /// What answers requests, for tests that look inside.
    #[cfg(test)]
    pub(crate) fn vault(&self) -> Arc<Vault> {
        self.vault.load_full().expect("the core is unsealed")
    }

    /// What cross-origin rules say of a request with these header fields, by lower-case name. While
    /// sealed there are none: they lie behind the barrier.
    pub(crate) fn cors(&self, headers: &BTreeMap<String, String>) -> CorsVerdict {
        match &*self.vault.load() {
            Some(vault) => vault.settings.cors().judge(headers),
            None => CorsVerdict::Pass(Vec::new()),
        }
    }

    /// The answer to an `OPTIONS` request, where cross-origin rules have one.
    pub(crate) fn preflight(&self, headers: &BTreeMap<String, String>) -> Option<Outgoing> {
        self.vault.load().as_ref()?.settings.cors().preflight(headers)
    }

    /// All numbers, for a listener that shows them to everybody.
    pub(crate) async fn metrics(&self, incoming: &Incoming) -> Outgoing {
        let vault = self.vault.load_full();
        let now = self.deps.clock.now();
        let numbers =
            metrics::answer(&self.deps.metrics, vault.as_deref(), &incoming.data, now).await;
        match numbers {
            Ok(body) => answer::raw(200, body),
            Err(error) => answer::failure(&incoming.id, &error),
        }
    }

    /// Answers one request.
    pub async fn handle(&self, incoming: Incoming) -> Outgoing {
        match self.vault.load_full() {
            Some(vault) => pipeline::serve(&vault, incoming).await,
            None => Outgoing::errors(503, ["Vault is sealed"]),
        }
    }
}

/// Lets backends tidy up about once a minute, and goes on with what was broken off.
async fn tick(vault: Arc<Vault>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        finish_disabling(&vault).await;
        finish_moves(&vault).await;
        if let Err(error) = finish_revocations(&vault).await {
            warn!(error = %Chain(&error), "go on with revocations");
        }
        if let Err(error) = vault.identity.oidc.tick().await {
            warn!(error = %Chain(&error), "rotate the keys of identity tokens");
        }
        vault.mounts.tick().await;
        if let Some(system) = &vault.system
            && let Err(error) = system.tick().await
        {
            warn!(error = %Chain(&error), "tidy the server's own paths");
        }
        vault.lockouts.tidy(vault.clock.now());
        vault.quotas.tidy(vault.clock.now());
    }
}

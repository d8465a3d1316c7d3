//! The request pipeline: from what came off the wire to what goes back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_barrier::Entries;
use holdfast_logical::{Backend, Error};
use holdfast_types::{Clock, Random, SecretString};

use crate::audit::Audit;
use crate::mounts::Registry;
use crate::wire::{Incoming, Outgoing};

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
}

impl Core {
    /// A sealed core.
    pub fn new(deps: Deps) -> Self {
        Self { deps, system: OnceLock::new() }
    }

    /// Adds paths of `sys/` that this crate's `sys` does not serve itself (audit devices, rotation,
    /// sealing). They are authenticated, authorised and audited like all others; paths are relative
    /// to `sys/`. Only the first call counts.
    pub fn extend_system(&self, backend: Arc<dyn Backend>) {
        let _ = self.system.set(backend);
    }

    /// Loads what is stored and begins to serve. The barrier must be open. On an empty store it
    /// writes the first mount table and policies.
    ///
    /// # Errors
    /// What could not be loaded; the core is still sealed then.
    pub async fn post_unseal(&self) -> Result<(), Error> {
        let _ = &self.deps.registry;
        Err(Error::invalid("not built yet"))
    }

    /// Ends serving, before the barrier forgets its keys. Requests under way fail with "sealed".
    pub async fn pre_seal(&self) {}

    /// Makes a root token: at initialisation, and by `generate-root`. `id` is the token itself
    /// where the operator chooses it (development servers), else it is random.
    ///
    /// # Errors
    /// The core is sealed, or the store does not take it.
    pub async fn create_root_token(&self, _id: Option<&str>) -> Result<SecretString, Error> {
        Err(Error::invalid("not built yet"))
    }

    /// Answers one request.
    pub async fn handle(&self, _incoming: Incoming) -> Outgoing {
        Outgoing::errors(503, ["Vault is sealed"])
    }
}

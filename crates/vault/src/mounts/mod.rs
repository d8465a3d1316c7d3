//! What is mounted where.
//!
//! The table is one entry, `sys/mounts`, so that it changes as a whole. A mount's own storage lies
//! under `logical/<uuid>/` or `auth/<uuid>/`.
//!
//! Disabling begins with a mark in the table, after which the mount serves nothing; then its leases
//! are revoked, its storage is removed, and last its row. What a crash broke off goes on at the
//! next start.

mod disable;
mod enable;
mod entry;
mod registry;
mod remount;
mod router;
mod tune;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_barrier::{EntryError, View};
use holdfast_logical::{Backend, Context, Error, MountInfo, Passwords};
use holdfast_types::{Clock, Random};
use tokio::sync::Mutex;
use tracing::warn;

pub(crate) use self::disable::{disable, finish_disabling};
pub(crate) use self::entry::{MountConfig, MountEntry, RUNNING_VERSION};
pub use self::registry::{MountClass, MountFactory, Registry};
use self::remount::Moves;
pub(crate) use self::remount::{finish_moves, remount};
pub(crate) use self::router::{Mount, Router, Target, is_among};
use crate::core::Limits;
use crate::core::answer::Chain;

const TABLE: &str = "sys/mounts";
/// The longest that a backend may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Mounts that serve, by their accessors.
pub(crate) type ByAccessor = HashMap<String, Arc<MountInfo>>;

/// All mounts.
pub(crate) struct Mounts {
    root: View,
    registry: Registry,
    pub(crate) limits: Limits,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    passwords: Arc<dyn Passwords>,
    /// Held over every change of the table.
    change: Mutex<()>,
    router: ArcSwap<Router>,
    moves: Moves,
}

impl Mounts {
    /// The mounts of the table in `root`; on an empty store, of a first table.
    ///
    /// # Errors
    /// The table names a type that the registry lacks, or cannot be read.
    pub(crate) async fn load(
        root: &View,
        registry: Registry,
        limits: Limits,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        passwords: Arc<dyn Passwords>,
        system: Option<&Arc<dyn Backend>>,
    ) -> Result<Self, Error> {
        let mounts = Self {
            root: root.clone(),
            registry,
            limits,
            clock,
            random,
            passwords,
            change: Mutex::new(()),
            router: ArcSwap::default(),
            moves: Moves::default(),
        };
        let table = match root.get_json::<Vec<MountEntry>>(TABLE).await? {
            Some(table) => table,
            None => {
                let table = mounts.first_table();
                root.put_json(TABLE, &table).await?;
                table
            }
        };
        let mut router = Router::default();
        for entry in table {
            let path = entry.prefix();
            let mut mount = mounts.build(entry)?;
            if let (Target::System, Some(system)) = (&mount.target, system) {
                let special = system.special_paths();
                mount.special.sudo.extend(special.sudo);
                mount.special.unauthenticated.extend(special.unauthenticated);
            }
            tracing::debug!(mount = path, "mounted");
            router.insert(Arc::new(mount));
        }
        mounts.router.store(Arc::new(router));
        Ok(mounts)
    }

    /// Starts all backends. One that fails serves nonetheless, and says so in the log.
    pub(crate) async fn start(&self) {
        let router = self.router.load_full();
        let start = |mount: Arc<Mount>| async move {
            let Some(backend) = mount.backend() else { return };
            let started = match tokio::time::timeout(PATIENCE, backend.start()).await {
                Ok(started) => started,
                Err(elapsed) => Err(Error::internal("start a mount", elapsed)),
            };
            if let Err(error) = started {
                warn!(mount = %mount.entry.prefix(), error = %Chain(&error), "start a mount");
            }
        };
        let mounts: Vec<_> = router.all().cloned().collect();
        stream::iter(mounts).for_each_concurrent(16, start).await;
    }

    /// Lets all backends tidy up.
    pub(crate) async fn tick(&self) {
        let router = self.router.load_full();
        for mount in router.all() {
            let Some(backend) = mount.backend() else { continue };
            if let Err(error) = backend.tick().await {
                warn!(mount = %mount.entry.prefix(), error = %Chain(&error), "tidy a mount");
            }
        }
    }

    /// Stops all backends.
    pub(crate) async fn stop(&self) {
        let router = self.router.swap(Arc::default());
        for mount in router.all() {
            if let Some(backend) = mount.backend() {
                backend.stop().await;
            }
        }
    }

    /// The mount that answers `path`.
    pub(crate) fn route(&self, path: &str) -> Option<Arc<Mount>> {
        let router = self.router.load();
        router.longest(path).filter(|mount| mount.entry.serves()).cloned()
    }

    /// `path` in the one spelling that policies know.
    pub(crate) fn canonical(&self, path: &str) -> String {
        match self.route(path) {
            Some(mount) => mount.canonical(path.to_owned()),
            None => path.to_owned(),
        }
    }

    /// The mount that made the lease `id`, also when it is being disabled, and the path below it
    /// that did.
    pub(crate) fn of_lease(&self, id: &str) -> Option<(Arc<Mount>, String)> {
        let (path, _) = id.rsplit_once('/')?;
        let router = self.router.load();
        let mount = router.longest(path)?.clone();
        let below = path.strip_prefix(&mount.info.path).unwrap_or_default().to_owned();
        Some((mount, below))
    }

    /// The mount of `class` at `path`, which ends in `/`.
    pub(crate) fn find(&self, class: MountClass, path: &str) -> Option<Arc<Mount>> {
        let prefix = match class {
            MountClass::Secret => path.to_owned(),
            MountClass::Auth => format!("auth/{path}"),
        };
        let router = self.router.load();
        let found = router.at(&prefix).filter(|mount| mount.entry.serves());
        found.filter(|mount| mount.entry.class == class).cloned()
    }

    /// All mounts that serve, in the order of their paths.
    pub(crate) fn all(&self) -> Vec<Arc<Mount>> {
        self.router.load().all().filter(|mount| mount.entry.serves()).cloned().collect()
    }

    /// The types that can be mounted.
    pub(crate) fn kinds(&self, class: MountClass) -> Vec<String> {
        self.registry.kinds(class).map(str::to_owned).collect()
    }

    /// All mounts that serve, by their accessors.
    pub(crate) fn by_accessor(&self) -> ByAccessor {
        let mounts = self.all();
        mounts.iter().map(|mount| (mount.info.accessor.clone(), mount.info.clone())).collect()
    }

    /// Where the cubbyholes are.
    pub(crate) fn cubbyhole(&self) -> Option<View> {
        self.router.load().at("cubbyhole/").map(|mount| mount.view.clone())
    }

    fn first_table(&self) -> Vec<MountEntry> {
        let own = |class, path: &str, kind: &str, description: &str| MountEntry {
            class,
            path: path.to_owned(),
            kind: kind.to_owned(),
            uuid: self.random.uuid(),
            accessor: self.accessor(class, kind),
            description: description.to_owned(),
            options: None,
            config: MountConfig::default(),
            local: kind == "cubbyhole",
            seal_wrap: kind == "system",
            doomed: false,
            moving_to: None,
        };
        let secret = MountClass::Secret;
        let mut system = own(
            secret,
            "sys/",
            "system",
            "system endpoints used for control, policy and debugging",
        );
        system.config.passthrough_request_headers = vec!["Accept".to_owned()];
        let mut identity = own(secret, "identity/", "identity", "identity store");
        identity.config.passthrough_request_headers = vec!["Authorization".to_owned()];
        let cubbyhole = own(secret, "cubbyhole/", "cubbyhole", "per-token private secret storage");
        let token = own(MountClass::Auth, "token/", "token", "token based credentials");
        vec![cubbyhole, identity, system, token]
    }

    fn accessor(&self, class: MountClass, kind: &str) -> String {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        let digits = hex::encode(bytes);
        match class {
            MountClass::Secret => format!("{kind}_{digits}"),
            MountClass::Auth => format!("auth_{kind}_{digits}"),
        }
    }

    /// Builds the mount of a row.
    fn build(&self, entry: MountEntry) -> Result<Mount, Error> {
        let info = Arc::new(entry.info(self.limits));
        let view = self.root.sub(&entry.storage());
        let (target, special) = match (entry.class, entry.kind.as_str()) {
            (MountClass::Secret, "system") => (Target::System, crate::sys::special_paths()),
            (MountClass::Secret, "identity") => {
                (Target::Identity, crate::identity::special_paths())
            }
            (MountClass::Auth, "token") => (Target::Token, crate::tokens::special_paths()),
            (class, kind) => {
                let factory = self.registry.factory(class, kind).ok_or_else(|| {
                    Error::invalid(format!("plugin not found in the catalog: {kind}"))
                })?;
                let backend = factory(Context {
                    storage: view.clone(),
                    clock: self.clock.clone(),
                    random: self.random.clone(),
                    passwords: self.passwords.clone(),
                    mount: info.clone(),
                });
                let special = backend.special_paths();
                (Target::Backend(backend), special)
            }
        };
        Ok(Mount { entry, info, target, special, view })
    }

    /// Writes the table of `router`, then lets it route.
    async fn publish(&self, router: Router) -> Result<(), EntryError> {
        let table: Vec<_> = router.all().map(|mount| &mount.entry).collect();
        self.root.put_json(TABLE, &table).await?;
        self.router.store(Arc::new(router));
        Ok(())
    }
}

//! The kinds of mounts that this server can make.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_logical::{Backend, Context};

/// Builds the backend of one mount.
pub type MountFactory = Arc<dyn Fn(Context) -> Arc<dyn Backend> + Send + Sync>;

/// Whether a mount keeps secrets or lets people in: the two have lists, and paths, of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountClass {
    /// `sys/mounts`: engines.
    Secret,
    /// `sys/auth`: login methods, all under `auth/`.
    Auth,
}

/// What can be mounted, by type. The binary fills it; `sys`, `token` and `identity` are the
/// server's own and always there.
#[derive(Clone, Default)]
pub struct Registry {
    secret: BTreeMap<String, MountFactory>,
    auth: BTreeMap<String, MountFactory>,
}

impl Registry {
    /// Adds an engine, such as `kv`. The type `cubbyhole` is mounted by itself, once.
    pub fn secret(
        mut self,
        kind: &str,
        factory: impl Fn(Context) -> Arc<dyn Backend> + Send + Sync + 'static,
    ) -> Self {
        self.secret.insert(kind.to_owned(), Arc::new(factory));
        self
    }

    /// Adds a login method, such as `approle`.
    pub fn auth(
        mut self,
        kind: &str,
        factory: impl Fn(Context) -> Arc<dyn Backend> + Send + Sync + 'static,
    ) -> Self {
        self.auth.insert(kind.to_owned(), Arc::new(factory));
        self
    }

    /// The types of `class`, in order.
    pub(crate) fn kinds(&self, class: MountClass) -> impl Iterator<Item = &str> {
        let factories = match class {
            MountClass::Secret => &self.secret,
            MountClass::Auth => &self.auth,
        };
        factories.keys().map(String::as_str)
    }

    pub(crate) fn factory(&self, class: MountClass, kind: &str) -> Option<&MountFactory> {
        match class {
            MountClass::Secret => self.secret.get(kind),
            MountClass::Auth => self.auth.get(kind),
        }
    }
}

//! What stands before the core: the paths that answer while it is sealed or without a token, and
//! the life cycle that those paths drive.
//!
//! All other requests go to the core. Those of `sys/` that concern the server itself, such as
//! audit devices and key rotation, come back from there, authorised and audited, by
//! [`ServerPaths`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use holdfast_types::Clock;

use crate::http::Handler;
use crate::settings::CorsVerdict;
use crate::wire::{Incoming, Outgoing, Verb};

mod chain;
mod health;
mod init;
mod key_rotation;
mod lifecycle;
mod new_store;
mod paths;
mod quorum;
mod root_token;
mod rotation;
mod status;

pub use lifecycle::{Lifecycle, LifecycleError, LifecycleParts};
pub use paths::ServerPaths;

pub(crate) use chain::Chain;
use chain::report;
#[cfg(test)]
pub(crate) use paths::special_paths_of_sys;

/// The version that clients are told. They switch features on by it, so it begins with that of the
/// API it follows.
pub const VERSION: &str = concat!("2.7.2+holdfast.", env!("CARGO_PKG_VERSION"));

/// Answers every request of the listeners.
pub struct Front {
    lifecycle: Arc<Lifecycle>,
    clock: Arc<dyn Clock>,
}

impl Front {
    /// In front of `lifecycle`'s core.
    pub fn new(lifecycle: Arc<Lifecycle>, clock: Arc<dyn Clock>) -> Self {
        Self { lifecycle, clock }
    }
}

#[async_trait]
impl Handler for Front {
    async fn handle(&self, incoming: Incoming) -> Outgoing {
        let granted = match self.lifecycle.core().cors(&incoming.headers) {
            CorsVerdict::Pass(granted) => granted,
            CorsVerdict::Answer(refused) => return refused,
        };
        let mut outgoing = self.answer(incoming).await;
        outgoing.headers.extend(granted);
        outgoing
    }

    async fn open_metrics(&self, incoming: Incoming) -> Outgoing {
        self.lifecycle.core().metrics(&incoming).await
    }

    fn preflight(&self, headers: &BTreeMap<String, String>) -> Option<Outgoing> {
        self.lifecycle.core().preflight(headers)
    }
}

impl Front {
    async fn answer(&self, incoming: Incoming) -> Outgoing {
        let lifecycle = &self.lifecycle;
        // With a slash at its end it is another path, which the core asks a token for.
        match (incoming.path.as_str(), incoming.verb) {
            ("sys/health", Verb::Read) => {
                health::answer(lifecycle, self.clock.now(), &incoming.data)
            }
            ("sys/seal-status", Verb::Read) => Outgoing::json(200, status::seal_status(lifecycle)),
            ("sys/leader", Verb::Read) => status::leader(lifecycle),
            ("sys/init", Verb::Read) => init::is_initialized(lifecycle),
            ("sys/init", Verb::Write) => init::answer(lifecycle, &incoming.data).await,
            ("sys/unseal", Verb::Write) => status::unseal(lifecycle, &incoming.data).await,
            ("sys/seal", Verb::Write) if lifecycle.is_sealed() => Outgoing::empty(),
            ("sys/seal", Verb::Write) => self.seal(incoming).await,
            (
                "sys/health" | "sys/seal-status" | "sys/leader" | "sys/init" | "sys/unseal"
                | "sys/seal",
                verb,
            ) if verb != Verb::Help => Outgoing::errors(405, Vec::<String>::new()),
            _ if lifecycle.is_sealed() => Outgoing::errors(503, ["Vault is sealed"]),
            // As in OpenBao, where the forms without a token are switched off for good. Those with
            // one are `sys/rotate/...` and `sys/generate-root-token/...`.
            (path, _) if is_unauthenticated_workflow(path) => {
                Outgoing::errors(405, ["unsupported operation"])
            }
            _ => lifecycle.core().handle(incoming).await,
        }
    }

    /// The core says whether the caller may, and writes it down; sealing would stop it in the
    /// middle of that, so it follows here.
    async fn seal(&self, incoming: Incoming) -> Outgoing {
        let allowed = self.lifecycle.core().handle(incoming).await;
        if allowed.status == 204 {
            self.lifecycle.seal_by_operator().await;
        }
        allowed
    }
}

fn is_unauthenticated_workflow(path: &str) -> bool {
    let workflows = ["init", "update", "verify"].map(|step| format!("sys/rekey/{step}"));
    workflows.iter().any(|workflow| path == workflow)
        || matches!(path, "sys/generate-root/attempt" | "sys/generate-root/update")
}

#[cfg(test)]
mod tests;

//! What was seen of a process, kept for a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::attest::{Attested, Peer};
use super::core::Core;
use super::registry::Registry;

/// How old what was seen of a process may get. Sooner than that it is looked at again where it
/// executes another program.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What was seen of one process.
#[derive(Debug, Default)]
pub(super) struct Seen(Option<Look>);

#[derive(Debug)]
struct Look {
    attested: Arc<Attested>,
    /// When it began.
    at: Instant,
    with_hash: bool,
}

impl Seen {
    /// Whether the process still is what it was seen to be.
    pub(super) fn is_still(&self, core: &Core, process: &Peer) -> bool {
        let look = self.0.as_ref();
        look.is_some_and(|look| core.attestor.is_still(process, &look.attested).is_ok())
    }

    /// What is to be known of the process; it is looked at where what is known may be old.
    pub(super) async fn look(
        &mut self,
        core: &Core,
        process: &Peer,
        registry: &Registry,
    ) -> Result<Arc<Attested>, Status> {
        if let Some(look) = &self.0
            && look.at.elapsed() < LOOK_AGAIN
            && (look.with_hash || !registry.wants_hash())
            && self.is_still(core, process)
        {
            return Ok(look.attested.clone());
        }
        self.0 = None;
        let at = Instant::now();
        let attested = Arc::new(core.attest_process(process, registry).await?);
        let with_hash = registry.wants_hash();
        self.0 = Some(Look { attested: attested.clone(), at, with_hash });
        Ok(attested)
    }

    /// The same, by a look that did not begin before `moment`.
    pub(super) async fn since(
        &mut self,
        moment: Instant,
        core: &Core,
        process: &Peer,
        registry: &Registry,
    ) -> Result<Arc<Attested>, Status> {
        if self.0.as_ref().is_some_and(|look| look.at < moment) {
            self.0 = None;
        }
        self.look(core, process, registry).await
    }
}

//! Delivery as a part of the agent: built of its configuration, and anew of each that comes.

use std::sync::Arc;

use holdfast_types::{Clock, Random};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Delivery, DeliveryError, Exit, Settings};
use crate::config::AgentConfig;
use crate::consumer::Launcher;
use crate::session::Session;
use crate::status::StatePlace;

/// What delivery takes from the agent.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) session: Session,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) launcher: Option<Launcher>,
}

impl Parts {
    /// Takes charge of the files that `config` names.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub(crate) fn build(&self, config: &Arc<AgentConfig>) -> Result<Delivery, DeliveryError> {
        Delivery::build(Settings {
            config: Arc::clone(config),
            state: StatePlace::of(&config.read_from, config.state_dir.as_deref()),
            session: self.session.clone(),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            launcher: self.launcher.clone(),
        })
    }

    /// Runs `delivery`, and in its place one of each configuration that is read anew. Says to
    /// `rendered` once everything is.
    pub(crate) async fn run(
        self,
        mut delivery: Delivery,
        mut reloads: watch::Receiver<Arc<AgentConfig>>,
        rendered: watch::Sender<bool>,
        shutdown: CancellationToken,
    ) -> Exit {
        let mut running_with = reloads.borrow_and_update().clone();
        loop {
            let ending = shutdown.child_token();
            let running = delivery.run(rendered.clone(), ending.clone());
            tokio::pin!(running);
            let next = loop {
                tokio::select! {
                    exit = &mut running => return exit,
                    Some(next) = changed(&mut reloads) => {
                        if running_with.exec.is_some() && next.exec.is_some() {
                            // It would end the process, which nobody asked for.
                            warn!("templates of an agent with a process are not read anew");
                            continue;
                        }
                        break next;
                    }
                }
            };
            ending.cancel();
            match running.await {
                Exit::Stopped if !shutdown.is_cancelled() => {}
                exit => return exit,
            }
            delivery = match self.build(&next) {
                Ok(delivery) => {
                    info!("templates were read anew");
                    running_with = next;
                    delivery
                }
                Err(failed) => {
                    let why = crate::chain(&failed);
                    error!(why, "templates cannot be taken over; those before stay");
                    match self.build(&running_with) {
                        Ok(delivery) => delivery,
                        Err(failed) => return Exit::Failed(crate::chain(&failed)),
                    }
                }
            };
        }
    }
}

/// The next configuration. None where there will be none, after which this is not asked again.
async fn changed(reloads: &mut watch::Receiver<Arc<AgentConfig>>) -> Option<Arc<AgentConfig>> {
    match reloads.changed().await {
        Ok(()) => Some(reloads.borrow_and_update().clone()),
        Err(_) => std::future::pending().await,
    }
}

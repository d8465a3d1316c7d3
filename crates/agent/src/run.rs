//! The agent as a whole: its parts, and what ends it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_types::{Clock, Random};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::auth::{Authenticator, LoginError};
use crate::config::{AgentConfig, AutoAuthConfig, ServerConfig};
use crate::consumer::Launcher;
use crate::delivery::{Delivery, DeliveryError, Exit, Parts};
use crate::proxy::{Proxy, ProxyError, Reloader};
use crate::session::{Keeper, Rules, Session, State};
use crate::sink::{SinkError, Sinks};

/// Why the agent cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It cannot log in, and is told to end then.
    #[error("log in")]
    Login(#[from] LoginError),
    /// A sink that could never be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A listener.
    #[error("set up the listeners")]
    Proxy(#[from] ProxyError),
    /// The file with the process id.
    #[error("write the process id to {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no place for files.
    #[error(transparent)]
    Files(#[from] DeliveryError),
    /// What the operator wants no agent to go on without.
    #[error("deliver: {0}")]
    Delivery(String),
    /// A part of it panicked.
    #[error("a part of the agent failed")]
    Part(#[source] tokio::task::JoinError),
}

/// What the agent takes from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The configuration, each time that it is to be read anew (SIGHUP). The first is what the agent
    /// was built from.
    pub reloads: watch::Receiver<Arc<AgentConfig>>,
    /// Told whether everything is rendered, and everybody was told of it.
    pub rendered: watch::Sender<bool>,
    /// What a process in `exec` is started by, so that it ends with the agent.
    pub launcher: Option<Launcher>,
    /// Cancelled when the agent is to end; it cancels it too, when it ends by itself.
    pub shutdown: CancellationToken,
}

/// An agent whose files and sockets are found good, not running yet.
pub struct Agent {
    config: Arc<AgentConfig>,
    surroundings: Surroundings,
    keeper: Option<(Keeper, Session)>,
    sinks: Sinks,
    delivery: Option<(Parts, Delivery)>,
    proxy: Proxy,
    servers: watch::Sender<ServerConfig>,
}

/// What ended one part: the exit code of the process in `exec`, if it was that.
type Ended = Result<Option<u8>, AgentError>;

impl Agent {
    /// Looks at all that can be looked at before anything is done.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn build(surroundings: Surroundings) -> Result<Self, AgentError> {
        let config = surroundings.reloads.borrow().clone();
        for warning in &config.warnings {
            warn!("{warning}");
        }
        let (servers, receiver) = watch::channel(config.server.clone());
        let keeper = match (&config.auto_auth, Authenticator::new(&config)?) {
            (Some(auth), Some(authenticator)) => Some(Keeper::new(
                Box::new(authenticator),
                rules(auth),
                surroundings.clock.clone(),
                surroundings.random.clone(),
                receiver,
            )),
            _ => None,
        };
        let sinks = config.auto_auth.as_ref().map_or(&[][..], |auth| &auth.sinks);
        let sinks = Sinks::open(sinks)?;
        let delivery = keeper.as_ref().map(|(_, session)| {
            let parts = Parts {
                session: session.clone(),
                clock: surroundings.clock.clone(),
                random: surroundings.random.clone(),
                launcher: surroundings.launcher.clone(),
            };
            parts.build(&config).map(|delivery| (parts, delivery))
        });
        let delivery = delivery.transpose()?;
        let session = keeper.as_ref().map(|(_, session)| session.clone());
        let Surroundings { random, shutdown, .. } = &surroundings;
        let chance_and_time = (random.clone(), surroundings.clock.clone());
        let proxy = Proxy::open(&config, session, chance_and_time, shutdown.clone()).await?;
        Ok(Self { config, surroundings, keeper, sinks, delivery, proxy, servers })
    }

    /// Runs until it is told to end, or has nothing more to do. Gives the exit code: that of the
    /// process in `exec`, where its end was the agent's.
    ///
    /// # Errors
    /// What keeps it from going on.
    pub async fn run(self) -> Result<u8, AgentError> {
        let Self { config, surroundings, keeper, sinks, delivery, proxy, servers } = self;
        let _pid = config.pid_file.as_deref().map(PidFile::write).transpose()?;
        let shutdown = surroundings.shutdown.clone();
        let mut parts: JoinSet<Ended> = JoinSet::new();
        let (written, in_sinks) = watch::channel(0);
        let rendered = surroundings.rendered.clone();
        let all_rendered = rendered.subscribe();
        if let Some((made_of, delivery)) = delivery {
            let (reloads, ending) = (surroundings.reloads.clone(), shutdown.clone());
            parts.spawn(async move {
                match made_of.run(delivery, reloads, rendered, ending).await {
                    Exit::Stopped => Ok(None),
                    Exit::Process(code) => Ok(Some(code)),
                    Exit::Failed(why) => Err(AgentError::Delivery(why)),
                }
            });
        }
        if let Some((keeper, session)) = keeper {
            let ending = shutdown.clone();
            parts.spawn(async move { Ok(keeper.run(ending).await.map(|()| None)?) });
            let (states, ending) = (session.clone(), shutdown.clone());
            parts.spawn(async move {
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = sinks.run(states, written) => {}
                }
                Ok(None)
            });
            if config.exit_after_auth {
                let ending = shutdown.clone();
                parts.spawn(async move {
                    tokio::select! {
                        () = ending.cancelled() => {}
                        () = delivered(&session, in_sinks, all_rendered) => {
                            info!("logged in and delivered: exit_after_auth");
                        }
                    }
                    Ok(None)
                });
            }
        } else {
            info!("there is no auto_auth: requests carry the tokens that callers bring");
        }
        let (reloads, ending) = (surroundings.reloads.clone(), shutdown.clone());
        let certificates = proxy.reloader();
        parts.spawn(async move {
            tokio::select! {
                () = ending.cancelled() => {}
                () = pass_on(reloads, &servers, &certificates) => {}
            }
            Ok(None)
        });
        parts.spawn(async move {
            proxy.run().await;
            Ok(None)
        });
        let ended = parts.join_next().await;
        shutdown.cancel();
        let mut outcome = ended.map_or(Ok(None), flatten);
        while let Some(part) = parts.join_next().await {
            let part = flatten(part);
            // What failed first is why; an exit code is worth more than none.
            if let (Ok(None), part) = (&outcome, part) {
                outcome = part;
            }
        }
        debug!("ended");
        outcome.map(|code| code.unwrap_or(0))
    }
}

fn flatten(part: Result<Ended, tokio::task::JoinError>) -> Ended {
    part.unwrap_or_else(|error| Err(AgentError::Part(error)))
}

fn rules(auth: &AutoAuthConfig) -> Rules {
    Rules {
        min_backoff: auth.method.min_backoff,
        max_backoff: auth.method.max_backoff,
        exit_on_err: auth.method.exit_on_err,
    }
}

/// Waits for what `exit_after_auth` waits for; for ever, where that cannot come any more: then the
/// agent ends by what keeps it from coming.
async fn delivered(
    session: &Session,
    mut in_sinks: watch::Receiver<u64>,
    mut all_rendered: watch::Receiver<bool>,
) {
    let mut states = session.states();
    let all = async {
        states.wait_for(|state| !matches!(state, State::LoggedOut)).await?;
        in_sinks.wait_for(|generation| *generation > 0).await?;
        all_rendered.wait_for(|done| *done).await?;
        Ok::<(), watch::error::RecvError>(())
    };
    if all.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Tells the session and the listeners of each configuration that is read anew.
async fn pass_on(
    mut reloads: watch::Receiver<Arc<AgentConfig>>,
    servers: &watch::Sender<ServerConfig>,
    certificates: &Reloader,
) {
    let built = reloads.borrow_and_update().clone();
    while reloads.changed().await.is_ok() {
        let config = reloads.borrow_and_update().clone();
        for (what, same) in [
            ("auto_auth", config.auto_auth == built.auto_auth),
            ("listener", config.listeners == built.listeners),
            ("api_proxy", config.api_proxy == built.api_proxy),
            ("cache", config.cache == built.cache),
        ] {
            if !same {
                warn!("{what} is another: that takes effect with the next start");
            }
        }
        let server = config.server.clone();
        certificates.reload(&server);
        servers.send_replace(server);
    }
    // Nobody will reload any more, which is no reason to end.
    std::future::pending::<()>().await;
}

/// The file that tells the process id, while the process lives.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self, AgentError> {
        std::fs::write(path, std::process::id().to_string())
            .map_err(|source| AgentError::PidFile { path: path.to_owned(), source })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

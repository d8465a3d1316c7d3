//! Requests that the agent passes on to the server, for programs that need not know a token.
//!
//! [`serve`] accepts connections, [`pass`] passes a request on, [`endpoints`] answers what is the
//! agent's own. A request's body and an answer's are streamed; only what the cache may keep is held.

mod body;
mod counters;
mod endpoints;
mod limits;
mod pass;
mod sanitize;
mod serve;
mod socket;
mod tls;

use std::sync::Arc;

use arc_swap::ArcSwap;
use holdfast_client::vault::{ConfigError, Forwarder, VaultClient};
use holdfast_types::{Clock, Random};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cache::{Cache, digest};
use crate::chain;
use crate::config::{AgentConfig, AutoAuthToken, ServerConfig};
use crate::session::Session;
use counters::Counters;
pub use socket::BindError;
use socket::Listener;
pub use tls::TlsError;

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The server's certificates.
    #[error("set up the client")]
    Client(#[from] ConfigError),
    /// A socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The agent's listeners, bound and not serving yet.
pub(crate) struct Proxy {
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
}

/// What all requests share.
struct Shared {
    upstream: ArcSwap<Upstream>,
    token: AutoAuthToken,
    session: Option<Session>,
    cache: Option<Arc<Cache>>,
    counters: Counters,
    random: Arc<dyn Random>,
    clock: Arc<dyn Clock>,
    /// Ends the agent.
    shutdown: CancellationToken,
}

/// Ways to the server.
struct Upstream {
    forwarder: Forwarder,
    /// Renews what is kept.
    client: VaultClient,
}

impl Upstream {
    fn new(server: &ServerConfig) -> Result<Self, ConfigError> {
        let once = ServerConfig { max_retries: 0, namespace: None, ..server.clone() };
        let config = once.client_config()?;
        Ok(Self { forwarder: Forwarder::new(&config)?, client: VaultClient::new(&config)? })
    }
}

impl Proxy {
    /// Binds every listener.
    pub(crate) async fn open(
        config: &AgentConfig,
        session: Option<Session>,
        (random, clock): (Arc<dyn Random>, Arc<dyn Clock>),
        shutdown: CancellationToken,
    ) -> Result<Self, ProxyError> {
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(Listener::open(listener.clone()).await?);
        }
        let shared = Shared {
            upstream: ArcSwap::from_pointee(Upstream::new(&config.server)?),
            token: config.api_proxy.use_auto_auth_token,
            session,
            cache: config.cache.map(|limits| Arc::new(Cache::new(limits))),
            counters: Counters::default(),
            random,
            clock,
            shutdown,
        };
        Ok(Self { listeners, shared: Arc::new(shared) })
    }

    /// What reads certificates anew.
    pub(crate) fn reloader(&self) -> Reloader {
        let tls = self.listeners.iter().filter_map(|listener| listener.tls.clone()).collect();
        Reloader { shared: Arc::clone(&self.shared), tls }
    }

    /// Serves until the agent ends.
    pub(crate) async fn run(self) {
        let Self { listeners, shared } = self;
        for listener in &listeners {
            info!(address = %listener, "listening");
        }
        let owner = Arc::clone(&shared);
        let managing = tokio::spawn(async move { owner.manage().await });
        serve::serve(listeners, &shared).await;
        managing.abort();
    }
}

impl Shared {
    /// Tells the cache which token is the agent's own.
    async fn manage(&self) {
        let (Some(cache), Some(session)) = (&self.cache, &self.session) else { return };
        let mut states = session.states();
        let mut own: Option<(u64, [u8; 32])> = None;
        loop {
            let login = states.borrow_and_update().login().cloned();
            let generation = login.as_ref().map(|login| login.generation);
            if own.map(|(generation, _)| generation) != generation {
                if let Some((_, token)) = own.take() {
                    // Leases of the old token end with it, and nobody renews that any more.
                    cache.release(&token);
                }
                if let Some(token) = login.as_ref().and_then(|login| login.client.token()) {
                    let token = digest(token.expose());
                    cache.manage(token, CancellationToken::new());
                    own = generation.map(|generation| (generation, token));
                }
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Reads certificates anew: those of listeners, and those for the server.
pub(crate) struct Reloader {
    shared: Arc<Shared>,
    tls: Vec<Arc<tls::Tls>>,
}

impl Reloader {
    /// With something wrong, what was in use stays in use.
    pub(crate) fn reload(&self, server: &ServerConfig) {
        match Upstream::new(server) {
            Ok(upstream) => self.shared.upstream.store(Arc::new(upstream)),
            Err(error) => warn!(error = %chain(&error), "read the server's certificates"),
        }
        for tls in &self.tls {
            if let Err(error) = tls.reload() {
                warn!(error = %chain(&error), "read a listener's certificate");
            }
        }
    }
}

#[cfg(test)]
mod tests;

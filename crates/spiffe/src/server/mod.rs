//! The server: authorities, entries, nodes.
//!
//! It starts in two steps: [`Server::build`] opens the store and binds the sockets, and fails early;
//! [`Server::run`] serves. Its own users and the agent on its machine come through one Unix socket,
//! where the kernel says who they are.

mod admin;
mod audit;
pub mod authority;
mod declare;
pub mod federation;
mod local;
mod node;
mod peer;
mod registrar;
mod registry;
pub mod rules;
pub mod store;
pub mod svid;
mod tls;
mod web;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_barrier::{Entries, EntryError, View};
use holdfast_types::{Clock, Random, SpiffeId, TrustDomain};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub use audit::Audit;
use authority::upstream::Upstream;
use authority::{Authorities, AuthorityError, AuthoritySettings};
pub use declare::{DeclareError, DeclaredIn};
use federation::{Federation, WebRoots};
pub use node::{Attestors, ClusterError, ClusterSettings, K8sPsat, X509Pop};
use node::{JoinTokens, Nodes};
pub use registrar::{Reconciled, Registrar, RegistrarError};
pub use registry::{InvalidEntry, local_agent, server_id};

use crate::{Entry, Selector};

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Where operators and the agent of this machine connect.
    pub socket: PathBuf,
    /// Where agents of other machines connect, over TLS; none for not at all.
    pub node_address: Option<SocketAddr>,
    /// Where everybody reads the bundle and OIDC discovery, over TLS; none for not at all.
    pub web_address: Option<SocketAddr>,
    /// The server's DNS names, in the certificate that it shows over TLS.
    pub dns_names: Vec<String>,
    /// Who certifies the bundle endpoints of other trust domains that are known by their names.
    pub web_roots: WebRoots,
    /// Users besides root and the server's own whose agent is this machine's.
    pub agent_uids: BTreeSet<u32>,
    /// The files that declare entries.
    pub declared: DeclaredIn,
    /// How the authorities are to be.
    pub authorities: AuthoritySettings,
    /// Life of X.509-SVIDs whose entry does not say. Default: 1 h.
    pub x509_ttl: Duration,
    /// The same for JWT-SVIDs. Default: 5 min.
    pub jwt_ttl: Duration,
    /// The same for agents' own SVIDs. Default: 1 h.
    pub agent_ttl: Duration,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error("read the store")]
    Store(#[from] EntryError),
    /// There is no authority, and none can be had.
    #[error("start without an authority")]
    Authority(#[from] AuthorityError),
    /// A socket cannot be bound.
    #[error("listen on {place}")]
    Listen {
        /// Its path or address.
        place: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What all sides of the server work on.
pub(crate) struct Shared {
    pub(crate) settings: ServerSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) authorities: Authorities,
    pub(crate) registrar: Registrar,
    pub(crate) nodes: Nodes,
    pub(crate) join_tokens: JoinTokens,
    pub(crate) federation: Federation,
    pub(crate) audit: Audit,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) attestors: Attestors,
    /// Ends the streams that have no end of their own.
    pub(crate) ending: CancellationToken,
    /// Somebody wants the files that declare entries read.
    pub(crate) reread: Arc<Notify>,
}

impl Shared {
    /// Gives a node another identity, under which entries can stand.
    pub(crate) async fn alias(&self, agent: &SpiffeId, alias: SpiffeId) -> Result<(), Status> {
        let entry = Entry {
            id: String::new(),
            spiffe_id: alias,
            parent: agent.clone(),
            selectors: BTreeSet::from([Selector::new("spiffe_id", agent.as_str())]),
            x509_ttl: None,
            jwt_ttl: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            hint: String::new(),
            federates_with: BTreeSet::new(),
            created: self.clock.now(),
            revision: 0,
            origin: String::new(),
            expires: None,
        };
        match self.registrar.create(entry).await {
            Ok(_) | Err(RegistrarError::Similar(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A server that is ready to run.
pub struct Server {
    shared: Arc<Shared>,
    local: local::LocalListener,
    nodes: Option<TcpListener>,
    web: Option<TcpListener>,
}

/// Where a server's state, time and chance come from.
pub struct Surroundings {
    /// The sealed store, open.
    pub entries: Arc<dyn Entries>,
    /// Who signs its authorities; none: each signs itself.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Its audit log.
    pub audit: Audit,
    /// By what nodes may join besides tokens.
    pub attestors: Attestors,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// What listens at [`ServerSettings::web_address`], where whoever started this process made it.
    pub web: Option<std::net::TcpListener>,
}

impl Server {
    /// Reads the store, sees that there are authorities, and binds the sockets.
    ///
    /// # Errors
    /// See [`StartError`]. A server whose authorities are valid starts also when its upstream is
    /// out of reach.
    pub async fn build(settings: ServerSettings, with: Surroundings) -> Result<Self, StartError> {
        let Surroundings { entries, upstream, audit, attestors, clock, random, web } = with;
        let store = View::new(entries, "spiffe/");
        let authorities = Authorities::open(
            store.clone(),
            upstream,
            settings.authorities.clone(),
            clock.clone(),
            random.clone(),
        );
        let authorities = authorities.await?;
        match authorities.advance().await {
            Err(error) if !authorities.is_ready() => return Err(error.into()),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the authorities cannot be renewed at the moment");
            }
            Ok(()) => {}
        }
        let domain = &settings.trust_domain;
        let (entry_store, node_store) = (store.sub("entry/"), store.sub("node/"));
        let registrar =
            Registrar::open(entry_store, domain.clone(), clock.clone(), random.clone()).await?;
        let nodes = Nodes::open(node_store.clone(), domain, clock.clone()).await?;
        let join_tokens =
            JoinTokens::open(node_store, domain.clone(), clock.clone(), random.clone()).await?;
        let local = local::LocalListener::bind(&settings).map_err(|source| {
            let place = settings.socket.display().to_string();
            StartError::Listen { place, source }
        })?;
        let nodes_listener = listen(settings.node_address).await?;
        let web = match web {
            Some(made) => Some(take_over(made)?),
            None => listen(settings.web_address).await?,
        };
        let web_roots = settings.web_roots.clone();
        let federation =
            Federation::open(&store, domain.clone(), web_roots, clock.clone(), random.clone());
        let federation = federation.await?;
        let ending = CancellationToken::new();
        let shared = Shared {
            settings,
            clock,
            authorities,
            registrar,
            nodes,
            join_tokens,
            federation,
            audit,
            random,
            attestors,
            ending,
            reread: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared), local, nodes: nodes_listener, web })
    }

    /// The entries, for whoever declares some.
    pub fn registrar(&self) -> &Registrar {
        &self.shared.registrar
    }

    /// Has the files that declare entries read at once, whole as they must be then, where others wait
    /// until a file has stayed the same for a moment.
    pub fn reread(&self) -> Arc<Notify> {
        self.shared.reread.clone()
    }

    /// Where agents of other machines connect: the port, where the system chose it.
    pub fn node_address(&self) -> Option<SocketAddr> {
        self.nodes.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The same for the bundle and OIDC discovery.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.web.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { shared, local, nodes, web } = self;
        tracing::info!(trust_domain = %shared.settings.trust_domain, "ready");
        tokio::join!(
            async {
                shutdown.cancelled().await;
                shared.ending.cancel();
            },
            shared.authorities.run(shutdown.clone()),
            local.run(shared.clone(), shutdown.clone()),
            async {
                if let Some(listener) = nodes {
                    tls::serve_nodes(shared.clone(), listener, shutdown.clone()).await;
                }
            },
            async {
                if let Some(listener) = web {
                    web::serve(shared.clone(), listener, shutdown.clone()).await;
                }
            },
            declare::run(shared.clone(), shared.settings.declared.clone(), shutdown.clone()),
            expire(&shared, shutdown.clone()),
            shared.federation.run(shutdown.clone()),
        );
    }
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let place = address.to_string();
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|source| StartError::Listen { place, source })
}

fn take_over(made: std::net::TcpListener) -> Result<TcpListener, StartError> {
    let taken = made.set_nonblocking(true).and_then(|()| TcpListener::from_std(made));
    let place = "the socket that was passed on".to_owned();
    taken.map_err(|source| StartError::Listen { place, source })
}

/// Removes what has ended, now and then.
async fn expire(shared: &Shared, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = shared.registrar.expire().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "remove entries that ended");
        }
        if let Err(error) = shared.join_tokens.expire().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "remove tokens that ended");
        }
        if let Err(error) = shared.nodes.expire().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "remove agents that ended");
        }
    }
}

#[cfg(test)]
mod tests;

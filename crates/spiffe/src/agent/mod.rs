//! The agent: sees who asks, and hands each workload its own identities.
//!
//! [`attest`] says who asks, [`registry`] what is theirs; [`svids`] and [`tokens`] have it signed and
//! keep it while it is young. [`core`] puts these together for the services on the socket: the
//! Workload API ([`workload`]), Envoy's ([`sds`]), and those on the other socket: for operators
//! ([`admin`]), and for who acts for others ([`delegated`]).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Clock, Random, SpiffeId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::Source;
use crate::proto::agent::agent_admin_server::AgentAdminServer;
use crate::proto::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryServiceServer;
use crate::proto::health::health_server::HealthServer;
use crate::proto::spire::api::agent::delegatedidentity::v1::delegated_identity_server::DelegatedIdentityServer;
use crate::proto::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;

mod admin;
pub mod attest;
mod caller;
mod core;
mod delegated;
mod denials;
mod follow;
mod health;
mod listen;
mod reflection;
mod registry;
mod sds;
mod seen;
mod shim;
mod svids;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod validate;
mod workload;

pub use listen::ListenError;

use admin::Admin;
use attest::{Attestor, Introductions, Kubelet};
use core::Core;
use delegated::Delegated;
use health::HealthService;
use listen::Socket;
use sds::Secrets;
use workload::Workload;

/// Whoever may connect gets what is theirs, and everybody may.
const SOCKET_MODE: u32 = 0o777;
/// Root and the agent's own user.
const ADMIN_MODE: u32 = 0o600;
/// Everybody may connect, of whom delegates are told by what they are, and operators by their user.
const ADMIN_MODE_WITH_DELEGATES: u32 = 0o666;
/// Requests that a connection may have open at once.
const REQUESTS: u32 = 1024;
/// The longest message that is read. Envoy's first is about 61 KB.
const MESSAGE: usize = 1024 * 1024;
/// The longest list of header fields, in bytes.
const HEADER_LIST: u32 = 32 * 1024;
/// How long streams may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// What an agent is made of.
pub struct AgentOptions {
    /// Where workloads connect.
    pub socket: PathBuf,
    /// The socket itself, where somebody else made it for the agent.
    pub listener: Option<OwnedFd>,
    /// Where operators connect, and delegates.
    pub admin_socket: PathBuf,
    /// The server.
    pub source: Arc<dyn Source>,
    /// The supervisor's children, where there is a supervisor.
    pub introductions: Option<Introductions>,
    /// The kubelet, where this machine is a node of Kubernetes.
    pub kubelet: Option<Kubelet>,
    /// Who may ask for the identities of the supervisor's children.
    pub authorized_delegates: BTreeSet<SpiffeId>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// An agent that listens.
pub struct Agent {
    socket: Socket,
    admin: Socket,
    source: Arc<dyn Source>,
    registry: watch::Sender<Option<Arc<registry::Registry>>>,
    core: Arc<Core>,
    delegated: Delegated,
}

impl Agent {
    /// Listens; nobody is answered yet. To be called within a runtime.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn build(options: AgentOptions) -> Result<Self, ListenError> {
        let AgentOptions { socket, listener, admin_socket, source, introductions, .. } = options;
        let AgentOptions { kubelet, authorized_delegates, clock, random, .. } = options;
        let socket = match listener {
            Some(listener) => Socket::inherited(listener)?,
            None => Socket::bind(&socket, SOCKET_MODE)?,
        };
        let admin_mode = match authorized_delegates.is_empty() {
            true => ADMIN_MODE,
            false => ADMIN_MODE_WITH_DELEGATES,
        };
        let admin = Socket::bind(&admin_socket, admin_mode)?;
        let (registry, known) = watch::channel(None);
        let attestor = Attestor::new(introductions, kubelet);
        let core = Core::new(source.clone(), attestor, known, clock, random);
        let delegated = Delegated::new(core.clone(), authorized_delegates);
        Ok(Self { socket, admin, source, registry, core, delegated })
    }

    /// Answers until `shutdown`.
    ///
    /// # Errors
    /// The transport failed.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), tonic::transport::Error> {
        let Self { socket, admin, source, registry, core, delegated } = self;
        let follow = tokio::spawn(registry::follow(source.watch(), registry, core.clock.clone()));
        let attestor = core.attestor.clone();
        let introduced = tokio::spawn(async move { attestor.keep_reading().await });
        let workload = SpiffeWorkloadApiServer::new(Workload::new(core.clone()))
            .max_decoding_message_size(MESSAGE);
        let secrets = SecretDiscoveryServiceServer::new(Secrets::new(core.clone()))
            .max_decoding_message_size(MESSAGE);
        let ended = shutdown.clone();
        let (reflection, older) = reflection::services();
        let workloads = limited()
            .add_service(workload)
            .add_service(secrets)
            .add_service(HealthServer::new(HealthService::new(core.clone())))
            .add_optional_service(reflection)
            .add_optional_service(older)
            .serve_with_incoming_shutdown(socket.connections(), async move {
                ended.cancelled().await;
                // With nobody to tell of changes, every stream ends.
                follow.abort();
                introduced.abort();
            });
        let operators = limited()
            .add_service(AgentAdminServer::new(Admin::new(core)))
            .add_service(DelegatedIdentityServer::new(delegated))
            .serve_with_incoming_shutdown(admin.connections(), shutdown.cancelled());
        tokio::select! {
            outcome = async { tokio::try_join!(workloads, operators) } => outcome.map(|_| ()),
            () = async { shutdown.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }
}

fn limited() -> Server {
    Server::builder().max_concurrent_streams(REQUESTS).http2_max_header_list_size(HEADER_LIST)
}

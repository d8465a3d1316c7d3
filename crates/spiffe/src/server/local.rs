//! The Unix socket: operators, and the agent on the same machine.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use holdfast_listen::Access;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::transport::Server as Grpc;
use tower::Service;

use super::peer::{Connection, Peer};
use super::{ServerSettings, Shared, admin, node};
use crate::proto::node::admin_server::AdminServer;
use crate::proto::node::node_server::NodeServer;

/// Connections that may be open at once: of owners, and as many of agents that run as other users.
const MAX_CONNECTIONS: usize = 256;
/// How long calls under way may take once the server is to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Streams that may be open on one of them.
const MAX_STREAMS: u32 = 1024;

/// A bound socket; its file goes with it.
pub(super) struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalListener {
    /// Binds the socket. One that a dead server left behind is replaced; a live one is an error.
    ///
    /// Only its owner may connect, or, where agents run as other users, everybody: the kernel says
    /// who they are.
    pub(super) fn bind(settings: &ServerSettings) -> io::Result<Self> {
        let path = &settings.socket;
        let mode = if settings.agent_uids.is_empty() { 0o600 } else { 0o666 };
        let access = Access { mode, user: None, group: None };
        let listener = holdfast_listen::unix(path, access).map_err(io::Error::other)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, path: path.clone() })
    }

    /// Serves until shutdown.
    pub(super) async fn run(self, shared: Arc<Shared>, shutdown: CancellationToken) {
        let Self { listener, path } = self;
        let incoming = accept(listener, shared.clone(), shutdown.clone());
        let served = Grpc::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(NodeServer::new(node::NodeService(shared.clone())))
            .add_service(Finished(AdminServer::new(admin::AdminService(shared))))
            .serve_with_incoming_shutdown(incoming, shutdown.cancelled());
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_LIMIT).await;
        };
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::error!(error = &error as &dyn std::error::Error, "serve the Unix socket");
            },
            () = deadline => {}
        }
        let _ = std::fs::remove_file(path);
    }
}

/// Carries each call to its end, though its caller goes away: the store does what it was told whether or
/// not anybody waits for it, and what is in force must not differ from that.
#[derive(Clone)]
struct Finished<S>(S);

impl<S: NamedService> NamedService for Finished<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Finished<S>
where
    S: Service<http::Request<B>, Error = Infallible>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let call = tokio::spawn(self.0.call(request));
        Box::pin(async move {
            match call.await {
                Ok(answer) => answer,
                Err(error) => match error.try_into_panic() {
                    // As it is without this.
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is ending.
                    Err(_) => std::future::pending().await,
                },
            }
        })
    }
}

/// Connections of whom the kernel told something.
fn accept(
    listener: UnixListener,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) -> impl Stream<Item = io::Result<Connection<tokio::net::UnixStream>>> {
    let (sender, receiver) = mpsc::channel(1);
    let places = Places::default();
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // Whoever is gone already needs no answer.
            let Ok(peer) = Peer::of_unix(&stream) else { continue };
            let place = tokio::select! {
                () = shutdown.cancelled() => return,
                place = places.take(&peer, &shared.settings.agent_uids) => place,
            };
            let Some(place) = place else {
                tracing::warn!(caller = %peer, "refused at the Unix socket");
                continue;
            };
            if sender.send(Ok(Connection::new(stream, peer, place))).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Places for connections. Users of agents take none from operators.
struct Places {
    owners: Arc<Semaphore>,
    agents: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        let places = || Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { owners: places(), agents: places() }
    }
}

impl Places {
    /// A place for this peer. Owners wait for one; for an agent's user nobody waits. None: there is
    /// none, or nothing is for this peer.
    async fn take(&self, peer: &Peer, agent_uids: &BTreeSet<u32>) -> Option<OwnedSemaphorePermit> {
        if peer.is_owner() {
            self.owners.clone().acquire_owned().await.ok()
        } else if peer.is_user(agent_uids) {
            self.agents.clone().try_acquire_owned().ok()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use nix::unistd::Uid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_agents_user_keeps_no_operator_out() {
        let (places, agents) = (Places::default(), BTreeSet::from([4_000_000]));
        let [root, agent, stranger] =
            [0, 4_000_000, 4_000_001].map(|uid| Peer::Unix { uid: Uid::from_raw(uid), pid: None });
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            held.push(places.take(&agent, &agents).await.unwrap());
        }
        assert!(places.take(&agent, &agents).await.is_none());
        assert!(places.take(&stranger, &agents).await.is_none());
        for _ in 0..MAX_CONNECTIONS {
            held.push(places.take(&root, &agents).await.unwrap());
        }
        let mut waiting = pin!(places.take(&root, &agents));
        let long = Duration::from_secs(3600);
        assert!(tokio::time::timeout(long, waiting.as_mut()).await.is_err(), "it waits");
        drop(held.pop());
        assert!(waiting.await.is_some());
        drop(held.remove(0));
        assert!(places.take(&agent, &agents).await.is_some());
    }
}

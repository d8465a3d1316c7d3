//! A server over the wire, as its agents and operators see it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use crate::proto::node as wire;
use crate::proto::node::admin_client::AdminClient;
use crate::proto::node::node_client::NodeClient;
use crate::replica::Replica;
use crate::wire::{WireError, time};
use crate::{JwtSvid, MintError, Snapshot, Source, X509Svid};

/// The longest message that is read. Updates come in pages, which one large entry may exceed.
const MAX_MESSAGE: usize = 16 << 20;
const CALL_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long after the server's word an agent may take to have its new SVID in use.
const CHANGE_LIMIT: Duration = Duration::from_secs(2);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// A channel to the server's Unix socket. It connects at the first call, and again when it must.
pub fn unix_channel(path: &Path) -> Channel {
    let path: PathBuf = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    // The address is only what HTTP/2 wants to see.
    Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_LIMIT)
        .connect_with_connector_lazy(connector)
}

/// The operators' side of the server at a Unix socket.
pub fn admin(path: &Path) -> AdminClient<Channel> {
    AdminClient::new(unix_channel(path)).max_decoding_message_size(MAX_MESSAGE)
}

/// A server over the wire, watched for as long as this lives.
pub struct RemoteSource {
    channels: watch::Receiver<Channel>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    ended: CancellationToken,
}

impl RemoteSource {
    /// The server at a Unix socket on this machine, which knows its agent by the kernel's word.
    /// Watching starts at once, and again whenever the connection is lost.
    pub fn unix(path: &Path) -> Self {
        Self::over(watch::channel(unix_channel(path)).1)
    }

    /// The server behind a channel, in whose place another one may be put.
    pub(crate) fn over(channels: watch::Receiver<Channel>) -> Self {
        let (sender, snapshots) = watch::channel(None);
        let ended = CancellationToken::new();
        let (watched, end) = (channels.clone(), ended.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = keep_watching(watched, sender) => {}
            }
        });
        Self { channels, snapshots, ended }
    }

    /// Asks, and asks once more where the server knew the agent by another SVID at that moment.
    async fn ask<T, C>(&self, question: impl Fn(NodeClient<Channel>) -> C) -> Result<T, Status>
    where
        C: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut channels = self.channels.clone();
        let current = client(&channels.borrow_and_update());
        let answer = limited(question(current)).await;
        match answer {
            Err(status)
                if status.code() == Code::PermissionDenied && has_changed(&mut channels).await =>
            {
                let current = client(&channels.borrow());
                limited(question(current)).await
            }
            answer => answer,
        }
    }
}

fn client(channel: &Channel) -> NodeClient<Channel> {
    NodeClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE)
}

/// Whether another channel takes this one's place now or in a moment.
async fn has_changed(channels: &mut watch::Receiver<Channel>) -> bool {
    let changed = tokio::time::timeout(CHANGE_LIMIT, channels.changed()).await;
    matches!(changed, Ok(Ok(())))
}

impl Drop for RemoteSource {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

async fn keep_watching(
    mut channels: watch::Receiver<Channel>,
    sender: watch::Sender<Option<Arc<Snapshot>>>,
) {
    let mut retry = FIRST_RETRY;
    loop {
        let current = client(&channels.borrow_and_update());
        let why = tokio::select! {
            // A channel that nobody can replace any more stays.
            Ok(()) = channels.changed() => continue,
            why = watch_once(current, &sender, &mut retry) => why,
        };
        tracing::warn!(why, "the SPIFFE server is not watched; trying again");
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LONGEST_RETRY);
    }
}

/// Passes on what the server says until that ends. Gives why it did.
async fn watch_once(
    mut client: NodeClient<Channel>,
    sender: &watch::Sender<Option<Arc<Snapshot>>>,
    retry: &mut Duration,
) -> String {
    let mut stream = match client.watch(wire::WatchRequest {}).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status.message().to_owned(),
    };
    let mut replica = Replica::new(sender.borrow().as_deref());
    loop {
        match stream.message().await {
            Ok(Some(update)) => match replica.take(update) {
                Ok(None) => {}
                Ok(Some(snapshot)) => {
                    *retry = FIRST_RETRY;
                    sender.send_replace(Some(Arc::new(snapshot)));
                }
                Err(error) => return error.to_string(),
            },
            Ok(None) => return "the server ended the stream".to_owned(),
            Err(status) => return status.message().to_owned(),
        }
    }
}

fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> MintError {
    MintError::Unavailable(source.into())
}

fn refused(entry: &str) -> impl Fn(Status) -> MintError {
    move |status| match status.code() {
        Code::NotFound => MintError::NoEntry(entry.to_owned()),
        Code::InvalidArgument => MintError::Invalid(status.message().to_owned()),
        _ => unavailable(status),
    }
}

async fn limited<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    let answer = tokio::time::timeout(CALL_LIMIT, call).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
    answer.map(tonic::Response::into_inner)
}

#[async_trait]
impl Source for RemoteSource {
    fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.snapshots.clone()
    }

    async fn mint_x509(&self, entry: &str, request: &[u8]) -> Result<X509Svid, MintError> {
        let request = wire::MintX509Request { entry_id: entry.to_owned(), csr: request.to_vec() };
        let ask = |mut client: NodeClient<_>| {
            let request = request.clone();
            async move { client.mint_x509(request).await }
        };
        let answer = self.ask(ask).await.map_err(refused(entry))?;
        if answer.certificates.is_empty() {
            return Err(unavailable(WireError::Missing("the certificate")));
        }
        Ok(X509Svid {
            chain: answer.certificates,
            not_before: time(answer.not_before).map_err(unavailable)?,
            not_after: time(answer.not_after).map_err(unavailable)?,
        })
    }

    async fn mint_jwt(&self, entry: &str, audiences: &[String]) -> Result<JwtSvid, MintError> {
        let request =
            wire::MintJwtRequest { entry_id: entry.to_owned(), audience: audiences.to_vec() };
        let ask = |mut client: NodeClient<_>| {
            let request = request.clone();
            async move { client.mint_jwt(request).await }
        };
        let answer = self.ask(ask).await.map_err(refused(entry))?;
        Ok(JwtSvid {
            token: answer.token.into(),
            issued_at: time(answer.issued_at).map_err(unavailable)?,
            expires_at: time(answer.expires_at).map_err(unavailable)?,
        })
    }
}

//! Accepting connections, and ending in good order.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Shared;
use super::limits::{Listening, Room};
use super::socket::{Listener, Socket};
use super::tls::Tls;

/// How much of what a caller sends may be waiting to be looked at, in a connection and in a stream
/// of HTTP/2: there may be 1,024 connections.
const WINDOW: u32 = 64 << 10;
/// How long an end waits for requests under way.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a full table of descriptors is left to empty before the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

trait ReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ReadWrite for T {}
/// A stream without its type, so that HTTP is compiled once.
type Stream = Box<dyn ReadWrite>;

/// Serves until the agent ends; then requests under way may finish.
pub(super) async fn serve(listeners: Vec<Listener>, shared: &Arc<Shared>) {
    let connections = TaskTracker::new();
    let accepting = TaskTracker::new();
    let abort = CancellationToken::new();
    for listener in listeners {
        let Listener { config, socket, tls } = listener;
        let acceptor = Acceptor {
            shared: Arc::clone(shared),
            listening: Arc::new(Listening::new(config)),
            tls,
            connections: connections.clone(),
            abort: abort.clone(),
        };
        accepting.spawn(acceptor.run(socket));
    }
    accepting.close();
    shared.shutdown.cancelled().await;
    accepting.wait().await;
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        warn!("requests were still under way");
        abort.cancel();
        connections.wait().await;
    }
}

#[derive(Clone)]
struct Acceptor {
    shared: Arc<Shared>,
    listening: Arc<Listening>,
    tls: Option<Arc<Tls>>,
    connections: TaskTracker,
    abort: CancellationToken,
}

impl Acceptor {
    async fn run(self, socket: Socket) {
        let shutdown = self.shared.shutdown.clone();
        loop {
            let next = async {
                let permit = Arc::clone(&self.listening.connections).acquire_owned().await.ok()?;
                Some((permit, accept(&socket).await))
            };
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Some((permit, Ok(stream))) => {
                    let this = self.clone();
                    self.connections.spawn(this.connection(stream, permit));
                }
                Some((_, Err(error))) => {
                    warn!(%error, "accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                None => return,
            }
        }
    }

    async fn connection(self, stream: Stream, _permit: Room) {
        tokio::select! {
            biased;
            () = self.abort.cancelled() => {}
            () = self.speak(stream) => {}
        }
    }

    async fn speak(&self, stream: Stream) {
        let Some(tls) = &self.tls else { return self.serve(stream).await };
        match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => self.serve(Box::new(stream)).await,
            Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
            Err(_) => debug!("TLS handshake took too long"),
        }
    }

    async fn serve(&self, stream: Stream) {
        let service = service_fn(|request: Request<Incoming>| {
            let (shared, listening) = (Arc::clone(&self.shared), Arc::clone(&self.listening));
            async move { Ok::<_, Infallible>(shared.answer(request, &listening).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The time for a request's head also bounds how long a connection rests before it.
        let config = &self.listening.config;
        let patience = config.idle_timeout.max(config.head_timeout);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(WINDOW as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .keep_alive_interval(config.idle_timeout)
            .keep_alive_timeout(config.head_timeout);
        let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let done = tokio::select! {
            done = serving.as_mut() => done,
            () = self.shared.shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = done {
            debug!(%error, "connection ended early");
        }
    }
}

async fn accept(socket: &Socket) -> std::io::Result<Stream> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Socket::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
    }
}

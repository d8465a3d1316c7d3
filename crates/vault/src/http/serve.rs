//! Accepting connections, serving them, and ending in good order.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use holdfast_logical::Connection;
use http::{Method, Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, debug, error, field, info_span, warn};

use super::activity::{ActiveRequest, Activity, Patience, Verdict, Watched};
use super::bind::{self, ACCEPT_PAUSE, BindError, Socket};
use super::body::AnswerBody;
use super::detachable::Detachable;
use super::request::Bodies;
use super::response::to_http;
use super::shares::{Place, Shares};
use super::tls::{Tls, TlsError};
use super::websocket::{self, Upgrade};
use super::{Capacity, Inherited, Limits, ListenerSettings, Parts, request};
use crate::wire::{Incoming, Messages, Outgoing, OutgoingBody, Verb};

/// What is read of a request's head, in bytes, before its end must have come.
const HEAD: usize = 128 << 10;
/// How long a connection that was told to end may take to do so.
const FAREWELL: Duration = Duration::from_secs(5);

/// A bound listener, not serving yet.
pub struct Listener {
    socket: Socket,
    tls: Option<Arc<Tls>>,
    limits: Limits,
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Its socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its certificate, key or CAs.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An inherited socket that would carry tokens in clear text over a network.
    #[error("{0} is reached from other machines, and its listener has no TLS")]
    Cleartext(SocketAddr),
}

impl Listener {
    /// Reads the certificate and binds the socket.
    ///
    /// # Errors
    /// What is wrong with either, before anything is served.
    pub fn open(
        settings: ListenerSettings,
        inherited: &mut Inherited,
    ) -> Result<Self, ListenerError> {
        let tls = settings.tls.map(Tls::load).transpose()?.map(Arc::new);
        let socket = bind::bind(&settings.socket, inherited)?;
        let this = Self { socket, tls, limits: settings.limits };
        match this.address().filter(|address| !address.ip().is_loopback()) {
            Some(address) if this.tls.is_none() && !settings.cleartext_anywhere => {
                Err(ListenerError::Cleartext(address))
            }
            _ => Ok(this),
        }
    }

    /// The TCP address it listens on: with the real port where port 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// Its TLS, for reloading.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }
}

/// Serves listeners until it is told to stop.
pub struct Server {
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    shares: Arc<Shares>,
    drain: Duration,
}

struct Shared {
    parts: Parts,
    requests: Semaphore,
    bodies: Semaphore,
    large_bodies: Semaphore,
    /// Requests, also those whose client has gone.
    work: TaskTracker,
    /// Cancelled when the server stops: a WebSocket has no end of its own.
    stopping: CancellationToken,
}

impl Server {
    /// A server that passes requests on to `parts.handler`.
    pub fn new(parts: Parts, capacity: &Capacity) -> Self {
        let shared = Shared {
            parts,
            requests: Semaphore::new(capacity.requests),
            bodies: Semaphore::new(capacity.bodies),
            large_bodies: Semaphore::new(capacity.large_bodies),
            work: TaskTracker::new(),
            stopping: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
            connections: Arc::new(Semaphore::new(capacity.connections)),
            shares: Shares::new(capacity),
            drain: capacity.drain,
        }
    }

    /// Serves until `shutdown`. Then it accepts nothing more, lets the requests under way finish
    /// for as long as the capacity's `drain` says, and returns.
    pub async fn run(self, listeners: Vec<Listener>, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        let socket_files: Vec<_> = listeners
            .iter()
            .filter_map(|listener| match &listener.socket {
                Socket::Unix(_, path) => path.clone(),
                Socket::Tcp(_) => None,
            })
            .collect();
        // Cancelled when the time to drain is over.
        let abort = CancellationToken::new();
        for listener in listeners {
            let acceptor = Acceptor {
                shared: Arc::clone(&self.shared),
                tls: listener.tls,
                limits: Arc::new(listener.limits),
                permits: Arc::clone(&self.connections),
                shares: Arc::clone(&self.shares),
                connections: connections.clone(),
                shutdown: shutdown.clone(),
                abort: abort.clone(),
            };
            accepting.spawn(acceptor.run(listener.socket));
        }
        accepting.close();
        shutdown.cancelled().await;
        self.shared.stopping.cancel();
        accepting.wait().await;
        for path in socket_files {
            let _ = std::fs::remove_file(path);
        }
        connections.close();
        self.shared.work.close();
        let drained = async {
            connections.wait().await;
            self.shared.work.wait().await;
        };
        if tokio::time::timeout(self.drain, drained).await.is_err() {
            let requests = self.shared.parts.in_flight.count();
            warn!(requests, "requests were still under way when the time to drain was over");
            abort.cancel();
            connections.wait().await;
        }
    }
}

/// One listener's accept loop.
#[derive(Clone)]
struct Acceptor {
    shared: Arc<Shared>,
    tls: Option<Arc<Tls>>,
    limits: Arc<Limits>,
    permits: Arc<Semaphore>,
    shares: Arc<Shares>,
    connections: TaskTracker,
    shutdown: CancellationToken,
    abort: CancellationToken,
}

impl Acceptor {
    async fn run(self, socket: Socket) {
        loop {
            let permit = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                permit = Arc::clone(&self.permits).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                accepted = accept(&socket) => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: the listener must outlive it.
                    warn!(%error, "accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let address = peer.map(|peer| peer.ip());
            let share = self.limits.address_share;
            // Hung up on: the others come at once, and do not wait behind those of one address.
            let Some(place) = self.shares.enter(address, share, permit) else { continue };
            let (acceptor, place) = (self.clone(), Arc::new(place));
            self.connections.spawn(async move {
                tokio::select! {
                    biased;
                    () = acceptor.abort.cancelled() => {}
                    () = acceptor.connection(stream, peer, place) => {}
                }
            });
        }
    }

    /// Serves one connection to its end.
    async fn connection(&self, stream: Stream, peer: Option<SocketAddr>, place: Arc<Place>) {
        let mut connection = connection_from(peer);
        let Some(tls) = &self.tls else {
            return match stream {
                Stream::Tcp(stream) => self.serve(stream, connection, place).await,
                Stream::Unix(stream) => self.serve(stream, connection, place).await,
            };
        };
        let handshake = async {
            match stream {
                Stream::Tcp(stream) => tls.acceptor().accept(Box::new(stream) as BoxStream).await,
                Stream::Unix(stream) => tls.acceptor().accept(Box::new(stream) as BoxStream).await,
            }
        };
        let stream = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return,
            done = tokio::time::timeout(self.limits.handshake_timeout, handshake) => done,
        };
        match stream {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                connection.client_certificates =
                    chain.iter().map(|certificate| certificate.to_vec()).collect();
                self.serve(stream, connection, place).await;
            }
            Ok(Err(error)) => debug!(%error, ?peer, "TLS handshake failed"),
            Err(_) => debug!(?peer, "TLS handshake took too long"),
        }
    }

    async fn serve<S>(&self, stream: S, connection: Connection, place: Arc<Place>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let active = activity.request();
            let (shared, limits) = (Arc::clone(&self.shared), Arc::clone(&self.limits));
            let (connection, place) = (connection.clone(), Arc::clone(&place));
            async move {
                let answer = shared.answer(request, connection, &limits, active, place).await;
                Ok::<_, Infallible>(answer)
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The watchdog below takes this over.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .keep_alive(true)
            .max_buf_size(HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            // What waits for its place is buffered: little for each of many connections.
            .initial_connection_window_size(256 << 10)
            .initial_stream_window_size(64 << 10)
            .keep_alive_interval(self.limits.idle_timeout)
            .keep_alive_timeout(self.limits.header_timeout);
        let stream = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
        let mut serving = std::pin::pin!(builder.serve_connection_with_upgrades(stream, service));
        let Limits { header_timeout, idle_timeout, .. } = *self.limits;
        let mut look = Instant::now() + header_timeout.min(idle_timeout);
        loop {
            tokio::select! {
                biased;
                done = serving.as_mut() => {
                    if let Err(error) = done {
                        debug!(error = %error, "connection ended early");
                    }
                    return;
                }
                () = self.shutdown.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    // `abort` bounds this.
                    let _ = serving.await;
                    return;
                }
                () = tokio::time::sleep_until(look) => match activity.verdict(self.patience()) {
                    Verdict::Wait(until) => look = until,
                    Verdict::HangUp => {
                        debug!("a request's head took too long");
                        return;
                    }
                    Verdict::Retire => {
                        serving.as_mut().graceful_shutdown();
                        let _ = tokio::time::timeout(FAREWELL, serving).await;
                        return;
                    }
                }
            }
        }
    }
}

impl Acceptor {
    /// Where others wait for a connection, none rests for long.
    fn patience(&self) -> Patience {
        let Limits { header_timeout: head, idle_timeout: idle, .. } = *self.limits;
        let is_crowded = self.permits.available_permits() == 0;
        Patience { head, idle: if is_crowded { idle.min(head) } else { idle } }
    }
}

impl Shared {
    async fn answer(
        self: Arc<Self>,
        mut request: Request<hyper::body::Incoming>,
        connection: Connection,
        limits: &Limits,
        active: ActiveRequest,
        place: Arc<Place>,
    ) -> Response<AnswerBody> {
        let upgrade = Upgrade::wanted(&mut request);
        let id = self.parts.random.uuid();
        let path = request.uri().path().to_owned();
        let method = method_name(request.method());
        let remote = match connection.remote_address {
            Some(address) => SocketAddr::new(address, connection.remote_port).to_string(),
            None => String::new(),
        };
        let started = self.parts.clock.now();
        let entered = self.parts.in_flight.enter(&id, started, remote, &path, method);
        if *request.method() == Method::OPTIONS && path.starts_with("/v1/") {
            let headers = request::header_fields(request.headers(), None);
            if let Some(answer) = self.parts.handler.preflight(&headers) {
                return to_http(answer);
            }
        }
        // The core fills in what it finds out.
        let span = info_span!(
            "vault.request",
            request.id = %id,
            http.method = method,
            mount = field::Empty,
            caller.accessor = field::Empty,
            http.status = field::Empty,
        );
        let room = place.room().cloned();
        let bodies = Bodies { all: &self.bodies, large: &self.large_bodies, room: room.as_deref() };
        let incoming = match request::read(request, id, connection, limits, &bodies).await {
            Ok(incoming) => incoming,
            Err(refusal) => return to_http(refusal),
        };
        let Ok(permit) = self.requests.try_acquire() else {
            return to_http(Outgoing::errors(503, ["too many requests are under way"]));
        };
        let own = room.as_ref().map(|room| Arc::clone(&room.requests).try_acquire_owned());
        let Ok(own) = own.transpose() else {
            let text = "too many requests from this address are under way";
            return to_http(Outgoing::errors(503, [text]));
        };
        permit.forget();
        let shared = Arc::clone(&self);
        let open_metrics = limits.open_metrics;
        let work = async move {
            let _entered = entered;
            // Without its connection, it is of its address still.
            let (_permit, _own, _room) = (ReturnPermit(&shared.requests), own, room);
            let handler = &shared.parts.handler;
            let outgoing = match open_metrics && incoming.token.is_none() && is_metrics(&incoming) {
                true => handler.open_metrics(incoming).await,
                false => handler.handle(incoming).await,
            };
            Span::current().record("http.status", outgoing.status);
            outgoing
        };
        let work = AssertUnwindSafe(work.instrument(span)).catch_unwind();
        // Dropping a half-done request could leave a database user that no lease knows of. So it
        // runs to its end, whatever becomes of the connection.
        let work = Detachable::new(self.work.track_future(work));
        match tokio::time::timeout(limits.request_timeout, work).await {
            Ok(Ok(Outgoing { body: OutgoingBody::Messages(messages), .. }))
                if upgrade.is_some() =>
            {
                self.go_on(upgrade, messages, place)
            }
            Ok(Ok(Outgoing { body: OutgoingBody::Lines(lines), status, headers })) => {
                let (body, write) = AnswerBody::of_lines(lines, active, self.stopping.clone());
                self.work.spawn(write);
                let head = Outgoing { status, body: OutgoingBody::Empty, headers };
                to_http(head).map(|_| body)
            }
            Ok(Ok(outgoing)) => to_http(outgoing),
            Ok(Err(_)) => {
                error!(path, "a request's handler panicked");
                to_http(Outgoing::errors(500, ["internal error"]))
            }
            Err(_) => {
                warn!(path, "a request takes too long; its client was told so");
                to_http(Outgoing::errors(503, ["the request takes too long; it may still succeed"]))
            }
        }
    }
}

impl Shared {
    /// Lets a connection go on as a WebSocket that `messages` are written to.
    fn go_on(
        &self,
        upgrade: Option<Upgrade>,
        messages: Box<dyn Messages>,
        place: Arc<Place>,
    ) -> Response<AnswerBody> {
        let Some(Upgrade { connection, answer }) = upgrade else {
            return to_http(Outgoing::errors(426, ["this path is read over a WebSocket"]));
        };
        let writing = websocket::write(connection, messages, self.stopping.clone());
        self.work.spawn(async move {
            writing.await;
            // It was a connection to its end.
            drop(place);
        });
        answer.map(AnswerBody::Whole)
    }
}

/// Gives a request's place back, also when its task panics.
struct ReturnPermit<'a>(&'a Semaphore);

impl Drop for ReturnPermit<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// A stream without its type, so that TLS is compiled once.
type BoxStream = Box<dyn ReadWrite>;

trait ReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ReadWrite for T {}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// Where a connection comes from. An IPv4 client of an IPv6 socket has a mapped address there,
/// which no IPv4 network that a role or a token is bound to would contain.
fn connection_from(peer: Option<SocketAddr>) -> Connection {
    Connection {
        remote_address: peer.map(|peer| peer.ip().to_canonical()),
        remote_port: peer.map_or(0, |peer| peer.port()),
        ..Connection::default()
    }
}

async fn accept(socket: &Socket) -> std::io::Result<(Stream, Option<SocketAddr>)> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // Answers are small and complete: waiting for more to send only adds latency.
            stream.set_nodelay(true)?;
            Ok((Stream::Tcp(stream), Some(peer)))
        }
        Socket::Unix(listener, _) => Ok((Stream::Unix(listener.accept().await?.0), None)),
    }
}

/// The method's name without keeping what a client made up.
fn is_metrics(incoming: &Incoming) -> bool {
    (incoming.path.as_str(), incoming.verb) == ("sys/metrics", Verb::Read)
}

fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "LIST", "SCAN", "HELP", "PUT", "POST", "PATCH", "DELETE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::connection_from;

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address() {
        for (peer, want) in [
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            let connection = connection_from(Some(peer.parse().unwrap()));
            assert_eq!(connection.remote_address, Some(want.parse().unwrap()), "{peer}");
            assert_eq!(connection.remote_port, 80);
        }
        assert_eq!(connection_from(None).remote_address, None);
    }
}

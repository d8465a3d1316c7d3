//! Who is at the other end of a connection, by the kernel's word or by a certificate.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_keys::x509::Certificate;
use nix::unistd::Uid;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// The other end.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// A process on this machine.
    Unix {
        uid: Uid,
        /// As it was when it connected; for the audit log alone.
        pid: Option<i32>,
    },
    /// Somebody over TLS, with the certificate that was shown and verified.
    Tls { certificate: Option<Arc<Certificate>> },
}

impl Peer {
    /// The process at the other end of a Unix socket.
    pub(crate) fn of_unix(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self::Unix { uid: Uid::from_raw(credentials.uid()), pid: credentials.pid() })
    }

    /// Whether it is root, or who runs this server.
    pub(crate) fn is_owner(&self) -> bool {
        matches!(self, Self::Unix { uid, .. } if uid.is_root() || *uid == Uid::effective())
    }

    /// Whether it is one of these users.
    pub(crate) fn is_user(&self, uids: &BTreeSet<u32>) -> bool {
        matches!(self, Self::Unix { uid, .. } if uids.contains(&uid.as_raw()))
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix { uid, pid } => write!(f, "uid {uid} pid {}", pid.unwrap_or_default()),
            Self::Tls { certificate: None } => f.write_str("tls without certificate"),
            Self::Tls { certificate: Some(certificate) } => {
                let names = certificate.names();
                let uri = names.iter().find_map(|name| match name {
                    holdfast_keys::x509::GeneralName::Uri(uri) => Some(uri.as_str()),
                    _ => None,
                });
                write!(f, "tls {}", uri.unwrap_or("without a URI"))
            }
        }
    }
}

/// How long somebody without a certificate may be connected: longer than it takes to join.
const STRANGER_LIMIT: Duration = Duration::from_secs(60);

/// A connection that knows its other end.
pub(crate) struct Connection<S> {
    stream: S,
    peer: Peer,
    /// When a stranger is to go: whoever does nothing would keep their place for ever.
    end: Option<Pin<Box<Sleep>>>,
    /// Its place among those that may be open at once.
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl<S> Connection<S> {
    pub(crate) fn new(stream: S, peer: Peer, place: tokio::sync::OwnedSemaphorePermit) -> Self {
        let is_stranger = matches!(peer, Peer::Tls { certificate: None });
        let end = is_stranger.then(|| Box::pin(tokio::time::sleep(STRANGER_LIMIT)));
        Self { stream, peer, end, _place: place }
    }
}

impl<S> Connected for Connection<S> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stranger_who_does_nothing_goes_and_an_agent_stays() {
        let places = Arc::new(Semaphore::new(2));
        let (ours, _theirs) = tokio::io::duplex(64);
        let connect = |stream, certificate| {
            let place = places.clone().try_acquire_owned().unwrap();
            Connection::new(stream, Peer::Tls { certificate }, place)
        };
        let mut stranger = connect(ours, None);
        let ended = timeout(STRANGER_LIMIT * 2, stranger.read_u8()).await.expect("an end");
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(stranger);
        assert_eq!(places.available_permits(), 2);

        let (ours, _theirs) = tokio::io::duplex(64);
        let der = holdfast_testkit::Ca::new("agents").der().to_vec();
        let mut agent = connect(ours, Some(Arc::new(Certificate::from_der(&der).unwrap())));
        assert!(timeout(STRANGER_LIMIT * 100, agent.read_u8()).await.is_err(), "it stays");
    }
}

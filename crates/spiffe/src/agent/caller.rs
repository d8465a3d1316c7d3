//! Connections: whose they are, and how many.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

use super::attest::{AttestError, Ending, Peer};
use super::seen::Seen;
use super::shim::Shim;

/// A process that has connected.
#[derive(Debug)]
pub(super) struct Caller {
    /// The process, or why it is not known.
    pub(super) peer: Result<Peer, AttestError>,
    pub(super) ending: Option<Ending>,
    /// The user that it connected as.
    pub(super) user: u32,
    /// What its streams go by. Who looks holds the lock, and the others wait for it.
    pub(super) seen: tokio::sync::Mutex<Seen>,
    _place: Place,
}

impl Caller {
    /// Returns once the process has ended.
    pub(super) async fn ended(&self) {
        match &self.ending {
            Some(ending) => ending.wait().await,
            None => std::future::pending().await,
        }
    }
}

/// A caller's connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Shim<UnixStream>,
    caller: Arc<Caller>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, place: Place) -> Self {
        let user = place.holder;
        let peer = Peer::of(&stream);
        let ending = peer.as_ref().ok().and_then(|peer| peer.watch().ok());
        Self {
            stream: Shim::new(stream),
            caller: Arc::new(Caller {
                peer,
                ending,
                user,
                seen: Default::default(),
                _place: place,
            }),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Caller>;

    fn connect_info(&self) -> Arc<Caller> {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// How many there may be of something, in all and for one holder, such as a user.
#[derive(Debug)]
pub(super) struct Places {
    in_all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by: HashMap<u32, usize>,
}

impl Places {
    pub(super) fn new(in_all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { in_all, each, taken: Mutex::default() })
    }

    /// A place for `holder`, if there is one.
    pub(super) fn take(self: &Arc<Self>, holder: u32) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(&holder).copied().unwrap_or(0);
        if taken.in_all >= self.in_all || own >= self.each {
            return None;
        }
        taken.in_all += 1;
        taken.by.insert(holder, own + 1);
        Some(Place { places: self.clone(), holder })
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    holder: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all = taken.in_all.saturating_sub(1);
        let left = taken.by.get(&self.holder).map_or(0, |own| own.saturating_sub(1));
        match left {
            0 => _ = taken.by.remove(&self.holder),
            _ => _ = taken.by.insert(self.holder, left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each() {
        let places = Places::new(3, 2);
        let first = places.take(1).unwrap();
        let _second = places.take(1).unwrap();
        assert!(places.take(1).is_none());
        let third = places.take(2).unwrap();
        assert!(places.take(3).is_none());
        drop(third);
        let _third = places.take(3).unwrap();
        drop(first);
        assert!(places.take(1).is_some());
    }
}

//! What the callers of one listener may hold of the agent. Each listener has its own: whoever may
//! reach one of them keeps nobody out of another.

use std::sync::Arc;

use holdfast_types::SecretBytes;
use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::HELD;
use crate::config::ListenerConfig;

/// Connections at a time; more wait in the kernel.
pub(super) const CONNECTIONS: usize = 1024;
/// How many bytes of requests' bodies are held at a time, and how many of answers'. They are two
/// amounts: whoever holds a request waits for its answer.
const ALL_HELD: usize = 64 << 20;
/// They are counted in pieces of this many.
const PIECE: usize = 1024;

/// A listener's settings, and what is left of what its callers may hold.
pub(super) struct Listening {
    pub(super) config: ListenerConfig,
    pub(super) connections: Arc<Semaphore>,
    asked: Arc<Semaphore>,
    answered: Arc<Semaphore>,
}

/// Room for something that is held, as long as it is.
pub(super) type Room = OwnedSemaphorePermit;

impl Listening {
    pub(super) fn new(config: ListenerConfig) -> Self {
        let pieces = || Arc::new(Semaphore::new(ALL_HELD / PIECE));
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        Self { config, connections, asked: pieces(), answered: pieces() }
    }

    /// Waits for room for a request's body of so many bytes, where that is known. It is held twice:
    /// to be sent, and to be compared or sent again.
    pub(super) async fn room_to_ask(&self, bytes: Option<usize>) -> Option<Room> {
        let pieces = pieces(bytes).saturating_mul(2);
        Arc::clone(&self.asked).acquire_many_owned(pieces).await.ok()
    }

    /// Room for an answer's body, where there is some.
    pub(super) fn room_to_answer(&self, bytes: Option<usize>) -> Option<Room> {
        Arc::clone(&self.answered).try_acquire_many_owned(pieces(bytes)).ok()
    }

    /// The same for one that has to be held: waits.
    pub(super) async fn wait_to_answer(&self, bytes: Option<usize>) -> Option<Room> {
        Arc::clone(&self.answered).acquire_many_owned(pieces(bytes)).await.ok()
    }
}

fn pieces(bytes: Option<usize>) -> u32 {
    let bytes = bytes.unwrap_or(HELD).min(HELD);
    u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX)
}

/// A body that is sent from where it is held, and its room until it is.
pub(super) struct InRoom {
    pub(super) bytes: Arc<SecretBytes>,
    _room: Option<Room>,
}

impl InRoom {
    pub(super) fn new(bytes: Arc<SecretBytes>, room: Option<Room>) -> Self {
        Self { bytes, _room: room }
    }
}

impl AsRef<[u8]> for InRoom {
    fn as_ref(&self) -> &[u8] {
        self.bytes.expose()
    }
}

impl From<InRoom> for Bytes {
    fn from(body: InRoom) -> Self {
        Self::from_owner(body)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::proxy::tests::unix;

    #[test]
    fn what_is_held_through_one_listener_is_bounded_and_keeps_nobody_out_of_another() {
        let (one, other) = (Listening::new(unix("/one")), Listening::new(unix("/other")));
        let asks = |listening: &Listening, bytes| listening.room_to_ask(bytes).now_or_never();
        let mut held: Vec<_> = (0..32).map(|_| asks(&one, None).expect("room")).collect();
        assert!(asks(&one, Some(1)).is_none(), "64 MiB are held");
        assert!(asks(&one, Some(0)).is_some(), "no body needs no room");
        assert!(asks(&other, None).is_some());
        held.pop();
        assert!(asks(&one, Some(5 << 20)).is_some(), "no more is held of a long one");
        let mut answers = Vec::new();
        while let Some(room) = one.room_to_answer(None) {
            let body = InRoom::new(Arc::new(SecretBytes::new(vec![1])), Some(room));
            answers.push(Bytes::from(body));
        }
        assert_eq!(answers.len(), 64);
        assert!(other.room_to_answer(None).is_some());
        let sent = answers.pop().expect("an answer");
        let rest = sent.clone();
        drop(sent);
        assert!(one.room_to_answer(None).is_none(), "some of it is still to be sent");
        drop(rest);
        assert!(one.room_to_answer(None).is_some());
    }
}

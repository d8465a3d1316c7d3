//! What one address may take of what all clients share.
//!
//! Whoever asks now and then keeps a connection for as long as they like, and a body that arrives
//! slowly keeps its place until its time is over. So one client alone could keep all others out. A
//! part is left that no single address gets, of connections, of requests under way, of bodies.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::Capacity;

/// All addresses that have connections.
pub(super) struct Shares {
    capacity: Capacity,
    rooms: Mutex<HashMap<Key, Weak<Room>>>,
}

/// An address, and how many percent it may take.
type Key = (IpAddr, u8);

/// What the connections and requests of one address have together.
pub(super) struct Room {
    shares: Arc<Shares>,
    key: Key,
    connections: Arc<Semaphore>,
    pub(super) requests: Arc<Semaphore>,
    pub(super) bodies: Semaphore,
    pub(super) large_bodies: Semaphore,
    /// Whether the log says already that it is full.
    is_told: AtomicBool,
}

/// A connection's place, given back when it is dropped.
pub(super) struct Place {
    /// None for who has no address, or may take all.
    share: Option<(OwnedSemaphorePermit, Arc<Room>)>,
    /// Of all connections: the last that is given back.
    _permit: OwnedSemaphorePermit,
}

impl Shares {
    pub(super) fn new(capacity: &Capacity) -> Arc<Self> {
        Arc::new(Self { capacity: capacity.clone(), rooms: Mutex::default() })
    }

    /// A place for a connection from `address`, which may have `percent` of all. None: it has them.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        percent: u8,
        permit: OwnedSemaphorePermit,
    ) -> Option<Place> {
        let Some(address) = address.filter(|_| percent < 100) else {
            return Some(Place { share: None, _permit: permit });
        };
        let room = self.room((network(address), percent));
        match Arc::clone(&room.connections).try_acquire_owned() {
            Ok(connection) => Some(Place { share: Some((connection, room)), _permit: permit }),
            Err(_) => {
                if !room.is_told.swap(true, Ordering::Relaxed) {
                    warn!(%address, "it has all connections that one address may have");
                }
                None
            }
        }
    }

    fn room(self: &Arc<Self>, key: Key) -> Arc<Room> {
        let mut rooms = self.rooms();
        if let Some(room) = rooms.get(&key).and_then(Weak::upgrade) {
            return room;
        }
        let Capacity { connections, requests, bodies, large_bodies, .. } = self.capacity;
        let share = |all: usize| Semaphore::new((all * usize::from(key.1) / 100).max(1));
        let room = Arc::new(Room {
            shares: Arc::clone(self),
            key,
            connections: Arc::new(share(connections)),
            requests: Arc::new(share(requests)),
            bodies: share(bodies),
            large_bodies: share(large_bodies),
            is_told: AtomicBool::new(false),
        });
        rooms.insert(key, Arc::downgrade(&room));
        room
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Key, Weak<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut rooms = self.shares.rooms();
        // Another one may have been made in its place.
        if rooms.get(&self.key).is_some_and(|room| room.strong_count() == 0) {
            rooms.remove(&self.key);
        }
    }
}

impl Place {
    pub(super) fn room(&self) -> Option<&Arc<Room>> {
        self.share.as_ref().map(|(_, room)| room)
    }
}

/// The address, or the network that one client of IPv6 mostly has to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_its_share_and_leaves_nothing_behind() {
        let all = Arc::new(Semaphore::new(8));
        let capacity = Capacity { connections: 4, ..Capacity::default() };
        let shares = Shares::new(&capacity);
        let enter = |address: &str, percent| {
            let permit = Arc::clone(&all).try_acquire_owned().unwrap();
            shares.enter(Some(address.parse().unwrap()), percent, permit)
        };
        let first = [enter("192.0.2.1", 50), enter("::ffff:192.0.2.1", 50)];
        assert!(first.iter().all(Option::is_some));
        assert!(enter("192.0.2.1", 50).is_none());
        let other = [enter("2001:db8::1", 50), enter("2001:db8::ffff:0:0:1", 50)];
        assert!(other.iter().all(Option::is_some));
        assert!(enter("2001:db8::2", 50).is_none(), "of the same network");
        assert!(enter("2001:db8:0:1::2", 50).is_some());
        assert!(enter("192.0.2.1", 100).is_some(), "where one may have all");
        assert_eq!(shares.rooms().len(), 2);
        // Work that goes on without its connection keeps the address known.
        let room = first[0].as_ref().unwrap().room().cloned();
        drop(first);
        let again = enter("192.0.2.1", 50).unwrap();
        assert!(Arc::ptr_eq(again.room().unwrap(), room.as_ref().unwrap()));
        drop((again, room, other));
        assert_eq!((shares.rooms().len(), all.available_permits()), (0, 8));
    }
}

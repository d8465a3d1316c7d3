//! What tests of every crate need: clocks that are told the time, a certificate authority, a real
//! PostgreSQL.

mod ca;
mod clock;
mod postgres;

pub use ca::{Ca, Leaf};
pub use clock::FakeClock;
pub use postgres::{Postgres, PostgresSettings};

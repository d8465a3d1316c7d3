//! What tests of every crate need: clocks that are told the time.

mod clock;

pub use clock::FakeClock;

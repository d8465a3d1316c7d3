//! A clock that stands still until it is moved.

use std::sync::Mutex;
use std::time::Duration;

use holdfast_types::{Clock, Timestamp};

/// A clock that a test sets and moves.
#[derive(Debug)]
pub struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    /// A clock that stands at `seconds` after 1970.
    pub fn at(seconds: i64) -> Self {
        Self(Mutex::new(Timestamp::from_second(seconds).expect("a time that jiff can hold")))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no test panics while it holds the clock");
        *now += by;
    }

    /// Sets it, backwards too.
    pub fn set(&self, to: Timestamp) {
        *self.0.lock().expect("no test panics while it holds the clock") = to;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no test panics while it holds the clock")
    }
}

//! Time since the pool began, which neither a machine's sleep nor a clock set back can stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_types::{Clock, Timestamp};
use tokio::time::Instant;

use super::lifecycle::Moment;

/// A stopwatch with two clocks. Timers stand still while a machine sleeps, and the wall clock can be
/// set back: between two readings, it counts whichever has gone further. A wall clock that is set
/// forward makes credentials old too soon, which costs a rotation.
pub(super) struct Elapsed {
    clock: Arc<dyn Clock>,
    last: Mutex<Reading>,
}

struct Reading {
    wall: Timestamp,
    timer: Instant,
    passed: Moment,
}

impl Elapsed {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let reading = Reading { wall: clock.now(), timer: Instant::now(), passed: Moment::ZERO };
        Self { clock, last: Mutex::new(reading) }
    }

    /// Now.
    pub(super) fn now(&self) -> Moment {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall, timer) = (self.clock.now(), Instant::now());
        let by_wall = Duration::try_from(wall.duration_since(last.wall)).unwrap_or_default();
        let by_timer = timer.saturating_duration_since(last.timer);
        last.passed += by_wall.max(by_timer);
        (last.wall, last.timer) = (wall, timer);
        last.passed
    }

    /// What the wall clock says of a moment `later` from now.
    pub(super) fn wall(&self, later: Duration) -> Timestamp {
        self.clock.now().checked_add(later).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_testkit::FakeClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn neither_sleep_nor_a_clock_set_back_stops_it() {
        let clock = Arc::new(FakeClock::at(1_000_000));
        let elapsed = Elapsed::new(clock.clone());
        let seconds = Duration::from_secs;
        clock.advance(seconds(5));
        tokio::time::advance(seconds(5)).await;
        assert_eq!(elapsed.now(), seconds(5), "both run");
        clock.advance(seconds(43_200));
        assert_eq!(elapsed.now(), seconds(43_205), "the machine slept");
        clock.set(Timestamp::from_second(0).unwrap());
        tokio::time::advance(seconds(7)).await;
        assert_eq!(elapsed.now(), seconds(43_212), "the clock was set back");
        assert_eq!(elapsed.now(), seconds(43_212), "no time has passed");
    }
}

//! Rows for the times, and every order of events of a small world for the rest.

mod model;

use super::*;

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const RULES: Rules = Rules {
    drain_limit: seconds(30),
    backoff: (seconds(1), seconds(30)),
    close_limit: seconds(10),
    leaving: 4,
};

/// One that serves since `now`, with a credential that lasts so long.
fn serving(now: Moment, token: Option<Duration>, lease: Duration, chance: f64) -> Lifecycle {
    let one = Generation(1);
    let events = [Event::LoggedIn(one, token), Event::Read(one, lease), Event::Probed(one)];
    let (mut lifecycle, orders) = Lifecycle::new(RULES).handle(now, chance, Event::Time);
    assert_eq!(orders, [Do::LogIn(one)]);
    for event in events {
        lifecycle = lifecycle.handle(now, chance, event).0;
    }
    lifecycle
}

#[test]
fn a_credential_is_replaced_at_five_sixths_and_before_its_connections_could_not_drain() {
    for (lease, token, chance, at) in [
        (3600, None, 0.0, 3000),
        // Up to a fiftieth earlier.
        (3600, None, 1.0, 2928),
        // The token outlives the lease, as it should.
        (3600, Some(7200), 0.0, 3000),
        // It does not: its end is the credential's.
        (3600, Some(1200), 0.0, 1000),
        // Five sixths would leave 20 s for a drain of 30 s.
        (120, None, 0.0, 90),
        // A lease that is hardly longer than the drain leaves half of itself for it.
        (40, None, 0.0, 20),
        (30, None, 0.0, 15),
        (1, None, 0.0, 1),
    ] {
        let begun = seconds(100);
        let lifecycle = serving(begun, token.map(seconds), seconds(lease), chance);
        assert_eq!(lifecycle.wake(), Some(begun + seconds(at)), "{lease} {token:?} {chance}");
    }
}

#[test]
fn failures_are_tried_again_after_longer_and_longer_waits() {
    // The first credential: up to the longest wait there is.
    let (mut lifecycle, _) = Lifecycle::new(RULES).handle(Moment::ZERO, 1.0, Event::Time);
    let (mut now, mut generation, mut waits) = (Moment::ZERO, 1, Vec::new());
    for _ in 0..7 {
        let failed = Event::LoginFailed(Generation(generation));
        let (next, orders) = lifecycle.handle(now, 1.0, failed);
        assert_eq!(orders, []);
        let wake = next.wake().unwrap();
        waits.push((wake - now).as_secs());
        now = wake;
        generation += 1;
        let (next, orders) = next.handle(now, 1.0, Event::Time);
        assert_eq!(orders, [Do::LogIn(Generation(generation))]);
        lifecycle = next;
    }
    assert_eq!(waits, [2, 4, 8, 16, 30, 30, 30]);
    // One that serves for two minutes: up to a twelfth of that.
    let mut lifecycle = serving(Moment::ZERO, None, seconds(120), 1.0);
    now = lifecycle.wake().unwrap();
    for (generation, wait) in [(2, 2), (3, 4), (4, 8), (5, 10), (6, 10)] {
        lifecycle = lifecycle.handle(now, 1.0, Event::Time).0;
        lifecycle = lifecycle.handle(now, 1.0, Event::LoginFailed(Generation(generation))).0;
        assert_eq!(lifecycle.wake(), Some(now + seconds(wait)));
        now += seconds(wait);
    }
    // By chance, but never at once.
    assert_eq!(wait(9, RULES.backoff, 0.0), seconds(1));
    assert_eq!(wait(u32::MAX, RULES.backoff, 0.5), Duration::from_millis(15_500));
}

#[test]
fn a_doubted_credential_is_replaced_at_once_but_not_again_and_again() {
    let lifecycle = serving(Moment::ZERO, None, seconds(3600), 0.0);
    let (lifecycle, orders) =
        lifecycle.handle(Duration::from_millis(10), 0.0, Event::Doubted(Generation(1)));
    assert_eq!((orders, lifecycle.wake()), (vec![], Some(PAUSE)), "it is too young");
    let (lifecycle, _) = lifecycle.handle(seconds(2), 0.0, Event::Doubted(Generation(7)));
    let (lifecycle, orders) = lifecycle.handle(seconds(2), 0.0, Event::Doubted(Generation(1)));
    assert_eq!(orders, [], "a login is under way: {lifecycle:?}");
    let (lifecycle, _) = lifecycle.handle(seconds(3), 0.5, Event::LoginFailed(Generation(2)));
    let due = lifecycle.wake();
    let (lifecycle, orders) = lifecycle.handle(seconds(3), 0.0, Event::Doubted(Generation(1)));
    assert_eq!((orders, lifecycle.wake()), (vec![], due), "after a failure it waits");
}

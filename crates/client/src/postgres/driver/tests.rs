//! The shell on paused time: what is ordered when, whatever the answers.

use std::collections::VecDeque;
use std::sync::Mutex;

use holdfast_testkit::FakeClock;
use tokio::sync::Notify;

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const RULES: Rules = Rules {
    drain_limit: seconds(20),
    backoff: (seconds(1), seconds(8)),
    close_limit: seconds(10),
    leaving: 4,
};
const LEASE: Duration = seconds(600);

/// How the next order of a kind goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    Wrong,
    Slowly(u64),
    Panics,
    Never,
}

/// A world in which all goes well but what is said.
struct World {
    elapsed: Arc<Elapsed>,
    /// Kind of order, and how it goes.
    faults: Mutex<VecDeque<(&'static str, Goes)>>,
    /// When which order came, in seconds.
    orders: Mutex<Vec<(u64, String)>>,
    ordered: Notify,
}

fn name(order: Do) -> (&'static str, u64) {
    match order {
        Do::LogIn(of) => ("log in", of.0),
        Do::Read(of) => ("read", of.0),
        Do::Probe(of) => ("probe", of.0),
        Do::Serve(of, _) => ("serve", of.0),
        Do::Drain(of) => ("drain", of.0),
        Do::Cut(of) => ("cut", of.0),
        Do::Revoke(of) => ("revoke", of.0),
        Do::Forget(of) => ("forget", of.0),
        Do::Finish => ("finish", 0),
    }
}

impl World {
    fn note(&self, order: Do) {
        let (what, of) = name(order);
        let at = self.elapsed.now().as_secs();
        self.orders.lock().unwrap().push((at, format!("{what} {of}")));
        self.ordered.notify_waiters();
    }

    /// Waits for an order. Gives when it came.
    async fn until(&self, order: &str) -> u64 {
        loop {
            let ordered = self.ordered.notified();
            let found = {
                let orders = self.orders.lock().unwrap();
                orders.iter().find(|(_, what)| what == order).map(|(at, _)| *at)
            };
            if let Some(at) = found {
                return at;
            }
            ordered.await;
        }
    }
}

#[async_trait]
impl Effects for World {
    async fn carry_out(&self, order: Do) -> Event {
        if !matches!(order, Do::Drain(_)) {
            self.note(order);
        }
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            let at = faults.iter().position(|(what, _)| *what == name(order).0);
            at.and_then(|at| faults.remove(at)).map(|(_, goes)| goes)
        };
        match fault {
            Some(Goes::Slowly(by)) => tokio::time::sleep(seconds(by)).await,
            Some(Goes::Never) => std::future::pending().await,
            Some(Goes::Panics) => panic!("as a service's own login might"),
            Some(Goes::Wrong) | None => {}
        }
        match (order, fault == Some(Goes::Wrong)) {
            (Do::LogIn(of), false) => Event::LoggedIn(of, None),
            (Do::LogIn(of), true) => Event::LoginFailed(of),
            (Do::Read(of), false) => Event::Read(of, LEASE),
            (Do::Read(of), true) => Event::ReadFailed(of),
            (Do::Probe(of), false) => Event::Probed(of),
            (Do::Probe(of), true) => Event::ProbeFailed(of),
            (Do::Drain(of), _) => Event::Drained(of),
            (Do::Revoke(of), false) => Event::Revoked(of),
            (Do::Revoke(of), true) => Event::RevokeFailed(of),
            (order, _) => panic!("{order:?} is done at once"),
        }
    }

    fn carry_out_now(&self, order: Do) {
        self.note(order);
    }
}

struct Driven {
    world: Arc<World>,
    clock: Arc<FakeClock>,
    doubts: mpsc::Sender<Generation>,
    close: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn driven(faults: &[(&'static str, Goes)]) -> Driven {
    let clock = Arc::new(FakeClock::at(1_000_000));
    let elapsed = Arc::new(Elapsed::new(clock.clone()));
    let world = Arc::new(World {
        elapsed: elapsed.clone(),
        faults: Mutex::new(faults.iter().copied().collect()),
        orders: Mutex::default(),
        ordered: Notify::new(),
    });
    let (doubts, doubted) = mpsc::channel(4);
    let close = CancellationToken::new();
    let task = tokio::spawn(drive(world.clone(), RULES, elapsed, doubted, close.clone()));
    Driven { world, clock, doubts, close, task }
}

impl Driven {
    /// Closes it. Gives all orders, with the seconds at which they came.
    async fn closed(self) -> Vec<(u64, String)> {
        self.close.cancel();
        self.task.await.unwrap();
        std::mem::take(&mut *self.world.orders.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_takes_its_turns() {
    let driven = driven(&[("drain", Goes::Slowly(3))]);
    driven.world.until("revoke 1").await;
    let orders = driven.closed().await;
    let first: Vec<_> = orders[..4].iter().map(|(at, what)| (*at, what.as_str())).collect();
    assert_eq!(first, [(0, "log in 1"), (0, "read 1"), (0, "probe 1"), (0, "serve 1")]);
    let (at, next): (Vec<u64>, Vec<_>) =
        orders[4..].iter().map(|(at, what)| (*at, what.as_str())).unzip();
    assert_eq!(
        next,
        [
            "log in 2", "read 2", "probe 2", "serve 2", "drain 1", "revoke 1", "drain 2",
            "revoke 2", "finish 0"
        ]
    );
    assert!((488..=500).contains(&at[0]), "five sixths, or up to a fiftieth earlier: {at:?}");
    assert_eq!(at[5] - at[4], 3, "not before the drain: {at:?}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_and_what_it_left_is_revoked() {
    let driven = driven(&[
        ("log in", Goes::Wrong),
        ("log in", Goes::Panics),
        ("log in", Goes::Slowly(9)),
        ("read", Goes::Wrong),
        ("read", Goes::Panics),
        ("probe", Goes::Wrong),
        ("revoke", Goes::Wrong),
    ]);
    driven.world.until("serve 6").await;
    let orders = driven.closed().await;
    let of = |what: &str| orders.iter().filter(|(_, order)| order == what).count();
    assert_eq!((of("read 1"), of("read 2"), of("revoke 1")), (0, 0, 0), "{orders:?}");
    assert_eq!((of("revoke 3"), of("revoke 4"), of("revoke 5")), (2, 1, 1), "{orders:?}");
    assert_eq!((of("revoke 6"), of("finish 0")), (1, 1), "{orders:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_all_is_due_though_timers_stood_still() {
    let driven = driven(&[]);
    driven.world.until("serve 1").await;
    driven.clock.advance(seconds(43_200));
    let at = driven.world.until("serve 2").await;
    assert!((43_200..=43_200 + NAP.as_secs()).contains(&at), "{at}");
    driven.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_delays_nothing() {
    let driven = driven(&[]);
    driven.world.until("serve 1").await;
    driven.clock.set(holdfast_types::Timestamp::from_second(0).unwrap());
    assert!(driven.world.until("serve 2").await <= 500);
    driven.closed().await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_never_come_back_are_waited_for_up_to_the_limit() {
    let driven = driven(&[("drain", Goes::Never), ("drain", Goes::Never)]);
    let drain = driven.world.until("drain 1").await;
    assert_eq!(driven.world.until("revoke 1").await, drain + 20);
    assert_eq!(driven.world.until("cut 1").await, drain + 20);
    let orders = driven.closed().await;
    let at = |what: &str| orders.iter().find(|(_, order)| order == what).unwrap().0;
    assert_eq!(at("revoke 2"), at("drain 2") + 20);
    assert_eq!(at("finish 0"), at("revoke 2"));
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_the_login_that_is_under_way_and_no_longer_than_its_limit() {
    let slow = driven(&[("log in", Goes::Slowly(4))]);
    slow.world.until("log in 1").await;
    let orders = slow.closed().await;
    let last: Vec<_> = orders.iter().map(|(at, what)| (*at, what.as_str())).collect();
    assert_eq!(last, [(0, "log in 1"), (4, "revoke 1"), (4, "finish 0")]);
    let hung = driven(&[("log in", Goes::Never)]);
    hung.world.until("log in 1").await;
    let orders = hung.closed().await;
    assert_eq!(orders.last().map(|(at, _)| *at), Some(30), "the drain's limit and its own");
}

#[tokio::test(start_paused = true)]
async fn a_doubt_brings_another_login() {
    let driven = driven(&[]);
    driven.world.until("serve 1").await;
    tokio::time::sleep(seconds(60)).await;
    driven.doubts.send(Generation(1)).await.unwrap();
    assert_eq!(driven.world.until("serve 2").await, 60);
    driven.closed().await;
}

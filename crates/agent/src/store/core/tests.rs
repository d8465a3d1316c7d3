use std::collections::BTreeSet;
use std::sync::LazyLock;

use holdfast_types::Timestamp;
use proptest::prelude::*;

use super::*;

/// When the clocks of these tests began; both go on together.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn moment(at: Instant) -> Moment {
    let since = at.saturating_duration_since(*START);
    Moment { at, wall: Timestamp::from_second(1_800_000_000).unwrap() + since, chance: 0.5 }
}

fn read(path: &str) -> Request {
    Request::Read { path: path.into(), query: Vec::new() }
}

fn write(path: &str) -> Request {
    Request::Write { path: path.into(), fields: vec![("k".into(), "v".into())] }
}

fn answer(body: &str) -> Result<Done, Failure> {
    Ok(Done::Answer(Answer::parse(body.as_bytes()).unwrap()))
}

fn kv(version: u64) -> Result<Done, Failure> {
    answer(&format!(
        r#"{{"data":{{"data":{{"n":"{version}"}},"metadata":{{"version":{version}}}}}}}"#
    ))
}

fn lease(id: &str, seconds: u64, renewable: bool) -> Result<Done, Failure> {
    answer(&format!(
        r#"{{"lease_id":"{id}","lease_duration":{seconds},"renewable":{renewable},"data":{{"password":"{id}"}}}}"#
    ))
}

fn failure(kind: FailureKind) -> Result<Done, Failure> {
    Err(Failure { kind, message: format!("{kind:?}"), explain: None })
}

/// A core with a login, and a clock that a test moves.
struct World {
    core: Core,
    now: Instant,
}

impl World {
    fn new(requests: &[Request]) -> Self {
        let settings =
            Settings { limit: 8, static_interval: Duration::from_secs(300), threshold: 0.9 };
        let mut world = Self { core: Core::new(settings), now: Instant::now() };
        world.core.logged_in(1, moment(world.now));
        world.want(requests);
        world
    }

    fn want(&mut self, requests: &[Request]) {
        self.core.want(requests.iter().cloned().collect(), moment(self.now));
        self.mount("kv/", Some(2));
    }

    /// Answers all questions for mounts: `kv` is this one, all others are no KV.
    fn mount(&mut self, path: &str, version: Option<u8>) {
        loop {
            let tasks = self.core.start(moment(self.now));
            let (questions, others): (Vec<_>, Vec<_>) = tasks
                .into_iter()
                .partition(|task| matches!(task.work, Work::Ask(Request::Mount { .. })));
            for task in others {
                // Put back as if it had not been started.
                self.core.running -= 1;
                let entry = self.core.entries.get_mut(&task.id).unwrap();
                entry.running = false;
                self.core.plan(task.id, Some((Next::Read, Duration::ZERO)), moment(self.now));
            }
            if questions.is_empty() {
                return;
            }
            for task in questions {
                let Work::Ask(request) = task.work else { continue };
                let top = format!("{}/", request.path().split('/').next().unwrap());
                let kv = if top == path { version } else { None };
                let mount = Done::Mount(Mount { path: top, kv });
                self.core.finish(task.id, Ok(mount), moment(self.now));
            }
        }
    }

    fn start(&mut self) -> Vec<Task> {
        self.core.start(moment(self.now))
    }

    /// The one task there is now.
    fn only(&mut self) -> Task {
        let mut tasks = self.start();
        assert_eq!(tasks.len(), 1, "{tasks:?}");
        tasks.remove(0)
    }

    fn finish(&mut self, task: &Task, outcome: Result<Done, Failure>) -> bool {
        self.core.finish(task.id, outcome, moment(self.now))
    }

    /// Goes on to the next thing to do. Gives the seconds until then.
    fn advance(&mut self) -> f64 {
        let next = self.core.next().expect("something to do");
        let wait = next.saturating_duration_since(self.now);
        self.now = self.now.max(next);
        wait.as_secs_f64()
    }
}

#[test]
fn the_same_is_asked_once_however_it_is_written() {
    let mut world = World::new(&[read("kv/app"), read("kv/data/app"), write("pki/issue/x")]);
    let tasks = world.start();
    let asked: BTreeSet<_> = tasks.iter().map(|task| task.work.clone()).collect_asks();
    assert_eq!(asked, BTreeSet::from([read("kv/data/app"), write("pki/issue/x")]));
    let task = tasks.iter().find(|task| task.work == Work::Ask(read("kv/data/app"))).unwrap();
    assert!(world.finish(task, kv(3)));
    for asked in [read("kv/app"), read("kv/data/app")] {
        let Found::Known(answer) = world.core.find(&asked) else { panic!("{asked:?}") };
        assert_eq!(answer.version, Some(3));
    }
}

trait CollectAsks {
    fn collect_asks(self) -> BTreeSet<Request>;
}

impl<I: Iterator<Item = Work>> CollectAsks for I {
    fn collect_asks(self) -> BTreeSet<Request> {
        self.filter_map(|work| match work {
            Work::Ask(request) => Some(request),
            Work::Renew(..) => None,
        })
        .collect()
    }
}

#[test]
fn a_mount_is_asked_for_once_and_may_be_refused() {
    let settings = Settings { limit: 8, static_interval: Duration::from_secs(300), threshold: 0.9 };
    let mut core = Core::new(settings);
    let now = Instant::now();
    core.want(BTreeSet::from([read("kv/a"), read("kv/b"), read("db/creds/x")]), moment(now));
    assert!(core.start(moment(now)).is_empty(), "nothing without a token");
    core.logged_in(1, moment(now));
    let tasks = core.start(moment(now));
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    for task in &tasks {
        // A server that is away is asked again; one that refuses is not.
        core.finish(task.id, failure(FailureKind::Away), moment(now));
    }
    let Found::Failed(why) = core.find(&read("kv/b")) else { panic!("it is known why") };
    assert_eq!(why.kind, FailureKind::Away);
    let later = now + Duration::from_secs(5);
    for task in core.start(moment(later)) {
        core.finish(task.id, failure(FailureKind::Denied), moment(later));
    }
    let asked: BTreeSet<_> =
        core.start(moment(later)).into_iter().map(|task| task.work).collect_asks();
    // As it is written, and what else may be there is asked for by itself.
    let next = Request::Mount { path: "kv/b".into() };
    assert_eq!(asked, BTreeSet::from([read("db/creds/x"), read("kv/a"), next]));
}

#[test]
fn no_more_is_under_way_than_may_be() {
    let requests: Vec<_> = (0..100).map(|number| read(&format!("kv/{number}"))).collect();
    let mut world = World::new(&requests);
    let mut done = 0;
    let mut tasks = world.start();
    while let Some(task) = tasks.pop() {
        assert!(tasks.len() < 8);
        world.finish(&task, kv(1));
        done += 1;
        tasks.extend(world.start());
    }
    assert_eq!(done, 100);
    assert!(world.core.is_settled(moment(world.now)));
}

#[test]
fn what_fails_waits_longer_each_time_and_alone() {
    for (kind, most) in [(FailureKind::Denied, 60.0), (FailureKind::Away, 30.0)] {
        let mut world = World::new(&[read("kv/denied"), read("kv/fine")]);
        for task in world.start() {
            let fails = task.work == Work::Ask(read("kv/data/denied"));
            world.finish(&task, if fails { failure(kind) } else { kv(1) });
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(world.advance());
            let task = world.only();
            assert_eq!(task.work, Work::Ask(read("kv/data/denied")));
            // The same failure is no news: nothing is rendered for it.
            assert!(!world.finish(&task, failure(kind)));
        }
        assert!(waits.iter().all(|wait| *wait > 0.05 && *wait <= most), "{waits:?}");
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert!(matches!(world.core.find(&read("kv/fine")), Found::Known(_)));
        // A new login is tried at once.
        world.core.logged_in(2, moment(world.now));
        let task = world.only();
        assert!(world.finish(&task, kv(1)));
        assert!(world.core.failure(&read("kv/denied")).is_none());
    }
}

#[test]
fn what_was_known_stays_when_it_can_no_longer_be_read() {
    let mut world = World::new(&[read("kv/a")]);
    let task = world.only();
    world.finish(&task, kv(1));
    let before = world.core.revision(&read("kv/a"));
    for outcome in [failure(FailureKind::Denied), Ok(Done::Answer(None))] {
        world.advance();
        let task = world.only();
        world.finish(&task, outcome);
        assert!(matches!(world.core.find(&read("kv/a")), Found::Known(_)));
        assert_eq!(world.core.revision(&read("kv/a")), before, "templates see the same");
    }
    let why = world.core.failure(&read("kv/a")).map(|(failure, tries)| (failure.kind, tries));
    assert_eq!(why, Some((FailureKind::Absent, 2)));
}

#[test]
fn secrets_are_polled_unless_the_server_tells() {
    let mut world = World::new(&[read("kv/a"), read("db/static/x"), write("auth/x")]);
    for task in world.start() {
        world.finish(&task, kv(1));
    }
    let wait = world.advance();
    assert!((270.0..=300.0).contains(&wait), "{wait}");
    // Reads alone: a write makes something new.
    let polled = world.start();
    let asked = polled.iter().map(|task| task.work.clone()).collect_asks();
    assert_eq!(asked, BTreeSet::from([read("kv/data/a"), read("db/static/x")]));
    for task in polled {
        assert!(!world.finish(&task, kv(1)), "nothing changed");
    }
    // Told of changes, it reads once, and then only what has changed.
    world.core.set_told(true, moment(world.now));
    let task = world.only();
    world.finish(&task, kv(1));
    world.core.changed("kv/data/other", moment(world.now));
    assert!(world.start().is_empty());
    world.core.changed("kv/data/a", moment(world.now));
    let task = world.only();
    // An event in the middle of reading: the answer may be from before.
    world.core.changed("kv/data/a", moment(world.now));
    assert!(world.finish(&task, kv(2)));
    let task = world.only();
    assert!(world.finish(&task, kv(3)));
    // Only what nobody tells of is polled.
    world.advance();
    assert_eq!(world.only().work, Work::Ask(read("db/static/x")));
    // No longer told: polled again.
    world.core.set_told(false, moment(world.now));
    world.advance();
    assert_eq!(world.only().work, Work::Ask(read("kv/data/a")));
}

#[test]
fn leases_are_renewed_and_replaced_near_their_end() {
    let request = read("database/creds/app");
    let mut world = World::new(std::slice::from_ref(&request));
    let task = world.only();
    assert!(world.finish(&task, lease("db/1", 90, true)));
    let wait = world.advance();
    assert!((50.0..=60.0).contains(&wait), "two thirds: {wait}");
    let renew = Work::Renew("db/1".into(), 90);
    let task = world.only();
    assert_eq!(task.work, renew);
    let renewed =
        |seconds| Ok(Done::Renewed(Lease { id: "db/1".into(), seconds, renewable: true }));
    assert!(!world.finish(&task, renewed(90)), "renewing changes no file");
    // The server is away: it is tried again, in time.
    world.advance();
    let task = world.only();
    world.finish(&task, failure(FailureKind::Away));
    assert!(world.advance() < 1.0);
    let task = world.only();
    assert_eq!(task.work, renew);
    // It meets its greatest age: another credential, before this one ends.
    world.finish(&task, renewed(20));
    let wait = world.advance();
    assert!((15.0..20.0).contains(&wait), "{wait}");
    let task = world.only();
    assert_eq!(task.work, Work::Ask(request.clone()));
    assert!(world.core.take_retired().is_empty(), "the old one is in use");
    assert!(world.finish(&task, lease("db/2", 90, false)));
    let [retired] = &world.core.take_retired()[..] else { panic!("one lease") };
    assert_eq!((retired.id.as_str(), retired.path.as_str()), ("db/1", "database/creds/app"));
    assert!(retired.ends.is_some_and(|ends| ends > moment(world.now).wall));
    // One that cannot be renewed is replaced near its end.
    let wait = world.advance();
    assert!((72.0..=82.0).contains(&wait), "{wait}");
    assert_eq!(world.only().work, Work::Ask(request));
}

#[test]
fn a_lease_that_the_server_forgot_is_had_anew() {
    let request = read("database/creds/app");
    let mut world = World::new(std::slice::from_ref(&request));
    let task = world.only();
    world.finish(&task, lease("db/1", 90, true));
    world.advance();
    let task = world.only();
    assert!(matches!(task.work, Work::Renew(..)));
    world.finish(&task, failure(FailureKind::Refused));
    assert!(world.advance() <= 1.0);
    assert_eq!(world.only().work, Work::Ask(request));
}

#[test]
fn what_ends_while_the_machine_sleeps_is_had_anew_when_it_wakes() {
    let (dynamic, certificate, fixed) = (read("db/creds/app"), write("pki/issue/x"), read("kv/a"));
    let mut world = World::new(&[dynamic.clone(), certificate.clone(), fixed]);
    for task in world.start() {
        let until = moment(world.now).wall.as_second() + 24 * 3600;
        let outcome = match &task.work {
            Work::Ask(request) if *request == dynamic => lease("db/1", 3600, true),
            Work::Ask(request) if *request == certificate => {
                answer(&format!(r#"{{"data":{{"certificate":"x","expiration":{until}}}}}"#))
            }
            _ => kv(1),
        };
        world.finish(&task, outcome);
    }
    world.core.set_told(true, moment(world.now));
    let asked = world.only();
    world.finish(&asked, kv(1));
    assert!(world.start().is_empty());
    // The clock of waits stands still in the sleep; the one on the wall does not.
    let woken = |hours: u64| {
        let now = moment(world.now);
        Moment { wall: now.wall + Duration::from_secs(hours * 3600), ..now }
    };
    let (early, late) = (woken(10), woken(22));
    assert!(!world.core.is_settled(early));
    let tasks = world.core.start(early);
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert_eq!(tasks[0].work, Work::Ask(dynamic), "it has ended, and is not renewed");
    world.core.finish(tasks[0].id, lease("db/2", 3600 * 24 * 30, true), early);
    let tasks = world.core.start(late);
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert_eq!(tasks[0].work, Work::Ask(certificate), "it is near its end");
}

#[test]
fn no_life_is_too_long_for_a_clock() {
    let request = read("db/creds/app");
    let mut world = World::new(std::slice::from_ref(&request));
    let task = world.only();
    world.finish(&task, lease("db/1", u64::MAX / 2, true));
    assert!(world.advance() > 1e6);
}

#[test]
fn a_new_login_takes_over_what_hangs_on_the_old_one() {
    let (dynamic, fixed) = (read("database/creds/app"), read("kv/a"));
    let mut world = World::new(&[dynamic.clone(), fixed]);
    for task in world.start() {
        let is_dynamic = task.work == Work::Ask(dynamic.clone());
        world.finish(&task, if is_dynamic { lease("db/1", 3600, true) } else { kv(1) });
    }
    world.core.logged_in(2, moment(world.now));
    let task = world.only();
    assert_eq!(task.work, Work::Ask(dynamic.clone()), "at once, and nothing else");
    // The new login comes while a lease of the old one is on its way.
    world.core.logged_in(3, moment(world.now));
    world.finish(&task, lease("db/2", 3600, true));
    let task = world.only();
    assert_eq!(task.work, Work::Ask(dynamic.clone()));
    world.finish(&task, lease("db/3", 3600, true));
    assert!(world.start().is_empty());
    let retired: Vec<_> = world.core.take_retired().into_iter().map(|lease| lease.id).collect();
    assert_eq!(retired, ["db/1", "db/2"]);
    // What is wanted no more is given back.
    world.want(&[]);
    assert_eq!(world.core.take_retired().len(), 1);
}

#[test]
fn certificates_and_rotated_passwords_are_read_when_they_end() {
    let until = 1_800_000_000 + 1000;
    for (body, request, least, most) in [
        (
            format!(r#"{{"data":{{"certificate":"x","expiration":{until}}}}}"#),
            write("pki/issue/x"),
            870.0,
            900.0,
        ),
        (
            r#"{"data":{"rotation_period":60,"ttl":12,"password":"x"}}"#.to_owned(),
            read("database/static-creds/x"),
            13.0,
            14.0,
        ),
        // Somebody may have it rotated before its time.
        (
            r#"{"data":{"rotation_period":86400,"ttl":86400,"password":"x"}}"#.to_owned(),
            read("database/static-creds/x"),
            270.0,
            300.0,
        ),
        (
            r#"{"auth":{"client_token":"x","lease_duration":100}}"#.to_owned(),
            write("auth/token/create"),
            85.0,
            90.0,
        ),
    ] {
        let mut world = World::new(std::slice::from_ref(&request));
        let task = world.only();
        world.finish(&task, answer(&body));
        let wait = world.advance();
        assert!((least..=most).contains(&wait), "{request:?}: {wait}");
        assert_eq!(world.only().work, Work::Ask(request));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Finish(u8, u8),
    Event(u8),
    Login,
    Told(bool),
    Want(u8),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<u8>(), 0..6_u8).prop_map(|(which, how)| Step::Finish(which, how)),
        2 => (0..6_u8).prop_map(Step::Event),
        1 => Just(Step::Login),
        1 => any::<bool>().prop_map(Step::Told),
        1 => any::<u8>().prop_map(Step::Want),
        3 => (0..400_u16).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// Whatever happens in whatever order: never more under way than may be, never two of the same,
    /// nothing is ever stuck, and once the server answers all is known.
    #[test]
    fn nothing_is_stuck(steps in steps()) {
        let all: Vec<Request> = (0..6)
            .map(|number| match number {
                0 => read("database/creds/app"),
                1 => write("pki/issue/x"),
                number => read(&format!("kv/{number}")),
            })
            .collect();
        let mut world = World::new(&all);
        let (mut under_way, mut login, mut wanted) = (Vec::<Task>::new(), 1, all.clone());
        for step in steps {
            match step {
                Step::Finish(which, how) if !under_way.is_empty() => {
                    let task = under_way.swap_remove(usize::from(which) % under_way.len());
                    let outcome = match (&task.work, how) {
                        (_, 0) => failure(FailureKind::Away),
                        (_, 1) => failure(FailureKind::Denied),
                        (Work::Ask(Request::Mount { .. }), _) => {
                            Ok(Done::Mount(Mount { path: "kv/".into(), kv: Some(2) }))
                        }
                        (Work::Renew(id, _), _) => {
                            Ok(Done::Renewed(Lease { id: id.clone(), seconds: 60, renewable: true }))
                        }
                        (_, 2) => Ok(Done::Answer(None)),
                        (_, how) => lease(&format!("l/{how}"), u64::from(how) * 30, how % 2 == 0),
                    };
                    world.finish(&task, outcome);
                }
                Step::Finish(..) => {}
                Step::Event(number) => world.core.changed(&format!("kv/data/{number}"), moment(world.now)),
                Step::Login => {
                    login += 1;
                    world.core.logged_in(login, moment(world.now));
                }
                Step::Told(told) => world.core.set_told(told, moment(world.now)),
                Step::Want(mask) => {
                    wanted = all.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1)
                        .map(|(_, request)| request.clone()).collect();
                    world.core.want(wanted.iter().cloned().collect(), moment(world.now));
                }
                Step::Wait(seconds) => world.now += Duration::from_secs(seconds.into()),
            }
            under_way.extend(world.start());
            prop_assert!(under_way.len() <= 8);
            let asked: Vec<_> = under_way.iter().map(|task| task.id).collect();
            let once: BTreeSet<_> = asked.iter().copied().collect();
            prop_assert_eq!(asked.len(), once.len());
        }
        for _ in 0..100 {
            for task in std::mem::take(&mut under_way) {
                let outcome = match &task.work {
                    Work::Ask(Request::Mount { path }) => {
                        let top = format!("{}/", path.split('/').next().unwrap());
                        let kv = (top == "kv/").then_some(2);
                        Ok(Done::Mount(Mount { path: top, kv }))
                    }
                    Work::Renew(id, _) => {
                        Ok(Done::Renewed(Lease { id: id.clone(), seconds: 6000, renewable: true }))
                    }
                    Work::Ask(_) => lease("l/end", 6000, true),
                };
                world.finish(&task, outcome);
            }
            world.now += Duration::from_secs(1);
            under_way = world.start();
        }
        for request in wanted {
            prop_assert!(matches!(world.core.find(&request), Found::Known(_)), "{:?}", request);
        }
    }
}

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;
const LIFE: i64 = 24 * HOUR;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Does what is due, as the shell does, and says what was done.
fn settle(keys: &mut Lifecycle, now: i64, made: &mut u32) -> Vec<Step> {
    let mut done = Vec::new();
    while let Some(step) = keys.due(at(now)) {
        assert!(done.len() < 64, "it comes to an end: {done:?}");
        match &step {
            Step::Prepare => {
                *made += 1;
                keys.prepared(made.to_string(), at(now - 10), at(now + LIFE));
            }
            Step::Activate(id) => keys.activate(id),
            Step::Forget(id) => keys.forget(id),
        }
        done.push(step);
    }
    done
}

#[test]
fn keys_follow_one_another() {
    let mut keys = Lifecycle::default();
    let mut made = 0;
    let activate = |id: &str| Step::Activate(id.to_owned());
    let forget = |id: &str| Step::Forget(id.to_owned());
    for (hours, want) in [
        (0, vec![Step::Prepare, activate("1")]),
        (11, vec![]),
        (12, vec![Step::Prepare]),
        (19, vec![]),
        (20, vec![activate("2")]),
        // The first one's end, and half of the second one's life.
        (24, vec![Step::Prepare, forget("1")]),
        (32, vec![activate("3")]),
        // Off for 400 days: nothing of what there was is of use.
        (400 * 24, vec![Step::Prepare, activate("4"), forget("2"), forget("3")]),
        // A clock that was set back by a year, and then right again: the key of before is retired.
        (40 * 24, vec![Step::Prepare, activate("5")]),
        (400 * 24 + 1, vec![Step::Prepare, activate("6"), forget("5")]),
    ] {
        let done = settle(&mut keys, hours * HOUR, &mut made);
        assert_eq!(done, want, "at {hours} hours");
        assert!(keys.active(at(hours * HOUR)).is_some());
    }
}

#[test]
fn it_rests_until_something_is_due() {
    let mut keys = Lifecycle::default();
    assert_eq!(keys.rest(at(0)), Duration::ZERO);
    let mut made = 0;
    let mut now = 0;
    let mut moments = Vec::new();
    for _ in 0..6 {
        settle(&mut keys, now, &mut made);
        now += i64::try_from(keys.rest(at(now)).as_secs()).unwrap();
        moments.push(now);
        assert!(keys.due(at(now - 60)).is_none(), "nothing is due before {now}");
    }
    assert!(moments.is_sorted() && moments[0] < 12 * HOUR + 60);
}

#[derive(Debug, Clone)]
enum Event {
    /// The clock moves, mostly on.
    Pass(i64),
    /// Steps are done, but for the given number of them, at which something fails.
    Work(usize),
    /// Something is to be signed.
    Sign,
    /// All keys are acknowledged.
    Acknowledge,
    /// The process starts anew, from what it stored.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..30 * HOUR).prop_map(Event::Pass),
        1 => Just(Event::Pass(400 * 24 * HOUR)),
        1 => (-60 * HOUR..0).prop_map(Event::Pass),
        4 => (0..6_usize).prop_map(Event::Work),
        4 => Just(Event::Sign),
        1 => Just(Event::Acknowledge),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #[test]
    fn it_never_signs_with_a_key_that_is_not_published_or_not_valid(
        events in proptest::collection::vec(event(), 1..200),
    ) {
        let mut keys = Lifecycle::default();
        let mut published = BTreeSet::new();
        let (mut now, mut made) = (1_000_000_000, 0);
        for event in events {
            match event {
                Event::Pass(seconds) => now += seconds,
                Event::Work(steps) => {
                    for _ in 0..steps {
                        match keys.due(at(now)) {
                            None => break,
                            Some(Step::Prepare) => {
                                made += 1;
                                keys.prepared(made.to_string(), at(now - 10), at(now + LIFE));
                                published.insert(made.to_string());
                                if made % 2 == 0 {
                                    keys.wait_for(&made.to_string());
                                }
                            }
                            Some(Step::Activate(id)) => {
                                prop_assert!(published.contains(&id));
                                let of_id = |slot: &&Slot| slot.id == id;
                                let is_awaited = keys.slots().iter().find(of_id).unwrap().is_awaited;
                                prop_assert!(!is_awaited || keys.active(at(now)).is_none());
                                keys.activate(&id);
                            }
                            Some(Step::Forget(id)) => {
                                let is_active = keys.active(at(now)).is_some_and(|k| k.id == id);
                                prop_assert!(!is_active, "what signs is kept");
                                keys.forget(&id);
                            }
                        }
                    }
                }
                Event::Sign => if let Some(key) = keys.active(at(now)) {
                    prop_assert!(published.contains(&key.id));
                    prop_assert!(key.not_before <= at(now) && at(now) < key.not_after);
                },
                Event::Acknowledge => {
                    let ids = keys.slots().iter().map(|slot| slot.id.clone()).collect::<Vec<_>>();
                    for id in ids {
                        keys.acknowledge(&id);
                    }
                }
                Event::Restart => {
                    let stored = serde_json::to_vec(&keys).unwrap();
                    keys = serde_json::from_slice(&stored).unwrap();
                }
            }
            let active = keys.slots().iter().filter(|slot| slot.state == State::Active);
            prop_assert!(active.count() <= 1);
        }
        // Whatever happened: it heals at once, and stays small.
        settle(&mut keys, now, &mut made);
        prop_assert!(keys.active(at(now)).is_some());
        prop_assert!(keys.slots().len() <= MAX_KEYS);
    }

    #[test]
    fn a_key_is_published_a_third_of_a_life_before_it_signs(
        naps in proptest::collection::vec(1..HOUR, 100..200),
    ) {
        let mut keys = Lifecycle::default();
        let mut prepared_at = std::collections::BTreeMap::new();
        let (mut now, mut made) = (1_000_000_000, 0);
        for nap in naps {
            for step in settle(&mut keys, now, &mut made) {
                match step {
                    Step::Prepare => { prepared_at.insert(made.to_string(), now); }
                    Step::Activate(id) if id != "1" => {
                        prop_assert!(now - prepared_at[&id] >= LIFE / 3 - HOUR - 10);
                    }
                    _ => {}
                }
            }
            prop_assert!(keys.active(at(now)).is_some());
            now += nap;
        }
    }
}

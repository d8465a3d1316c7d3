use std::time::Duration;

use super::super::plan::Wishes;
use super::*;

/// A rotation that just began.
fn example(now: Timestamp, before: Option<Record>) -> Record {
    let wishes = Wishes { timeout: Duration::from_secs(60), ..Wishes::default() };
    let owner = Owner::this("nonce".to_owned());
    let plan = Plan::of_engine(&wishes);
    Record::new("id".to_owned(), "database/static-creds/app".to_owned(), plan, owner, before, now)
}

#[test]
fn the_past_is_kept_but_not_all_of_it() {
    let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
    let mut record = example(at(0), None);
    for round in 1..30 {
        record.enter(Phase::Done, at(round));
        record = example(at(round), Some(record));
        for _ in 0..100 {
            record.note("something", at(round));
        }
    }
    assert_eq!((record.history.len(), record.steps.len()), (HISTORY, STEPS));
    assert_eq!(record.history[HISTORY - 1].ended, at(29));
    let again: Record = serde_json::from_value(serde_json::to_value(&record).unwrap()).unwrap();
    assert_eq!(again, record);
}

#[test]
fn what_was_reached_is_remembered_on_the_way_back() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut record = example(now, None);
    record.enter(Phase::Verify, now);
    record.enter(Phase::Reinstate, now);
    assert_eq!((record.phase, record.reached), (Phase::Reinstate, Phase::Verify));
}

use std::time::Duration;

use super::super::lifecycle::Phase;
use super::super::owner::Owner;
use super::super::plan::{Plan, Wishes};
use super::super::record::Straggler;
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn example() -> Record {
    let wishes = Wishes { timeout: Duration::from_secs(60), ..Wishes::default() };
    let plan = Plan::of_engine(&wishes);
    let owner = Owner::this("nonce".into());
    let path = "kv/clipper/db".to_owned();
    let new = |before, second| {
        Record::new("id".into(), path.clone(), plan.clone(), owner.clone(), before, at(second))
    };
    let mut before = new(None, 0);
    before.enter(Phase::Done, at(60));
    let mut record = new(Some(before), 3600);
    record.enter(Phase::Acknowledge, at(3660));
    let of = |name: &str, version| Credential {
        username: Some(name.to_owned()),
        version: Some(version),
        validity: Validity::Valid,
    };
    (record.old, record.new) = (of("app_a", 7), of("app_b", 8));
    record.problem = Some("acknowledge: web of agent-1 is on version 7".into());
    record.held = true;
    record.owner = None;
    record.stragglers.push(Straggler {
        agent: "agent-1".into(),
        name: "web".into(),
        pid: Some(4711),
        version: Some(7),
        since: Some(at(0)),
        problem: Some("exit status: 1".into()),
    });
    record.note("2 consumers are on the new credential", at(3661));
    record
}

#[test]
fn a_rotation_is_told_with_the_worst_first() {
    insta::assert_snapshot!(text(&example(), at(3720)));
}

#[test]
fn rotations_are_told_in_columns() {
    let mut fine = example();
    (fine.held, fine.problem) = (false, None);
    fine.history.clear();
    fine.enter(Phase::Done, at(3700));
    insta::assert_snapshot!(table_of(&[example(), fine], at(3720)));
}

//! Users with kills between the steps: none is left over, none is dropped early, and of those who
//! were there before nobody's password is lost.
//!
//! `HOLDFAST_PROVE_USERS` sets how many users are made; `cargo xtask prove database` makes 500.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use holdfast_types::Random;
use serde::Deserialize;

use super::*;

mod worker;

const USERS: usize = 40;

/// Users who were there before, whose passwords the worker changes.
const FIXED: [&str; 3] = ["fixed0", "fixed1", "fixed2"];

/// The worker's points, and kills from outside, at any moment.
const POINTS: [&str; 13] = [
    "before-record",
    "after-record",
    "before-lease",
    "after-lease",
    "before-end",
    "after-end",
    "before-change",
    "after-change",
    "before-changed",
    "after-changed",
    "anywhere",
    "anywhere",
    "anywhere",
];

/// What the process says of its store.
#[derive(Debug, Deserialize)]
struct Report {
    leases: Vec<ReportedLease>,
    records: Vec<String>,
    made: usize,
    /// How many passwords were changed.
    rotated: usize,
    /// By user: as it is stored, and as it was about to be.
    passwords: BTreeMap<String, (Option<String>, Option<String>)>,
    due: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ReportedLease {
    username: String,
    ending: bool,
}

struct Proof {
    server: Postgres,
    store: tempfile::TempDir,
}

impl Proof {
    fn new() -> Self {
        let server = Postgres::start();
        sql(&server, "postgres", "CREATE ROLE proof NOLOGIN");
        for user in FIXED {
            sql(&server, "postgres", &format!("CREATE ROLE {user} LOGIN PASSWORD 'first'"));
        }
        Self { server, store: tempfile::tempdir().unwrap() }
    }

    fn spawn(&self, settings: &[&str]) -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "database::tests::kill::worker::worker", "--nocapture"])
            .arg(format!("store:{}", self.store.path().join("store").display()))
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let config = config(&self.server, "postgres").to_string();
        // Whoever only reports does not read it.
        let _ = child.stdin.take().unwrap().write_all(config.as_bytes());
        child
    }

    fn report(&self) -> Report {
        report(&self.spawn(&[]).wait_with_output().unwrap())
    }

    fn opens(&self, user: &str, password: Option<&String>) -> bool {
        password.is_some_and(|password| {
            self.server.psql_as(user, password, "postgres", "SELECT 1").is_ok()
        })
    }

    /// The users that PostgreSQL has.
    fn users(&self) -> BTreeSet<String> {
        let query = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-proof-%'";
        sql(&self.server, "postgres", query).lines().map(str::to_owned).collect()
    }
}

fn report(output: &Output) -> Report {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", output.status);
    let output = String::from_utf8_lossy(&output.stdout);
    let report = output.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(report.unwrap_or_else(|| panic!("no report: {output}"))).unwrap()
}

#[test]
fn kills_between_the_steps_leave_no_user_over_and_drop_none_early() {
    let users = std::env::var("HOLDFAST_PROVE_USERS").ok();
    let users: usize = users.map_or(USERS, |users| users.parse().unwrap());
    let mut proof = Proof::new();
    let (mut kills, mut crashes, mut recovered, mut unsettled) = (0, 0, 0, 0);
    let mut report_before = proof.report();
    while report_before.made < users {
        let [point, nth, moment, fate] = SystemRandom.bytes::<4>();
        let point = POINTS[usize::from(point) % POINTS.len()];
        let mut child = match point {
            "anywhere" => proof.spawn(&["users:1000"]),
            point => proof.spawn(&["users:1000", &format!("dies:{point}:{}", 1 + nth % 6)]),
        };
        if point == "anywhere" {
            std::thread::sleep(Duration::from_millis(100 + 4 * u64::from(moment)));
            // A server that dies as well, now and then: its backends may be in a commit.
            if fate < 96 {
                proof.server.crash().unwrap();
                crashes += 1;
            }
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        if fate < 96 && point == "anywhere" {
            proof.server.resume().unwrap();
        }
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !words.contains("panicked"), "{words}");
        kills += 1;

        let report = proof.report();
        let there = proof.users();
        for lease in report.leases.iter().filter(|lease| !lease.ending) {
            assert!(there.contains(&lease.username), "{} was dropped early", lease.username);
        }
        for (user, (stored, begun)) in &report.passwords {
            // Before there is a role, the password is the one that the user came with.
            let first = "first".to_owned();
            let stored = stored.as_ref().unwrap_or(&first);
            let kept = proof.opens(user, Some(stored)) || proof.opens(user, begun.as_ref());
            assert!(kept, "the password of {user} is lost");
            unsettled += usize::from(begun.is_some());
        }
        recovered += report.records.len();
        report_before = report;
    }

    // One that is left to live settles what the last one left open.
    let settled = report(&proof.spawn(&["users:0"]).wait_with_output().unwrap());
    assert!(settled.records.is_empty(), "{:?}", settled.records);
    assert!(settled.leases.iter().all(|lease| !lease.ending));
    for (user, (stored, begun)) in &settled.passwords {
        assert!(proof.opens(user, stored.as_ref()) && begun.is_none(), "{user}");
    }
    assert_eq!(settled.due.len(), FIXED.len(), "{:?}", settled.due);
    let leased: BTreeSet<_> = settled.leases.into_iter().map(|lease| lease.username).collect();
    assert_eq!(proof.users(), leased);
    eprintln!(
        "{} users made, {kills} processes killed, {crashes} crashes of the server, {recovered} \
         users without a lease rolled back, {} live, none left over, none dropped early; {} \
         passwords changed, {unsettled} times between two of them, none lost",
        settled.made,
        leased.len(),
        settled.rotated
    );
}

use holdfast_agent::status::{FileState, ServerStatus, VariableStatus};

use super::*;

const PATH: &str = "kv/data/app/db";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn source(version: u64) -> Vec<SourceRecord> {
    let fields = vec!["data.password".to_owned()];
    vec![SourceRecord { path: PATH.to_owned(), version: Some(version), rotated: None, fields }]
}

fn file(version: u64, generation: u64) -> FileStatus {
    FileStatus {
        destination: "/run/app/env".into(),
        template: "env.ctmpl".into(),
        state: FileState::Current,
        generation: Some(generation),
        changed: Some(at(generation.cast_signed())),
        sources: source(version),
        copied: false,
        problem: None,
    }
}

fn consumer(generation: u64, wanted: u64, holds: u64) -> ConsumerStatus {
    ConsumerStatus {
        name: "kill -HUP 7".into(),
        told_by: "kill -HUP 7".into(),
        files: vec!["/run/app/env".into()],
        pid: Some(7),
        generation,
        wanted,
        stale: generation < wanted,
        since: Some(at(1)),
        holds: source(holds),
        problem: None,
    }
}

fn status(files: Vec<FileStatus>, consumers: Vec<ConsumerStatus>) -> Status {
    Status {
        name: "agent-1".into(),
        pid: 1,
        started: at(0),
        server: ServerStatus {
            cluster: None,
            address: String::new(),
            reachable: true,
            answered: None,
            problem: None,
            logged_in: true,
            accessor: None,
            token_expires: None,
            told_of_changes: true,
            polling_because: None,
        },
        generation: None,
        files,
        variables: Vec::new(),
        consumers,
        notices: Vec::new(),
    }
}

#[test]
fn an_agent_of_another_secrets_server_does_not_count() {
    let mut status = status(vec![file(1, 1)], Vec::new());
    for (its, ours, elsewhere) in [
        (Some("a"), Some("a"), false),
        (Some("b"), Some("a"), true),
        // Rather one too many is waited for.
        (None, Some("a"), false),
        (Some("b"), None, false),
        (None, None, false),
    ] {
        status.server.cluster = its.map(str::to_owned);
        assert_eq!(is_elsewhere(&status, ours), elsewhere, "{its:?} {ours:?}");
    }
}

#[test]
fn files_and_consumers_are_behind_until_they_say_otherwise() {
    // The file's version and generation; the consumer's generation, the one it should be on, and
    // the version that it holds. Then how many files and consumers are behind version 8.
    for (name, (version, generation), (on, wanted, holds), want) in [
        ("before the write", (7, 3), (3, 3, 7), (1, 0)),
        ("written, not flipped to", (7, 3), (3, 3, 7), (1, 0)),
        ("flipped to, the consumer not yet counted", (8, 4), (3, 3, 7), (0, 1)),
        ("being told", (8, 4), (3, 4, 7), (0, 1)),
        ("acknowledged", (8, 4), (4, 4, 8), (0, 0)),
        ("a later version", (9, 5), (5, 5, 9), (0, 0)),
    ] {
        let status = status(vec![file(version, generation)], vec![consumer(on, wanted, holds)]);
        let standing = standing(&status, PATH, Mark::Version(8));
        assert_eq!((standing.files.len(), standing.consumers.len()), want, "{name}");
        assert_eq!(standing.watched, 1);
    }
}

#[test]
fn a_straggler_is_told_with_what_is_known_of_it() {
    let mut late = consumer(3, 4, 7);
    late.problem = Some("exit status: 1".into());
    let status = status(vec![file(8, 4)], vec![late]);
    let [late] = &standing(&status, PATH, Mark::Version(8)).consumers[..] else { panic!("one") };
    assert_eq!((late.pid, late.version, late.since), (Some(7), Some(7), Some(at(1))));
    assert_eq!(late.problem.as_deref(), Some("exit status: 1"));
}

#[test]
fn others_secrets_are_not_looked_at() {
    let status = status(vec![file(7, 3)], vec![consumer(3, 4, 7)]);
    assert!(delivers(&status, PATH) && !delivers(&status, "kv/data/app"));
    assert_eq!(standing(&status, "kv/data/app", Mark::Version(8)), Standing::default());
}

/// A source without versions, read when its engine had last rotated it at `second`.
fn rotated(second: i64) -> Vec<SourceRecord> {
    let mut sources = source(0);
    sources[0].version = None;
    sources[0].rotated = Some(at(second).to_string());
    sources
}

fn variable(sources: Vec<SourceRecord>) -> VariableStatus {
    VariableStatus { name: "PASSWORD".into(), sources, problem: None }
}

#[test]
fn without_versions_it_counts_what_the_engine_had_done_when_it_was_read() {
    // The file was changed later, by something else.
    let mut late = file(7, 9);
    late.sources = rotated(3);
    let mut status = status(vec![late], vec![consumer(9, 9, 7)]);
    status.variables.push(variable(rotated(3)));
    for (moment, behind) in [(2, 0), (3, 0), (4, 2)] {
        let standing = standing(&status, PATH, Mark::Rotated(at(moment)));
        assert_eq!(standing.files.len(), behind, "{moment}: {standing:?}");
    }
    status.variables[0].sources[0].rotated = None;
    assert_eq!(standing(&status, PATH, Mark::Rotated(at(2))).files.len(), 1, "nobody knows");
}

#[test]
fn variables_are_behind_like_files() {
    let mut process = consumer(0, 0, 7);
    process.name = PROCESS.into();
    process.files.clear();
    let mut status = status(Vec::new(), vec![process]);
    status.variables.push(variable(source(7)));
    for (mark, behind) in [(Mark::Any, 0), (Mark::Version(7), 0), (Mark::Version(8), 1)] {
        let standing = standing(&status, PATH, mark);
        assert_eq!((standing.files.len(), standing.watched), (behind, 1), "{mark:?}");
    }
    status.consumers[0].stale = true;
    assert_eq!(standing(&status, PATH, Mark::Any).consumers.len(), 1, "it runs with older ones");
}

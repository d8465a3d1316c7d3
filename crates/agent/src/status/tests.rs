use tokio::sync::{mpsc, oneshot};

use super::*;

fn status() -> Status {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    Status {
        name: "agent-1".into(),
        pid: 7,
        started: now,
        server: ServerStatus {
            cluster: None,
            address: "http://127.0.0.1:8200".into(),
            reachable: true,
            answered: Some(now),
            problem: None,
            logged_in: true,
            accessor: None,
            token_expires: None,
            told_of_changes: true,
            polling_because: None,
        },
        generation: None,
        files: Vec::new(),
        variables: Vec::new(),
        consumers: Vec::new(),
        notices: Vec::new(),
    }
}

#[tokio::test]
async fn whoever_may_open_the_socket_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than a socket's address may be.
    let deep = folder.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let path = deep.join("control.sock");
    let listener = Listener::bind(&path).unwrap();
    let (ask, mut questions) = mpsc::channel::<oneshot::Sender<Status>>(1);
    let serving = tokio::spawn(listener.serve(ask));
    let agent = tokio::spawn(async move {
        for pid in [7, 8] {
            let question = questions.recv().await.unwrap();
            question.send(Status { pid, ..status() }).unwrap();
        }
    });
    assert_eq!(read(&path).await.unwrap(), status());
    assert_eq!(read(&path).await.unwrap(), Status { pid: 8, ..status() });
    agent.await.unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    // Nobody listens, but somebody lives there: one that is about to listen again.
    let other = Listener::bind(&deep.join("other.sock")).unwrap();
    serving.abort();
    let _ = serving.await;
    assert!(matches!(read(&path).await, Err(StatusError::Io { .. })));
    assert!(path.exists());
    // Nobody does: the next who asks finds nothing.
    drop(other);
    assert!(matches!(read(&path).await, Err(StatusError::Gone(_))));
    assert!(!path.exists());
    assert!(matches!(read(&path).await, Err(StatusError::Io { .. })));
    // The next one takes its place.
    Listener::bind(&path).unwrap();
}

#[test]
fn the_worst_comes_first() {
    assert_eq!(status().worst(), None);
    let consumer = ConsumerStatus {
        name: "process".into(),
        told_by: "run".into(),
        files: Vec::new(),
        pid: Some(9),
        generation: 3,
        wanted: 4,
        stale: true,
        since: None,
        holds: Vec::new(),
        problem: None,
    };
    let mut ill = Status { consumers: vec![consumer], ..status() };
    assert!(ill.worst().unwrap().contains("on generation 3, not on 4"));
    let message = "permission denied".to_owned();
    let problem = Problem { message, line: Some(1), column: None, explain: None };
    ill.files.push(FileStatus {
        destination: "/run/a".into(),
        template: "a.ctmpl".into(),
        state: FileState::Old,
        generation: Some(3),
        changed: None,
        sources: Vec::new(),
        copied: false,
        problem: Some(problem),
    });
    assert_eq!(ill.worst().unwrap(), "/run/a is not up to date: permission denied");
    ill.server.reachable = false;
    assert!(ill.worst().unwrap().contains("does not answer"));
}

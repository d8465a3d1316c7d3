//! Crashes between the steps, and servers that go away.

use super::*;

#[tokio::test]
async fn a_user_without_a_lease_is_dropped_at_the_next_start() {
    let server = server();
    make_database(server, "faults_crash");
    let fixture = Fixture::with_role(server, "faults_crash", role(&[CREATE])).await;
    let kept = fixture.user("app").await;
    let lost = fixture.unsettled_user("app").await;
    assert_eq!(fixture.records().await, 1);
    // The lease can still come, for as long as a request can take.
    fixture.backend.tick().await.unwrap();
    assert!(role_exists(server, &lost.name));

    let fixture = fixture.restarted().await;
    assert!(!role_exists(server, &lost.name));
    assert!(role_exists(server, &kept.name));
    assert_eq!(fixture.records().await, 0);
    fixture.revoke(&kept).await;
}

#[tokio::test]
async fn a_record_of_a_user_that_never_came_to_be_is_settled() {
    let server = server();
    make_database(server, "faults_never");
    let fixture = Fixture::with_role(server, "faults_never", role(&[CREATE])).await;
    let storage = View::new(fixture.entries.clone(), "logical/database/");
    let record = json!({ "username": "v-never-made", "config": "pg", "role": "app", "created_at": "2026-11-22T12:00:00Z" });
    storage.put_json("wal/00000000-0000-0000-0000-000000000000", &record).await.unwrap();
    // A record whose config is gone keeps nothing else from being settled.
    let mut orphan = record.clone();
    orphan["config"] = "none".into();
    storage.put_json("wal/00000000-0000-0000-0000-000000000001", &orphan).await.unwrap();
    let fixture = fixture.restarted().await;
    let left = storage.list("wal/").await.unwrap();
    assert_eq!(left, ["00000000-0000-0000-0000-000000000001"]);
    fixture.backend.stop().await;
}

#[tokio::test]
async fn a_commit_that_outlives_its_sender_is_waited_for() {
    let server = server();
    make_database(server, "faults_commit");
    let fixture = Fixture::with_role(server, "faults_commit", role(&[CREATE])).await;
    let storage = View::new(fixture.entries.clone(), "logical/database/");
    let record = json!({ "username": "v-slow", "config": "pg", "role": "app", "created_at": "2026-11-22T12:00:00Z" });
    storage.put_json("wal/00000000-0000-0007-0000-000000000000", &record).await.unwrap();
    // The server is still at the work of a process that has died: the user is not there yet.
    let work = "BEGIN; SELECT pg_advisory_xact_lock(7); CREATE ROLE \"v-slow\"; SELECT pg_sleep(1); COMMIT";
    let mut psql = server.psql_command(Postgres::ADMIN, server.admin_password(), "faults_commit");
    let mut dead = psql.args(["-c", work]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let locked =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND granted";
    eventually(server, locked, "1").await;
    let fixture = fixture.restarted().await;
    assert!(dead.wait().unwrap().success());
    assert!(!role_exists(server, "v-slow"));
    assert_eq!(fixture.records().await, 0);
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_loses_nobody() {
    let mut server = Postgres::start();
    let fixture = Fixture::with_role(&server, "postgres", role(&[CREATE])).await;
    let user = fixture.user("app").await;
    let lost = fixture.unsettled_user("app").await;

    server.crash().unwrap();
    let refusal = fixture.refusal(Operation::Read, "creds/app", Value::Null).await;
    assert!(refusal.contains("failed to connect"), "{refusal}");
    assert!(fixture.backend.revoke(&user.lease).await.is_err());
    // The mount opens without its database.
    let fixture = fixture.restarted().await;
    assert_eq!(fixture.records().await, 1);
    assert!(fixture.backend.tick().await.is_err());

    server.resume().unwrap();
    fixture.backend.tick().await.unwrap();
    assert_eq!(fixture.records().await, 0);
    assert!(!role_exists(&server, &lost.name));
    assert!(role_exists(&server, &user.name));
    let next = fixture.user("app").await;
    for user in [user, next] {
        fixture.revoke(&user).await;
        assert!(!role_exists(&server, &user.name));
    }
}

/// Connections of the pool that died with the server are not handed out.
#[tokio::test]
async fn a_restart_of_the_server_is_not_noticed() {
    let mut server = Postgres::start();
    let fixture = Fixture::with_role(&server, "postgres", role(&[CREATE])).await;
    fixture.user("app").await;
    server.stop().unwrap();
    server.resume().unwrap();
    fixture.user("app").await;
}

#[tokio::test(start_paused = true)]
async fn a_record_of_this_process_is_left_alone_while_a_request_can_last() {
    let storage = View::new(Arc::new(MemoryEntries::default()), "");
    let context = Context {
        storage: storage.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        passwords: Arc::new(holdfast_logical::testing::OnePassword),
        mount: Arc::default(),
    };
    let journal = Journal::new(storage.clone());
    let record = journal::Record {
        username: "u".to_owned(),
        config: "c".to_owned(),
        role: "r".to_owned(),
        created_at: SystemClock.now(),
    };
    let id = journal.begin(&context, &record).await.unwrap();
    let other = Journal::new(storage);
    assert_eq!(other.abandoned().await.unwrap().len(), 1, "another process knows no better");
    for (after, abandoned) in [(0, 0), (299, 0), (2, 1)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        assert_eq!(journal.abandoned().await.unwrap().len(), abandoned);
    }
    journal.settle(&id).await.unwrap();
    assert!(journal.abandoned().await.unwrap().is_empty());
}

//! Consumers that do not follow, operators who meet, secrets that are not to be rotated.

use serde_json::json;

use super::world::{Rotating, SECRET, STUCK, both, unstick};
use crate::delivery::world::World;

/// With a consumer that acknowledges and one that has said so for the last time.
async fn with_stuck(world: World) -> Rotating {
    with_stuck_and(world, &["web"]).await
}

async fn with_stuck_and(world: World, names: &[&str]) -> Rotating {
    unstick(&world, 1_000);
    let rotating = Rotating::start(world, names, STUCK).await;
    let generation = rotating.agent.status().await.generation.unwrap().number;
    unstick(&rotating.world, generation);
    rotating
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_never_acknowledges_is_told_of_and_all_is_rolled_back() {
    for world in [World::ours().await, World::bao().await] {
        let rotating = with_stuck(world).await;
        let before = rotating.current().await;
        let output = rotating.run(&[SECRET, "--timeout", "20s"], 3);
        let said = both(&output);
        assert!(said.contains("stuck") && said.contains("acknowledge"), "{said}");
        let after = rotating.current().await;
        assert_eq!((&before.0, &before.1, before.2 + 2), (&after.0, &after.1, after.2));
        assert_eq!(rotating.open_roles(), "app_a");
        assert_eq!(rotating.failed(&["web"]), "");
        let shown = rotating.shown();
        assert_eq!(shown["phase"], "rolled-back", "{shown}");
        assert_eq!(shown["new"]["validity"], "ended");
        // Whoever is behind is not forgotten: the next rotation is not begun.
        let output = rotating.run(&[SECRET, "--timeout", "2s"], 3);
        let said = both(&output);
        assert!(said.contains("before anything was changed") && said.contains("stuck"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_held_keeps_both_valid_until_an_operator_decides() {
    let rotating = with_stuck(World::ours().await).await;
    let before = rotating.current().await;
    rotating.run(&[SECRET, "--timeout", "20s", "--hold"], 4);
    let held = rotating.current().await;
    assert_eq!((before.0.as_str(), held.0.as_str()), ("app_a", "app_b"));
    assert!(rotating.admits(&before.0, &before.1) && rotating.admits(&held.0, &held.1));
    let shown = both(&rotating.run(&["show", SECRET], 4));
    assert!(shown.contains("STALE: ") && shown.contains("stuck"), "{shown}");
    assert!(!shown.contains(&held.1) && !shown.contains(&before.1), "no values");
    let listed = both(&rotating.run(&["list"], 0));
    assert!(listed.contains("acknowledge (HELD)"), "{listed}");
    let refused = both(&rotating.run(&[SECRET], 1));
    assert!(refused.contains("stands still in acknowledge"), "{refused}");

    // It says so after all: what was held goes on.
    unstick(&rotating.world, 1_000);
    let settled = |status: &holdfast_agent::status::Status| status.worst().is_none();
    rotating.agent.until("the consumer to be told again", settled).await;
    rotating.run(&["retry", SECRET], 0);
    assert_eq!(rotating.open_roles(), "app_b");
    assert!(!rotating.admits(&before.0, &before.1));
    assert_eq!(rotating.failed(&["web"]), "");
    let over = both(&rotating.run(&["rollback", SECRET], 1));
    assert!(over.contains("is over: done"), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_role_alone_gets_its_old_password_back() {
    let rotating = with_stuck_and(World::ours().await, &[]).await;
    rotating.declare(&[]).await;
    let refused = both(&rotating.run(&[SECRET], 1));
    assert!(refused.contains("--single-role"), "{refused}");
    let before = rotating.current().await;
    rotating.run(&[SECRET, "--single-role", "--timeout", "20s"], 3);
    assert_eq!(rotating.current().await.1, before.1);
    assert!(rotating.admits("app_a", "first"), "the old password is back");

    unstick(&rotating.world, 1_000);
    let settled = |status: &holdfast_agent::status::Status| status.worst().is_none();
    rotating.agent.until("the consumer to be told again", settled).await;
    rotating.run(&[SECRET, "--single-role"], 0);
    let after = rotating.current().await;
    assert!(!rotating.admits("app_a", "first") && rotating.admits("app_a", &after.1));

    // Somebody changes another field while it stands still: the way back leaves that alone.
    unstick(&rotating.world, 0);
    rotating.run(&[SECRET, "--single-role", "--timeout", "20s", "--hold"], 4);
    let (username, password, version) = rotating.current().await;
    let patched = json!({ "username": username, "password": password, "port": 5433 });
    rotating.world.put("app/db", patched).await;
    unstick(&rotating.world, 1_000);
    let output = both(&rotating.run(&["rollback", SECRET], 3));
    let back = rotating.current().await;
    assert_eq!((&back.1, back.2), (&after.1, version + 2), "{output}");
    assert!(rotating.admits("app_a", &back.1) && !rotating.admits("app_a", &password));
    let read = rotating.world.root.read("kv/data/app/db", &[]).await.unwrap().unwrap();
    assert_eq!(read.data.unwrap()["data"]["port"], 5433);
    rotating.agent.until("the consumer to be told again", settled).await;

    // Somebody puts a credential of their own there: nobody but they can say which one is good.
    unstick(&rotating.world, 0);
    rotating.run(&[SECRET, "--single-role", "--timeout", "20s", "--hold"], 4);
    let (_, password, _) = rotating.current().await;
    rotating.world.put("app/db", json!({ "username": "app_a", "password": "theirs" })).await;
    let output = both(&rotating.run(&["rollback", SECRET], 4));
    assert!(output.contains("neither the old nor the new"), "{output}");
    assert!(rotating.admits("app_a", &password), "what was valid stays valid");
    rotating.world.put("app/db", json!({ "username": "app_a", "password": password })).await;
    unstick(&rotating.world, 1_000);
    rotating.run(&["rollback", SECRET], 3);
    assert!(rotating.admits("app_a", &back.1));
    rotating.agent.until("the consumer to be told again", settled).await;

    // The secret alone was changed: the next rotation makes both the same again.
    let drifted = json!({ "username": "app_a", "password": "nobody told the database" });
    rotating.world.put("app/db", drifted).await;
    let output = rotating.run(&[SECRET, "--single-role"], 0);
    assert!(both(&output).contains("refuses the secret's password"), "{}", both(&output));
    let after = rotating.current().await;
    assert!(rotating.admits("app_a", &after.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_since_an_earlier_try_is_not_overwritten() {
    let world = World::ours().await;
    unstick(&world, 1_000);
    let mut rotating = Rotating::start(world, &[], STUCK).await;
    rotating.postgres.crash().unwrap();
    let mut first = rotating.command(&[SECRET]).spawn().unwrap();
    while !rotating.is_staged().await {
        assert!(first.try_wait().unwrap().is_none(), "it has to wait for PostgreSQL");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let edited = json!({ "username": "app_a", "password": "first", "apikey": "newer" });
    rotating.world.put("app/db", edited).await;
    rotating.postgres.resume().unwrap();
    rotating.run(&[SECRET, "--timeout", "40s"], 0);
    let read = rotating.world.root.read("kv/data/app/db", &[]).await.unwrap().unwrap();
    let data = read.data.unwrap();
    assert_eq!(
        (&data["data"]["username"], &data["data"]["apikey"]),
        (&"app_b".into(), &"newer".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_sees_no_sessions_changes_nothing() {
    let world = World::ours().await;
    unstick(&world, 1_000);
    let rotating = Rotating::start(world, &[], STUCK).await;
    let psql = |sql: &str| rotating.postgres.psql("postgres", sql).unwrap();
    psql("CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'rotator'");
    let admin = json!({ "username": "rotator", "password": "rotator" });
    rotating.world.put("admin", admin).await;
    let before = rotating.current().await;
    let refused = both(&rotating.run(&[SECRET, "--timeout", "20s"], 3));
    assert!(refused.contains("GRANT pg_read_all_stats"), "{refused}");
    assert_eq!(rotating.current().await, before);
    psql("GRANT pg_read_all_stats TO rotator");
    let refused = both(&rotating.run(&[SECRET, "--timeout", "20s"], 3));
    assert!(refused.contains("GRANT pg_signal_backend"), "{refused}");
    psql("GRANT pg_signal_backend TO rotator");
    rotating.run(&[SECRET, "--timeout", "20s"], 0);
    assert_eq!(rotating.open_roles(), "app_b");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_is_told_of_the_other() {
    let rotating = with_stuck(World::ours().await).await;
    let mut first = rotating.command(&[SECRET, "--timeout", "20s"]).spawn().unwrap();
    rotating.until("the first to have begun", |rotating| {
        let output = rotating.command(&["show", SECRET]).output().unwrap();
        output.status.success()
    });
    let refused = both(&rotating.run(&[SECRET], 1));
    assert!(refused.contains("is under way since"), "{refused}");
    assert_eq!(first.wait().unwrap().code(), Some(3));
}

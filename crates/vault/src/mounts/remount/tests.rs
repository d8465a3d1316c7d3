use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::testing::Server;
use crate::wire::Verb;

#[tokio::test]
async fn a_mount_moves_with_its_data_and_without_its_leases() {
    let server = Server::new().await;
    server.ok(Verb::Write, "fake/store/a", json!({ "v": 1 })).await;
    server.ok(Verb::Read, "fake/creds", json!({})).await;
    let limit = json!({ "rate": 1000, "path": "fake/store/*" });
    server.ok(Verb::Write, "sys/quotas/rate-limit/q", limit).await;
    assert_eq!(server.fake.count(), 1);

    let moved =
        server.ok(Verb::Write, "sys/remount", json!({ "from": "fake", "to": "deep/new" })).await;
    let id = moved["data"]["migration_id"].as_str().unwrap();
    assert_eq!(server.core.vault().mounts.moved(id).unwrap().status, "success");

    assert_eq!(server.fake.count(), 0, "the lease was revoked");
    assert_eq!(server.ok(Verb::Read, "deep/new/store/a", json!({})).await["data"]["v"], 1);
    let root = server.root.clone();
    assert_eq!(server.call(&root, Verb::Read, "fake/store/a", json!({})).await.0, 404);
    let limit = server.ok(Verb::Read, "sys/quotas/rate-limit/q", json!({})).await;
    assert_eq!(limit["data"]["path"], "deep/new/store/*");

    let server = server.crash().await;
    assert_eq!(server.ok(Verb::Read, "deep/new/store/a", json!({})).await["data"]["v"], 1);
}

#[tokio::test]
async fn a_move_that_a_crash_broke_off_goes_on() {
    let server = Server::new().await;
    server.ok(Verb::Write, "fake/store/a", json!({ "v": 1 })).await;
    server.ok(Verb::Read, "fake/creds", json!({})).await;
    // As far as a crash right after the mark lets it come.
    let vault = server.core.vault();
    let mut router = vault.mounts.router.load().as_ref().clone();
    let before = router.at("fake/").unwrap().clone();
    let mut entry = before.entry.clone();
    entry.moving_to = Some("new/".to_owned());
    router.insert(Arc::new(before.with_entry(entry, vault.mounts.limits)));
    vault.mounts.publish(router).await.unwrap();
    drop((vault, before));

    let server = server.crash().await;
    let root = server.root.clone();
    // Its new place is taken, whether or not it is there already.
    let other = server.call(&root, Verb::Write, "sys/mounts/new", json!({ "type": "kv" })).await;
    assert_eq!(other.0, 400, "{}", other.1);
    finish_moves(&server.core.vault()).await;
    assert_eq!(server.fake.count(), 0);
    assert_eq!(server.ok(Verb::Read, "new/store/a", json!({})).await["data"]["v"], 1);
    assert_eq!(server.call(&root, Verb::Read, "fake/store/a", json!({})).await.0, 404);
}

#[tokio::test]
async fn a_lease_that_cannot_be_revoked_leaves_the_mount_where_it_is() {
    let server = Server::new().await;
    server.ok(Verb::Read, "fake/creds", json!({})).await;
    server.fake.broken.store(true, Ordering::SeqCst);
    let moved = server.ok(Verb::Write, "sys/remount", json!({ "from": "fake", "to": "new" })).await;
    let id = moved["data"]["migration_id"].as_str().unwrap();
    assert_eq!(server.core.vault().mounts.moved(id).unwrap().status, "failure");
    server.ok(Verb::Write, "fake/store/a", json!({ "v": 1 })).await;
    assert_eq!(server.fake.count(), 1);
}

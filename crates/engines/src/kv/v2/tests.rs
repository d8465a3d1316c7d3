use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::Operation::{Create, Delete, List, Patch, Read, Scan, Update};
use holdfast_types::rfc3339;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::kv;
use holdfast_logical::testing::Mount;

async fn mount() -> Mount {
    Mount::new(&[("version", "2")], kv::backend).await
}

async fn put(mount: &Mount, path: &str, data: Value) {
    let (status, answer) =
        mount.ask(Update, &format!("data/{path}"), json!({ "data": data })).await;
    assert_eq!(status, 200, "{path}: {answer}");
}

#[tokio::test]
async fn what_is_written_is_read_version_by_version() {
    let mount = mount().await;
    let (status, written) =
        mount.ask(Create, "data/app/db", json!({ "data": { "password": "a" } })).await;
    let time = "1970-01-12T13:46:40Z";
    let metadata = |version| {
        json!({
            "created_time": time, "custom_metadata": null, "deletion_time": "",
            "destroyed": false, "version": version,
        })
    };
    assert_eq!((status, written), (200, metadata(1)));
    put(&mount, "app/db", json!({ "password": "b" })).await;

    let read = |version: &str, password: &str| {
        (version.to_owned(), json!({ "data": { "password": password } }))
    };
    for ((version, want), number) in [(read("", "b"), 2), (read("1", "a"), 1), (read("2", "b"), 2)]
    {
        let (status, got) = mount.ask(Read, "data/app/db", json!({ "version": version })).await;
        assert_eq!(status, 200);
        assert_eq!(got["data"], want["data"]);
        assert_eq!(got["metadata"], metadata(number));
    }
    mount
        .walk(&[
            (Read, "data/app/db", json!({ "version": 3 }), 404),
            (Read, "data/app", json!({}), 404),
            (Read, "data/app/db", json!({ "version": "x" }), 400),
        ])
        .await;
}

#[tokio::test]
async fn check_and_set_compares_the_newest_version() {
    let mount = mount().await;
    let write = |cas: Value| json!({ "data": {}, "options": { "cas": cas } });
    mount
        .walk(&[
            (Create, "data/a", write(json!(1)), 400),
            (Create, "data/a", write(json!(0)), 200),
            (Update, "data/a", write(json!(0)), 400),
            (Update, "data/a", write(json!("1")), 200),
            (Update, "data/a", write(json!(-1)), 400),
            (Update, "data/a", write(json!("x")), 400),
            (Update, "data/a", write(json!(null)), 400),
            (Update, "data/a", json!({ "data": {} }), 200),
            (Update, "config", json!({ "cas_required": true }), 204),
            (Update, "data/a", json!({ "data": {} }), 400),
            (Update, "data/a", write(json!(3)), 200),
            (Update, "config", json!({ "cas_required": false }), 204),
            (Update, "metadata/a", json!({ "cas_required": true }), 204),
            (Update, "data/a", json!({ "data": {} }), 400),
            (Update, "data/b", json!({ "data": {} }), 200),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_with_the_same_cas_one_wins() {
    let mount = Arc::new(mount().await);
    put(&mount, "a", json!({})).await;
    let mut writers = JoinSet::new();
    for _ in 0..50 {
        let mount = mount.clone();
        let write = json!({ "data": {}, "options": { "cas": 1 } });
        writers.spawn(async move { mount.ask(Update, "data/a", write).await.0 });
    }
    let statuses = writers.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
}

#[tokio::test]
async fn deleted_versions_answer_404_with_their_metadata() {
    let mount = mount().await;
    put(&mount, "a", json!({ "x": 1 })).await;
    mount.walk(&[(Delete, "data/a", json!({}), 204), (Delete, "data/none", json!({}), 204)]).await;
    let (status, answer) = mount.ask(Read, "data/a", json!({})).await;
    assert_eq!(status, 404);
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(answer["metadata"]["deletion_time"], "1970-01-12T13:46:40Z");
    mount
        .walk(&[
            (Patch, "data/a", json!({ "data": { "y": 1 } }), 404),
            (Read, "subkeys/a", json!({}), 404),
            (Update, "undelete/a", json!({ "versions": ["1", 99, -1] }), 204),
            (Read, "data/a", json!({}), 200),
            (Update, "delete/a", json!({ "versions": "1,99" }), 204),
            (Read, "data/a", json!({}), 404),
            (Update, "undelete/a", json!({ "versions": 1 }), 204),
            (Read, "data/a", json!({}), 200),
            (Update, "destroy/a", json!({ "versions": [1] }), 204),
            (Read, "data/a", json!({}), 404),
            (Update, "undelete/a", json!({ "versions": [1] }), 204),
            (Read, "data/a", json!({}), 404),
            (Update, "destroy/a", json!({ "versions": [] }), 400),
            (Update, "delete/a", json!({ "versions": ["x"] }), 400),
            (Update, "delete/none", json!({ "versions": [1] }), 204),
        ])
        .await;
    assert_eq!(mount.storage.scan("version/").await.unwrap(), [""; 0], "destroyed data is gone");
}

#[tokio::test]
async fn versions_past_their_time_are_hidden_and_can_be_brought_back() {
    let mount = mount().await;
    mount.walk(&[(Update, "config", json!({ "delete_version_after": "10s" }), 204)]).await;
    put(&mount, "a", json!({ "x": 1 })).await;
    mount.clock.advance(Duration::from_secs(9));
    mount.walk(&[(Read, "data/a", json!({}), 200)]).await;
    mount.clock.advance(Duration::from_secs(1));
    mount
        .walk(&[
            (Read, "data/a", json!({}), 404),
            (Update, "undelete/a", json!({ "versions": [1] }), 204),
            (Read, "data/a", json!({}), 200),
        ])
        .await;
}

#[tokio::test]
async fn a_patch_merges_into_the_newest_version() {
    let mount = mount().await;
    mount.walk(&[(Patch, "data/a", json!({ "data": {} }), 404)]).await;
    put(&mount, "a", json!({ "x": 1, "o": { "p": 1, "q": 2 } })).await;
    mount
        .walk(&[
            (Patch, "data/a", json!({ "data": { "x": 2, "o": { "p": null } } }), 200),
            (Patch, "data/a", json!({ "data": {}, "options": { "cas": 1 } }), 400),
            (Patch, "data/a", json!({}), 400),
            (Patch, "delete/a", json!({ "data": {} }), 405),
        ])
        .await;
    let (_, answer) = mount.ask(Read, "data/a", json!({})).await;
    assert_eq!(answer["data"], json!({ "x": 2, "o": { "q": 2 } }));
    assert_eq!(answer["metadata"]["version"], 2);
}

#[tokio::test]
async fn metadata_is_kept_patched_and_counted() {
    let mount = mount().await;
    mount
        .walk(&[
            (Create, "metadata/a", json!({}), 204),
            (Read, "metadata/a", json!({}), 404),
            (Patch, "metadata/a", json!({ "max_versions": 1 }), 404),
            (Create, "metadata/a", json!({ "metadata_cas": 1, "max_versions": 2 }), 400),
            (Create, "metadata/a", json!({ "metadata_cas": 0, "max_versions": 2 }), 204),
            (Patch, "metadata/a", json!({ "custom_metadata": { "k": "v", "l": "w" } }), 204),
            (Patch, "metadata/a", json!({ "custom_metadata": { "k": null, "m": 1 } }), 204),
            (Patch, "metadata/a", json!({ "custom_metadata": { "k": "" } }), 400),
            (Update, "metadata/a", json!({ "delete_version_after": "1h" }), 204),
            (Update, "metadata/a", json!({ "delete_version_after": "-1s" }), 400),
        ])
        .await;
    let time = rfc3339(holdfast_types::Clock::now(&*mount.clock));
    let want = json!({
        "cas_required": false, "created_time": time, "current_metadata_version": 4,
        "current_version": 0, "custom_metadata": { "l": "w", "m": "1" },
        "delete_version_after": "1h0m0s", "max_versions": 2, "metadata_cas_required": false,
        "oldest_version": 0, "updated_time": time, "versions": {},
    });
    assert_eq!(mount.ask(Read, "metadata/a", json!({})).await, (200, want));
    mount
        .walk(&[
            (Read, "data/a", json!({}), 404),
            (Patch, "data/a", json!({ "data": {} }), 404),
            (Update, "metadata/a", json!({ "custom_metadata": {} }), 204),
        ])
        .await;
    let (_, answer) = mount.ask(Read, "metadata/a", json!({})).await;
    assert_eq!(answer["custom_metadata"], Value::Null);
}

#[tokio::test]
async fn deleting_metadata_leaves_nothing() {
    let mount = mount().await;
    for _ in 0..3 {
        put(&mount, "a", json!({ "x": 1 })).await;
    }
    put(&mount, "a/b", json!({})).await;
    mount
        .walk(&[(Delete, "metadata/a", json!({}), 204), (Delete, "metadata/a", json!({}), 204)])
        .await;
    assert_eq!(mount.storage.scan("").await.unwrap(), ["key/a/b", "version/1/a/b"]);
}

#[tokio::test]
async fn keys_are_listed_by_folder_and_by_page() {
    let mount = mount().await;
    for path in ["a", "d/e", "d/f", "g", "h/i/j"] {
        put(&mount, path, json!({})).await;
    }
    for (operation, path, data, want) in [
        (List, "metadata/", json!({}), json!(["a", "d/", "g", "h/"])),
        (List, "metadata/d/", json!({}), json!(["e", "f"])),
        (List, "metadata/", json!({ "after": "d/", "limit": "1" }), json!(["g"])),
        (List, "metadata/", json!({ "limit": "-1" }), json!(["a", "d/", "g", "h/"])),
        (Scan, "metadata/", json!({}), json!(["a", "d/e", "d/f", "g", "h/i/j"])),
        (Scan, "metadata/h/", json!({}), json!(["i/j"])),
    ] {
        let (status, answer) = mount.ask(operation, path, data.clone()).await;
        assert_eq!((status, &answer["keys"]), (200, &want), "{operation:?} {path} {data}");
    }
    mount
        .walk(&[
            (List, "metadata/none/", json!({}), 404),
            (List, "metadata/", json!({ "limit": "x" }), 400),
            (Scan, "metadata/none/", json!({}), 200),
            (List, "data/", json!({}), 405),
        ])
        .await;
    let (_, answer) = mount.ask(List, "detailed-metadata/", json!({})).await;
    assert_eq!(answer["key_info"]["d/"], json!({}));
    assert_eq!(answer["key_info"]["a"]["current_version"], 1);
}

#[tokio::test]
async fn pruned_versions_leave_the_store() {
    let mount = mount().await;
    mount.walk(&[(Update, "config", json!({ "max_versions": 2 }), 204)]).await;
    for _ in 0..4 {
        put(&mount, "a", json!({})).await;
    }
    assert_eq!(mount.storage.scan("version/").await.unwrap(), ["3/a", "4/a"]);
}

#[tokio::test]
async fn strange_paths_and_bodies_are_refused() {
    let mount = mount().await;
    mount
        .walk(&[
            (Create, "data/a", json!({}), 400),
            (Create, "data/a", json!({ "data": "x" }), 400),
            (Create, "data/a", json!({ "data": [1] }), 400),
            (Create, "data/a", json!({ "data": {}, "options": "x" }), 400),
            (Create, "data/a", json!({ "data": {}, "options": [] }), 200),
            (Create, "data/", json!({ "data": {} }), 400),
            (Patch, "data/a/", json!({ "data": {} }), 400),
            (Read, "data", json!({}), 404),
            (Read, "a", json!({}), 404),
            (Create, "frob/a", json!({}), 404),
            (Delete, "config", json!({}), 405),
            (Read, "delete/a", json!({}), 405),
            (Update, "config", json!({ "max_versions": "x" }), 400),
        ])
        .await;
}

#[tokio::test]
async fn settings_outlive_a_restart() {
    let mount = mount().await;
    mount.walk(&[(Update, "config", json!({ "delete_version_after": "-5s" }), 204)]).await;
    mount.backend.start().await.unwrap();
    let (_, answer) = mount.ask(Read, "config", json!({})).await;
    assert_eq!(answer["delete_version_after"], "-1s");
}

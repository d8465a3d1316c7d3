use std::sync::Arc;
use std::time::Duration;

use holdfast_barrier::{Entries, MemoryEntries};
use serde_json::{Value, json};

use crate::audit::Audit;
use crate::testing::{Fragile, Server};
use crate::wire::Verb::{List, Read, Write};

const ALL: &str = "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"sudo\"] }";

async fn child_of(server: &Server, token: &str, data: Value) -> String {
    let (status, body) = server.call(token, Write, "auth/token/create", data).await;
    assert_eq!(status, 200, "{body}");
    body["auth"]["client_token"].as_str().unwrap().to_owned()
}

async fn revoke(server: &Server, token: &str) -> u16 {
    let root = server.root.clone();
    server.call(&root, Write, "auth/token/revoke", json!({ "token": token })).await.0
}

/// A token with two children, of which the first has two itself, one an orphan.
async fn family(server: &Server) -> Vec<String> {
    let top = server.token(json!({ "policies": ["all"] })).await;
    let first = child_of(server, &top, json!({})).await;
    let second = child_of(server, &top, json!({})).await;
    let grandchild = child_of(server, &first, json!({})).await;
    let orphan = child_of(server, &first, json!({ "no_parent": true })).await;
    vec![top, first, second, grandchild, orphan]
}

async fn liveness(server: &Server, tokens: &[String]) -> Vec<bool> {
    let mut live = Vec::new();
    for token in tokens {
        live.push(server.is_live(token).await);
    }
    live
}

#[tokio::test]
async fn a_tokens_death_is_its_familys_with_leases_and_drawers() {
    let server = Server::new().await;
    server.policy("all", ALL).await;
    let tokens = family(&server).await;
    for token in &tokens {
        let made = server.call(token, Read, "fake/creds", json!({})).await;
        assert_eq!(made.0, 200);
        let put = server.call(token, Write, "cubbyhole/a", json!({ "x": 1 })).await;
        assert_eq!(put.0, 204);
    }
    assert_eq!(revoke(&server, &tokens[0]).await, 204);
    assert_eq!(liveness(&server, &tokens).await, [false, false, false, false, true]);
    server.until("only the orphan's thing is left", |server| server.fake.count() == 1).await;
    assert_eq!(revoke(&server, &tokens[4]).await, 204);
    server.until("nothing is left", |server| server.fake.count() == 0).await;
    // Root's own token and its accessor, the salt and the key.
    assert_eq!(server.keys("sys/token/").await.len(), 4);
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
    assert_eq!(server.keys("logical/").await, Vec::<String>::new());
}

#[tokio::test]
async fn revoking_a_token_alone_leaves_its_children_orphans() {
    let server = Server::new().await;
    server.policy("all", ALL).await;
    let tokens = family(&server).await;
    let body = json!({ "token": tokens[0] });
    server.ok(Write, "auth/token/revoke-orphan", body).await;
    assert_eq!(liveness(&server, &tokens).await, [false, true, true, true, true]);
    let lookup = server.call(&tokens[1], Read, "auth/token/lookup-self", json!({})).await;
    assert_eq!(lookup.1["data"]["orphan"], json!(true));
}

#[tokio::test]
async fn a_revocation_that_a_crash_breaks_off_goes_on() {
    for alone in [false, true] {
        for commits in 0.. {
            let entries: Arc<dyn Entries> = Arc::new(MemoryEntries::default());
            let server = Server::with(entries.clone(), Arc::new(Audit::default())).await;
            server.policy("all", ALL).await;
            let tokens = family(&server).await;
            for token in &tokens {
                assert_eq!(server.call(token, Read, "fake/creds", json!({})).await.0, 200);
            }
            // The same store, of which only so many commits succeed.
            let Server { core, clock, fake, root, .. } = server;
            drop(core);
            let fragile = Fragile::new(entries.clone(), commits);
            let audit = Arc::new(Audit::default());
            let server = Server::over(fragile, clock, fake, audit, root.clone()).await;
            let path = if alone { "auth/token/revoke-orphan" } else { "auth/token/revoke" };
            let got = server.call(&root, Write, path, json!({ "token": tokens[0] })).await;
            let Server { core, clock, fake, root, .. } = server;
            drop(core);
            let audit = Arc::new(Audit::default());
            let server = Server::over(entries, clock, fake, audit, root).await;
            let live = liveness(&server, &tokens).await;
            if commits == 0 {
                assert_eq!(live, [true; 5]);
                continue;
            }
            let want = match alone {
                true => [false, true, true, true, true],
                false => [false, false, false, false, true],
            };
            assert_eq!(live, want, "{commits} commits, alone: {alone}");
            let left = want.iter().filter(|live| **live).count();
            server.until("the dead tokens' things are gone", |s| s.fake.count() == left).await;
            assert_eq!(server.keys("sys/token/doomed/").await, Vec::<String>::new());
            if got.0 == 204 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_number_of_uses_is_never_exceeded() {
    let server = Server::new().await;
    server.policy("all", ALL).await;
    server.ok(Write, "fake/store/a", json!({ "x": 1 })).await;
    let token = server.token(json!({ "policies": ["all"], "num_uses": 5 })).await;
    let read = || server.call(&token, Read, "fake/store/a", json!({}));
    let answers = futures_util::future::join_all((0..50).map(|_| read())).await;
    assert_eq!(answers.iter().filter(|answer| answer.0 == 200).count(), 5);
    assert_eq!(answers.iter().filter(|answer| answer.0 == 403).count(), 45);
    assert_eq!(server.keys("sys/token/").await.len(), 4);
}

#[tokio::test]
async fn the_last_use_gets_no_lease_and_no_child() {
    let server = Server::new().await;
    server.policy("all", ALL).await;
    let token = server.token(json!({ "policies": ["all"], "num_uses": 1 })).await;
    let got = server.call(&token, Read, "fake/creds", json!({})).await;
    assert_eq!(got.0, 400, "{got:?}");
    assert_eq!(server.fake.count(), 0);
    for (uses, words) in [
        (1, "parent token lookup failed: no parent found"),
        (2, "restricted use token cannot generate child tokens"),
    ] {
        let token = server.token(json!({ "policies": ["all"], "num_uses": uses })).await;
        let got = server.call(&token, Write, "auth/token/create", json!({})).await;
        assert_eq!(got, (400, json!({ "errors": [words] })));
    }
}

#[tokio::test]
async fn batch_tokens_carry_themselves() {
    let server = Server::new().await;
    server.policy("all", ALL).await;
    let keys = server.keys("").await;
    let parent = server.token(json!({ "policies": ["all"] })).await;
    let batch = child_of(&server, &parent, json!({ "type": "batch", "ttl": "1h" })).await;
    let orphan = server.token(json!({ "policies": ["all"], "type": "batch", "ttl": "1h" })).await;
    let read = |token: String| {
        let server = &server;
        async move { server.call(&token, Read, "auth/token/lookup-self", json!({})).await }
    };
    assert_eq!(read(batch.clone()).await.1["data"]["type"], json!("batch"));
    let (head, tail) = batch.split_at(batch.len() / 2);
    let other = if tail.starts_with('A') { "B" } else { "A" };
    assert_eq!(read(format!("{head}{other}{}", &tail[1..])).await.0, 403);
    for path in ["auth/token/renew-self", "auth/token/revoke-self", "auth/token/create"] {
        assert_eq!(server.call(&batch, Write, path, json!({})).await.0, 400, "{path}");
    }
    assert_eq!(server.call(&batch, Read, "fake/creds", json!({})).await.0, 200);
    assert_eq!(revoke(&server, &parent).await, 204);
    assert_eq!(read(batch).await.0, 403);
    server.until("the batch token's thing went with its parent", |s| s.fake.count() == 0).await;
    assert_eq!(read(orphan.clone()).await.0, 200);
    server.clock.advance(Duration::from_secs(3601));
    assert_eq!(read(orphan).await.0, 403);
    server.reap().await;
    assert_eq!(server.keys("").await, keys);
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_lives_on_when_renewed() {
    let server = Server::new().await;
    server.policy("all", ALL).await;
    let make = |data: Value| async { server.token(data).await };
    let renewed = make(json!({ "policies": ["all"], "ttl": "60s" })).await;
    let left = make(json!({ "policies": ["all"], "ttl": "60s" })).await;
    let periodic = make(json!({ "policies": ["all"], "period": "60s" })).await;
    let capped =
        make(json!({ "policies": ["all"], "ttl": "60s", "explicit_max_ttl": "90s" })).await;
    server.clock.advance(Duration::from_secs(50));
    let renew = |token: String, increment: u64| async move {
        let body = json!({ "increment": increment });
        (token, "auth/token/renew-self", body)
    };
    for (token, increment, want) in [(&renewed, 0, 60), (&periodic, 9999, 60), (&capped, 0, 40)] {
        let (token, path, body) = renew(token.clone(), increment).await;
        let (status, answer) = server.call(&token, Write, path, body).await;
        assert_eq!((status, &answer["auth"]["lease_duration"]), (200, &json!(want)), "{answer}");
        assert_eq!(answer["warnings"].is_null(), want == 60, "{answer}");
    }
    server.clock.advance(Duration::from_secs(30));
    server.reap().await;
    let tokens = [renewed, left, periodic, capped.clone()];
    assert_eq!(liveness(&server, &tokens).await, [true, false, true, true]);
    server.clock.advance(Duration::from_secs(25));
    assert_eq!(liveness(&server, &tokens).await, [true, false, true, false]);
    server.clock.advance(Duration::from_secs(3600));
    server.reap().await;
    assert_eq!(server.keys("sys/token/").await.len(), 4);
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_token_bound_to_addresses_is_refused_from_others() {
    let server = Server::new().await;
    for (name, cidrs, status) in [("here", "127.0.0.0/8", 200), ("there", "10.0.0.0/8", 403)] {
        let role = json!({ "token_bound_cidrs": cidrs, "allowed_policies": "default" });
        server.ok(Write, &format!("auth/token/roles/{name}"), role).await;
        let made = server.ok(Write, &format!("auth/token/create/{name}"), json!({})).await;
        let token = made["auth"]["client_token"].as_str().unwrap();
        let got = server.call(token, Read, "auth/token/lookup-self", json!({})).await;
        assert_eq!(got.0, status, "{name}");
    }
}

#[tokio::test]
async fn a_child_has_no_more_than_its_parent() {
    let server = Server::new().await;
    server.policy("make", "path \"auth/token/create*\" { capabilities = [\"update\"] }").await;
    let token = server.token(json!({ "policies": ["make"] })).await;
    for (data, words) in [
        (json!({ "policies": ["other"] }), "child policies must be subset of parent"),
        (json!({ "policies": ["root"] }), "child policies must be subset of parent"),
        (json!({ "no_parent": true }), "root or sudo privileges required to create orphan token"),
        (json!({ "period": "1h" }), "root or sudo privileges required to create periodic token"),
        (json!({ "id": "mine" }), "root or sudo privileges required to specify token id"),
        (json!({ "type": "odd" }), "invalid 'token_type' value"),
        (json!({ "ttl": "-1h" }), "ttl must be positive"),
        (json!({ "num_uses": -1 }), "number of uses cannot be negative"),
    ] {
        let got = server.call(&token, Write, "auth/token/create", data).await;
        assert_eq!(got, (400, json!({ "errors": [words] })));
    }
}

#[tokio::test]
async fn a_child_gets_default_only_from_a_parent_that_has_it() {
    let server = Server::new().await;
    server.policy("make", "path \"auth/token/create*\" { capabilities = [\"update\"] }").await;
    server.ok(Write, "auth/token/roles/open", json!({ "orphan": true })).await;
    server.ok(Write, "auth/token/roles/glob", json!({ "allowed_policies_glob": "m*" })).await;
    let bare = server.token(json!({ "policies": ["make"], "no_default_policy": true })).await;
    let usual = server.token(json!({ "policies": ["make"] })).await;
    for (token, path, data, policies) in [
        (&bare, "auth/token/create", json!({ "policies": ["make"] }), json!(["make"])),
        (&bare, "auth/token/create", json!({}), json!(["make"])),
        (&bare, "auth/token/create/open", json!({ "policies": ["make"] }), json!(["make"])),
        // A role that lists policies gives what it lists, whatever the parent has.
        (&bare, "auth/token/create/glob", json!({}), json!(["default"])),
        (&usual, "auth/token/create", json!({ "policies": ["make"] }), json!(["default", "make"])),
    ] {
        let (status, body) = server.call(token, Write, path, data.clone()).await;
        assert_eq!(status, 200, "{path} {data}: {body}");
        assert_eq!(body["auth"]["policies"], policies, "{path} {data}");
    }
    let asked = json!({ "policies": ["make", "default"] });
    assert_eq!(server.call(&bare, Write, "auth/token/create", asked).await.0, 400);
}

#[tokio::test]
async fn what_is_stored_of_a_token_is_not_the_token() {
    let server = Server::new().await;
    let token = server.token(json!({ "policies": ["default"] })).await;
    for key in server.keys("").await {
        let value = server.entries.get(&key).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&value);
        assert!(!key.contains(&token) && !text.contains(&token), "{key}");
        assert!(!text.contains(&server.root), "{key}");
    }
    let accessors = server.ok(List, "auth/token/accessors", json!({})).await;
    assert_eq!(accessors["data"]["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revoked_token_never_comes_back() {
    let server = Arc::new(Server::new().await);
    for _ in 0..50 {
        let token = server.token(json!({ "policies": ["default"] })).await;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (server, token) = (server.clone(), token.clone());
                tokio::spawn(async move {
                    for _ in 0..20 {
                        server.call(&token, Read, "auth/token/lookup-self", json!({})).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        assert_eq!(revoke(&server, &token).await, 204);
        let after = server.call(&token, Read, "auth/token/lookup-self", json!({})).await;
        assert_eq!(after.0, 403);
        for reader in readers {
            reader.await.unwrap();
        }
        let after = server.call(&token, Read, "auth/token/lookup-self", json!({})).await;
        assert_eq!(after.0, 403);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_choose_the_same_token_one_gets_it() {
    let server = Arc::new(Server::new().await);
    for round in 0..20 {
        let asked = json!({ "id": format!("chosen-{round}"), "policies": ["default"] });
        let makers: Vec<_> = (0..4)
            .map(|_| {
                let (server, asked) = (server.clone(), asked.clone());
                tokio::spawn(async move {
                    let root = server.root.clone();
                    server.call(&root, Write, "auth/token/create", asked).await.0
                })
            })
            .collect();
        let mut made = 0;
        for maker in makers {
            match maker.await.unwrap() {
                200 => made += 1,
                status => assert_eq!(status, 400),
            }
        }
        assert_eq!(made, 1, "round {round}");
    }
    // One accessor each, and root's.
    assert_eq!(server.keys("sys/token/accessor/").await.len(), 21);
}

#[tokio::test]
async fn a_child_is_bound_to_its_parents_addresses() {
    let server = Server::new().await;
    server.policy("all", ALL).await;
    for (name, role) in [
        ("bound", json!({ "token_bound_cidrs": "127.0.0.0/8" })),
        ("plain", json!({})),
        ("wide", json!({ "token_bound_cidrs": "0.0.0.0/0" })),
        ("orphan", json!({ "orphan": true })),
    ] {
        server.ok(Write, &format!("auth/token/roles/{name}"), role).await;
    }
    let made = json!({ "policies": ["all"] });
    let made = server.ok(Write, "auth/token/create/bound", made).await;
    let parent = made["auth"]["client_token"].as_str().unwrap();
    for (path, want) in [
        ("create", json!(["127.0.0.0/8"])),
        ("create/plain", json!(["127.0.0.0/8"])),
        ("create/wide", json!(["0.0.0.0/0"])),
        ("create/orphan", Value::Null),
        ("create-orphan", Value::Null),
    ] {
        let path = format!("auth/token/{path}");
        let child = server.call(parent, Write, &path, json!({})).await.1;
        let token = child["auth"]["client_token"].as_str().unwrap();
        let shown = server.ok(Write, "auth/token/lookup", json!({ "token": token })).await;
        assert_eq!(shown["data"]["bound_cidrs"], want, "{path}");
    }
}

#[tokio::test]
async fn batch_tokens_outlive_their_key() {
    let server = Server::new().await;
    let make = || async {
        server.token(json!({ "policies": ["default"], "type": "batch", "ttl": "1h" })).await
    };
    let first = make().await;
    server.core.rotate_keys().await.unwrap();
    let second = make().await;
    // The key's number stands in clear: `b.` and base64 of the version and the number.
    assert_ne!(first[..9], second[..9]);
    let swapped = format!("{}{}", &second[..9], &first[9..]);
    let server = server.crash().await;
    for (token, status) in [(&first, 200), (&second, 200), (&swapped, 403)] {
        let got = server.call(token, Read, "auth/token/lookup-self", json!({})).await;
        assert_eq!(got.0, status, "{}", got.1);
    }
}

/// SQLite keeps up to 1,002 bytes of a row in one page of a table without row ids, and takes a whole
/// page more for the rest.
#[test]
fn the_entry_of_a_usual_login_takes_no_second_page() {
    const KEY: usize = "sys/token/id/".len() + 64;
    const CHECKSUM_AND_ENVELOPE: usize = 16 + 33;
    let id = "8e6a9b1c-0000-0000-0000-4f6d2b3a5c7d".to_owned();
    let meta = [("role_name".to_owned(), "backend-of-the-shop".to_owned())];
    let entry = super::TokenEntry {
        accessor: "Zu3nVbVBhVdDyhJyCkuGVyzU".to_owned(),
        policies: ["backend-of-the-shop", "database", "default"].map(str::to_owned).to_vec(),
        path: "auth/approle/login".to_owned(),
        display_name: "approle".to_owned(),
        meta: meta.clone().into(),
        entity_id: id.clone(),
        expires_at: Some(holdfast_types::Timestamp::MAX),
        creation_ttl: Duration::from_secs(3600),
        ttl: Duration::from_secs(3600),
        renewable: true,
        login: Some(Box::new(super::Login {
            params: holdfast_logical::TokenParams {
                token_ttl: Duration::from_secs(3600),
                token_max_ttl: Duration::from_secs(86400),
                token_policies: vec!["backend-of-the-shop".to_owned(), "database".to_owned()],
                ..Default::default()
            },
            internal: json!({ "role_name": "backend-of-the-shop" }),
            alias: Some(holdfast_logical::EntityAlias { name: id, metadata: meta.into() }),
            ..Default::default()
        })),
        ..super::root_entry(holdfast_types::Timestamp::MAX)
    };
    let stored = serde_json::to_vec(&entry).unwrap();
    let row = KEY + CHECKSUM_AND_ENVELOPE + stored.len();
    assert!(row < 950, "{row} bytes: {}", String::from_utf8_lossy(&stored));
    assert_eq!(serde_json::from_slice::<super::TokenEntry>(&stored).unwrap(), entry);
}

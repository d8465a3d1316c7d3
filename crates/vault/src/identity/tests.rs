//! Who may do what because of whom they act for: nothing of it outlives its ground.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::audit::Audit;
use crate::testing::{Fragile, Server};
use crate::wire::OutgoingBody;
use crate::wire::Verb::{Delete, List, Read, Write};

/// A server on which `fake/store/<name>` can be read by whoever has the policy `<name>`.
async fn server() -> Server {
    let server = Server::new().await;
    for name in ["own", "team", "upper", "other"] {
        server.ok(Write, &format!("fake/store/{name}"), json!({ "x": 1 })).await;
        let rule = format!("path \"fake/store/{name}\" {{ capabilities = [\"read\"] }}");
        server.policy(name, &rule).await;
    }
    server.ok(Write, "sys/auth/else", json!({ "type": "fake" })).await;
    server
}

async fn log_in(server: &Server, mount: &str, data: Value) -> (String, String) {
    let path = format!("auth/{mount}/login");
    let (status, body) = server.call("", Write, &path, data).await;
    assert_eq!(status, 200, "{body}");
    let text = |name: &str| body["auth"][name].as_str().unwrap().to_owned();
    (text("client_token"), text("entity_id"))
}

async fn made(server: &Server, path: &str, data: Value) -> String {
    let body = server.ok(Write, &format!("identity/{path}"), data).await;
    body["data"]["id"].as_str().unwrap().to_owned()
}

async fn accessor(server: &Server, mount: &str) -> String {
    let body = server.ok(Read, &format!("sys/auth/{mount}"), json!({})).await;
    body["data"]["accessor"].as_str().unwrap().to_owned()
}

/// What is stored at a key.
pub(super) async fn stored(server: &Server, key: &str) -> Value {
    let value = server.entries.get(key).await.unwrap().unwrap();
    serde_json::from_slice(&value).unwrap()
}

/// Which of the four secrets a token can read.
async fn reads(server: &Server, token: &str) -> Vec<&'static str> {
    let mut reads = Vec::new();
    for name in ["own", "team", "upper", "other"] {
        let path = format!("fake/store/{name}");
        if server.call(token, Read, &path, json!({})).await.0 == 200 {
            reads.push(name);
        }
    }
    reads
}

#[tokio::test]
async fn what_an_entity_and_its_groups_grant_holds_from_the_next_request_on() {
    let server = server().await;
    let (token, entity) = log_in(&server, "fake", json!({ "name": "ann" })).await;
    assert_eq!(reads(&server, &token).await, [""; 0]);
    let own = format!("identity/entity/id/{entity}");
    server.ok(Write, &own, json!({ "policies": "own" })).await;
    assert_eq!(reads(&server, &token).await, ["own"]);
    let team = json!({ "name": "team", "policies": "team", "member_entity_ids": [entity] });
    let team = made(&server, "group", team).await;
    assert_eq!(reads(&server, &token).await, ["own", "team"]);
    let upper = json!({ "name": "upper", "policies": "upper", "member_group_ids": [team] });
    let upper = made(&server, "group", upper).await;
    assert_eq!(reads(&server, &token).await, ["own", "team", "upper"]);
    let middle = json!({ "name": "middle", "member_group_ids": [team] });
    let middle = made(&server, "group", middle).await;
    let path = format!("identity/group/id/{upper}");
    server.ok(Write, &path, json!({ "member_group_ids": [middle] })).await;
    assert_eq!(reads(&server, &token).await, ["own", "team", "upper"]);
    server.ok(Write, &path, json!({ "policies": "other" })).await;
    assert_eq!(reads(&server, &token).await, ["own", "team", "other"]);
    server.ok(Delete, &format!("identity/group/id/{middle}"), json!({})).await;
    assert_eq!(reads(&server, &token).await, ["own", "team"]);
    let none = json!({ "member_entity_ids": [] });
    server.ok(Write, &format!("identity/group/id/{team}"), none).await;
    assert_eq!(reads(&server, &token).await, ["own"]);
    server.ok(Write, &own, json!({ "policies": [] })).await;
    assert_eq!(reads(&server, &token).await, [""; 0]);
    // The same from the store alone.
    server.ok(Write, &own, json!({ "policies": "own" })).await;
    let server = server.crash().await;
    assert_eq!(reads(&server, &token).await, ["own"]);
}

#[tokio::test]
async fn a_denial_of_a_group_holds_against_the_tokens_own_policy() {
    let server = server().await;
    server.policy("no", "path \"fake/store/own\" { capabilities = [\"deny\"] }").await;
    let data = json!({ "name": "ann", "policies": "own" });
    let (token, entity) = log_in(&server, "fake", data).await;
    assert_eq!(reads(&server, &token).await, ["own"]);
    made(&server, "group", json!({ "policies": "no", "member_entity_ids": [entity] })).await;
    assert_eq!(reads(&server, &token).await, [""; 0]);
}

#[tokio::test]
async fn a_disabled_entitys_tokens_are_refused_until_it_is_enabled() {
    let server = server().await;
    server.policy("make", "path \"auth/token/create*\" { capabilities = [\"update\"] }").await;
    let login = json!({ "name": "ann", "policies": "make" });
    let (token, entity) = log_in(&server, "fake", login.clone()).await;
    let mut tokens = vec![token.clone()];
    for kind in ["service", "batch"] {
        let (_, body) =
            server.call(&token, Write, "auth/token/create", json!({ "type": kind })).await;
        tokens.push(body["auth"]["client_token"].as_str().unwrap().to_owned());
    }
    let path = format!("identity/entity/id/{entity}");
    let refused = (403, json!({ "errors": ["permission denied"] }));
    for disabled in [true, false, true] {
        server.ok(Write, &path, json!({ "disabled": disabled })).await;
        for token in &tokens {
            let got = server.call(token, Read, "auth/token/lookup-self", json!({})).await;
            assert_eq!(got == refused, disabled, "{got:?}");
            // Also where no token is needed, but one is shown.
            let got = server.call(token, Read, "sys/internal/ui/mounts", json!({})).await;
            assert_eq!(got.0 == 403, disabled, "{got:?}");
        }
        let got = server.call("", Write, "auth/fake/login", login.clone()).await;
        assert_eq!(got == refused, disabled, "{got:?}");
    }
    let server = server.crash().await;
    assert_eq!(server.call(&token, Read, "auth/token/lookup-self", json!({})).await, refused);
}

#[tokio::test]
async fn a_disabled_or_removed_entity_is_told_of_no_more_events() {
    let server = server().await;
    server.ok(Write, "sys/mounts/kv", json!({ "type": "kv" })).await;
    let rules = "path \"sys/events/subscribe/*\" { capabilities = [\"read\"] }
                 path \"kv/*\" { capabilities = [\"read\"] }";
    server.policy("hear", rules).await;
    for (verb, data) in [(Write, json!({ "disabled": true })), (Delete, json!({}))] {
        let login = json!({ "name": format!("{verb:?}"), "policies": "hear" });
        let (token, entity) = log_in(&server, "fake", login).await;
        let path = "sys/events/subscribe/*";
        let asked = server.incoming(&token, Read, path, serde_json::Map::new());
        let OutgoingBody::Messages(mut messages) = server.core.handle(asked).await.body else {
            panic!("no subscription");
        };
        server.ok(Write, "kv/a", json!({ "x": 1 })).await;
        assert!(messages.next().await.unwrap().contains("kv/a"));
        server.ok(verb, &format!("identity/entity/id/{entity}"), data).await;
        server.ok(Write, "kv/b", json!({ "x": 1 })).await;
        assert_eq!(messages.next().await.unwrap_err().code, 1008, "{verb:?}");
    }
}

#[tokio::test]
async fn a_removed_entitys_tokens_are_good_for_nothing_and_its_name_makes_another() {
    let server = server().await;
    let login = json!({ "name": "ann", "policies": "team" });
    let (token, entity) = log_in(&server, "fake", login.clone()).await;
    let path = format!("identity/entity/id/{entity}");
    server.ok(Write, &path, json!({ "policies": "own" })).await;
    let group = json!({ "policies": "upper", "member_entity_ids": [entity] });
    let group = made(&server, "group", group).await;
    assert_eq!(reads(&server, &token).await, ["own", "team", "upper"]);
    server.ok(Delete, &path, json!({})).await;
    assert_eq!(reads(&server, &token).await, [""; 0]);
    let (again, other) = log_in(&server, "fake", login).await;
    assert_ne!(other, entity);
    assert_eq!(reads(&server, &again).await, ["team"]);
    assert_eq!(reads(&server, &token).await, [""; 0]);
    let shown = server.ok(Read, &format!("identity/group/id/{group}"), json!({})).await;
    assert_eq!(shown["data"]["member_entity_ids"], json!([]));
}

#[tokio::test]
async fn an_alias_is_of_its_mount_alone() {
    let server = server().await;
    let (first, _) = (accessor(&server, "fake").await, accessor(&server, "else").await);
    let admin = made(&server, "entity", json!({ "name": "admin", "policies": "own" })).await;
    let alias = json!({ "name": "root", "mount_accessor": first, "canonical_id": admin });
    let alias = made(&server, "entity-alias", alias).await;
    let (there, entity) = log_in(&server, "else", json!({ "name": "root" })).await;
    assert_ne!(entity, admin);
    assert_eq!(reads(&server, &there).await, [""; 0]);
    let (here, entity) = log_in(&server, "fake", json!({ "name": "root" })).await;
    assert_eq!(entity, admin);
    assert_eq!(reads(&server, &here).await, ["own"]);
    // Groups are found by the mount, too.
    let team = made(&server, "group", json!({ "type": "external", "policies": "team" })).await;
    let name = json!({ "name": "team", "mount_accessor": first, "canonical_id": team });
    made(&server, "group-alias", name).await;
    let data = json!({ "name": "root", "groups": "team" });
    let (there, _) = log_in(&server, "else", data.clone()).await;
    assert_eq!(reads(&server, &there).await, [""; 0]);
    let (here, _) = log_in(&server, "fake", data).await;
    assert_eq!(reads(&server, &here).await, ["own", "team"]);
    // Another mount's login does not take it away.
    let mine = json!({ "name": "me", "mount_accessor": accessor(&server, "else").await,
        "canonical_id": admin });
    made(&server, "entity-alias", mine).await;
    log_in(&server, "else", json!({ "name": "me" })).await;
    assert_eq!(reads(&server, &here).await, ["own", "team"]);
    // A removed alias is somebody else's next time; its older tokens stay the entity's.
    server.ok(Delete, &format!("identity/entity-alias/id/{alias}"), json!({})).await;
    let (later, entity) = log_in(&server, "fake", json!({ "name": "root" })).await;
    assert_ne!(entity, admin);
    assert_eq!(reads(&server, &later).await, [""; 0]);
    assert_eq!(reads(&server, &here).await, ["own", "team"]);
}

#[tokio::test]
async fn a_mount_that_takes_anothers_place_does_not_take_its_aliases() {
    let server = server().await;
    let (_, entity) = log_in(&server, "fake", json!({ "name": "ann" })).await;
    let path = format!("identity/entity/id/{entity}");
    server.ok(Write, &path, json!({ "policies": "own" })).await;
    server.ok(Delete, "sys/auth/fake", json!({})).await;
    server.ok(Write, "sys/auth/fake", json!({ "type": "fake" })).await;
    let (token, other) = log_in(&server, "fake", json!({ "name": "ann" })).await;
    assert_ne!(entity, other);
    assert_eq!(reads(&server, &token).await, [""; 0]);
}

#[tokio::test]
async fn external_groups_are_those_of_the_last_login_or_renewal() {
    let server = server().await;
    let first = accessor(&server, "fake").await;
    for name in ["team", "upper"] {
        let data = json!({ "name": name, "type": "external", "policies": name });
        let group = made(&server, "group", data).await;
        let alias = json!({ "name": name, "mount_accessor": first, "canonical_id": group });
        made(&server, "group-alias", alias).await;
    }
    let login = |groups: &str| json!({ "name": "ann", "groups": groups });
    let (token, _) = log_in(&server, "fake", login("team,unknown")).await;
    assert_eq!(reads(&server, &token).await, ["team"]);
    log_in(&server, "fake", login("TEAM,upper")).await;
    assert_eq!(reads(&server, &token).await, ["team", "upper"]);
    log_in(&server, "fake", login("")).await;
    assert_eq!(reads(&server, &token).await, [""; 0]);
    server.call(&token, Write, "auth/token/renew-self", json!({})).await;
    assert_eq!(reads(&server, &token).await, ["team"]);
    let server = server.crash().await;
    assert_eq!(reads(&server, &token).await, ["team"]);
    // What logins set, operators cannot.
    let body = json!({ "name": "team", "member_entity_ids": [] });
    let root = server.root.clone();
    assert_eq!(server.call(&root, Write, "identity/group", body).await.0, 400);
}

#[tokio::test]
async fn merged_entities_tokens_are_the_others() {
    let server = server().await;
    let (token, from) = log_in(&server, "fake", json!({ "name": "ann" })).await;
    server.ok(Write, &format!("identity/entity/id/{from}"), json!({ "policies": "own" })).await;
    let into = made(&server, "entity", json!({ "policies": "team" })).await;
    let last = made(&server, "entity", json!({ "policies": "upper" })).await;
    assert_eq!(reads(&server, &token).await, ["own"]);
    let merge = |from: &str, to: &str| json!({ "from_entity_ids": [from], "to_entity_id": to });
    server.ok(Write, "identity/entity/merge", merge(&from, &into)).await;
    assert_eq!(reads(&server, &token).await, ["team"]);
    server.ok(Write, "identity/entity/merge", merge(&into, &last)).await;
    assert_eq!(reads(&server, &token).await, ["upper"]);
    let (_, entity) = log_in(&server, "fake", json!({ "name": "ann" })).await;
    assert_eq!(entity, last);
    let path = format!("identity/entity/id/{last}");
    server.ok(Write, &path, json!({ "disabled": true })).await;
    assert_eq!(reads(&server, &token).await, [""; 0]);
    server.ok(Write, &path, json!({ "disabled": false })).await;
    let server = server.crash().await;
    assert_eq!(reads(&server, &token).await, ["upper"]);
    server.ok(Delete, &path, json!({})).await;
    assert_eq!(reads(&server, &token).await, [""; 0]);
    // Whose id it was is not handed on.
    assert_eq!(server.keys("sys/identity/merged/").await, [""; 0]);
}

#[tokio::test]
async fn templates_follow_their_values_and_are_not_widened_by_them() {
    let server = server().await;
    server
        .policy(
            "tpl",
            "path \"fake/store/{{identity.entity.metadata.of}}\" { capabilities = [\"read\"] }",
        )
        .await;
    let (token, entity) = log_in(&server, "fake", json!({ "name": "a", "policies": "tpl" })).await;
    let path = format!("identity/entity/id/{entity}");
    for (value, want) in [("own", vec!["own"]), ("team", vec!["team"]), ("", vec![])] {
        server.ok(Write, &path, json!({ "metadata": { "of": value } })).await;
        assert_eq!(reads(&server, &token).await, want, "{value}");
    }
    for value in ["*", "+", "o*", "../store/own", "x/own"] {
        server.ok(Write, &path, json!({ "metadata": { "of": value } })).await;
        let got = server.call(&token, Read, "fake/store/own", json!({})).await;
        assert_eq!(got, (400, json!({ "errors": ["Forbidden"] })), "{value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn names_stay_unique_whoever_asks_at_once() {
    let server = Arc::new(server().await);
    let make = |path: &'static str, data: Value| {
        let server = server.clone();
        tokio::spawn(async move {
            let root = server.root.clone();
            server.call(&root, Write, path, data).await
        })
    };
    let at_once = |path: &'static str, data: Value| {
        futures_util::future::join_all((0..16).map(|_| make(path, data.clone())))
    };
    for path in ["identity/entity", "identity/group"] {
        let answers = at_once(path, json!({ "name": "Same" })).await;
        let new = answers.iter().filter(|answer| answer.as_ref().unwrap().0 == 200).count();
        assert_eq!(new, 1, "{path}");
        let list = server.ok(List, &format!("{path}/name"), json!({})).await;
        assert_eq!(list["data"]["keys"], json!(["Same"]));
    }
    let answers = at_once("auth/fake/login", json!({ "name": "new" })).await;
    let id = |answer: &(u16, Value)| answer.1["auth"]["entity_id"].as_str().unwrap().to_owned();
    let first = id(answers[0].as_ref().unwrap());
    assert!(answers.iter().all(|answer| id(answer.as_ref().unwrap()) == first));
    assert_eq!(server.keys("sys/identity/entity-alias-id/").await.len(), 1);
}

#[tokio::test]
async fn a_change_is_there_whole_or_not_at_all() {
    for commits in 0..3 {
        let server = server().await;
        let (_, from) = log_in(&server, "fake", json!({ "name": "ann" })).await;
        let into = made(&server, "entity", json!({ "name": "into" })).await;
        made(&server, "group", json!({ "name": "g", "member_entity_ids": [from] })).await;
        let before = server.keys("sys/identity/").await;
        let Server { core, clock, fake, root, entries } = server;
        drop(core);
        let fragile = Fragile::new(entries.clone(), commits);
        let audit = Arc::new(Audit::default());
        let server = Server::over(fragile, clock, fake, audit, root.clone()).await;
        let merge = json!({ "from_entity_ids": [from], "to_entity_id": into });
        let got = server.call(&root, Write, "identity/entity/merge", merge).await;
        let after = server.keys("sys/identity/").await;
        if got.0 == 204 {
            assert!(!after.contains(&format!("entity/{from}")), "{after:?}");
            assert_eq!(after.iter().filter(|key| key.starts_with("members/")).count(), 1);
            return;
        }
        assert_eq!(after, before, "{commits} commits");
    }
    panic!("never done");
}

#[tokio::test]
async fn what_is_removed_leaves_nothing_behind() {
    let server = server().await;
    let empty = server.keys("sys/identity/").await;
    let first = accessor(&server, "fake").await;
    let team = made(&server, "group", json!({ "name": "team", "type": "external" })).await;
    let alias = json!({ "name": "t", "mount_accessor": first, "canonical_id": team });
    made(&server, "group-alias", alias).await;
    let (_, one) = log_in(&server, "fake", json!({ "name": "one", "groups": "t" })).await;
    let (_, two) = log_in(&server, "else", json!({ "name": "two" })).await;
    let upper = json!({ "member_group_ids": [team], "member_entity_ids": [one, two] });
    let upper = made(&server, "group", upper).await;
    let merge = json!({ "from_entity_ids": [two], "to_entity_id": one });
    server.ok(Write, "identity/entity/merge", merge).await;
    server.ok(Write, "identity/entity", json!({ "id": one, "name": "renamed" })).await;
    for path in
        [format!("group/id/{upper}"), format!("group/id/{team}"), format!("entity/id/{one}")]
    {
        server.ok(Delete, &format!("identity/{path}"), json!({})).await;
    }
    assert_eq!(server.keys("sys/identity/").await, empty);
}

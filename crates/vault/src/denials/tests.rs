//! Denials through the core.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_logical::Connection;
use holdfast_types::SecretString;
use serde_json::{Value, json};

use super::{HEADER, flush};
use crate::testing::Server;
use crate::wire::{Incoming, Outgoing, Verb};

/// Makes a request with an id of its own.
async fn ask(server: &Server, id: &str, token: &str, path: &str, data: Value) -> Outgoing {
    let Value::Object(data) = data else { panic!("{data} is no object") };
    let verb = if data.is_empty() { Verb::Read } else { Verb::Write };
    server
        .core
        .handle(Incoming {
            id: id.to_owned(),
            verb,
            path: path.to_owned(),
            data,
            token: Some(token).filter(|token| !token.is_empty()).map(SecretString::from),
            is_bearer: false,
            wrap_ttl: None,
            headers: BTreeMap::new(),
            connection: Connection::default(),
        })
        .await
}

fn id_of(outgoing: &Outgoing) -> Option<&str> {
    outgoing.headers.iter().find(|(name, _)| *name == HEADER).map(|(_, id)| id.as_str())
}

async fn why(server: &Server, id: &str) -> (u16, Value) {
    let root = server.root.clone();
    let path = format!("sys/internal/explain/{id}");
    server.call(&root, Verb::Read, &path, json!({})).await
}

#[tokio::test]
async fn every_403_has_an_id_and_nothing_else_has() {
    let server = Server::new().await;
    server.policy("p", "path \"fake/store/a\" { capabilities = [\"read\", \"update\"] }").await;
    let token = server.token(json!({ "policies": ["p"] })).await;
    for (id, token, path, status) in [
        ("1", token.as_str(), "fake/store/b", 403),
        ("2", "", "fake/store/a", 403),
        ("3", "s.nonsense", "fake/store/a", 403),
        ("4", "b.nonsense", "fake/store/a", 403),
        ("5", token.as_str(), "fake/store/a", 404),
        ("6", token.as_str(), "sys/internal/ui/mounts/nope", 403),
        ("7", "s.nonsense", "auth/token/lookup-self", 403),
    ] {
        let outgoing = ask(&server, id, token, path, json!({})).await;
        assert_eq!(outgoing.status, status, "{id}");
        assert_eq!(id_of(&outgoing), (status == 403).then_some(id));
        assert_eq!(why(&server, id).await.0, if status == 403 { 200 } else { 404 }, "{id}");
    }
}

#[tokio::test]
async fn operators_alone_are_told() {
    let server = Server::new().await;
    ask(&server, "denied", "", "fake/store/a", json!({})).await;
    let rules = |capabilities: &str| {
        format!("path \"sys/internal/explain/*\" {{ capabilities = [{capabilities}] }}")
    };
    server.policy("reader", &rules("\"read\", \"list\"")).await;
    server.policy("operator", &rules("\"read\", \"list\", \"sudo\"")).await;
    for (policy, status) in [("reader", 403), ("operator", 200)] {
        let token = server.token(json!({ "policies": [policy] })).await;
        for (verb, path) in
            [(Verb::Read, "sys/internal/explain/denied"), (Verb::List, "sys/internal/explain")]
        {
            let (got, body) = server.call(&token, verb, path, json!({})).await;
            assert_eq!(got, status, "{policy} {path} {body}");
        }
    }
}

#[tokio::test]
async fn a_denial_is_kept_across_a_crash_once_it_is_stored() {
    let server = Server::new().await;
    ask(&server, "stored", "", "fake/store/a", json!({})).await;
    flush(&server.core.vault()).await.unwrap();
    ask(&server, "not-yet", "", "fake/store/a", json!({})).await;
    let server = server.crash().await;
    let (status, body) = why(&server, "stored").await;
    assert_eq!(status, 200);
    assert_eq!(body["data"]["cause"], "no-token");
    assert_eq!(why(&server, "not-yet").await.0, 404);
    // Sealing in good order stores what is new.
    ask(&server, "last", "", "fake/store/a", json!({})).await;
    server.core.pre_seal().await;
    let server = server.crash().await;
    assert_eq!(why(&server, "last").await.0, 200);
}

#[tokio::test]
async fn who_asks_in_vain_for_ever_fills_nothing() {
    let server = Server::new().await;
    server.policy("p", "path \"fake/store/a\" { capabilities = [\"read\"] }").await;
    let token = server.token(json!({ "policies": ["p"] })).await;
    ask(&server, "quiet", &token, "fake/store/b", json!({})).await;
    for round in 0..20 {
        for number in 0..100 {
            let id = format!("{round}-{number}");
            ask(&server, &id, "", &"x".repeat(20_000), json!({})).await;
        }
        flush(&server.core.vault()).await.unwrap();
        let stored = server.keys("sys/explain/").await;
        assert!(stored.len() <= 33, "{}", stored.len());
    }
    assert_eq!(why(&server, "quiet").await.0, 200);
    let (_, body) = why(&server, "19-99").await;
    assert!(body.to_string().len() < 4000, "{}", body.to_string().len());
}

#[tokio::test]
async fn denials_expire() {
    let server = Server::new().await;
    ask(&server, "old", "", "fake/store/a", json!({})).await;
    flush(&server.core.vault()).await.unwrap();
    server.clock.advance(Duration::from_secs(73 * 3600));
    ask(&server, "new", "", "fake/store/a", json!({})).await;
    assert_eq!(why(&server, "old").await.0, 404);
    flush(&server.core.vault()).await.unwrap();
    assert_eq!(server.keys("sys/explain/").await, ["new"]);
}

/// Neither a parameter's value nor a token is kept.
#[tokio::test]
async fn no_secret_is_kept() {
    let server = Server::new().await;
    server
        .policy(
            "p",
            "path \"fake/store/*\" { capabilities = [\"update\"] denied_parameters = { \"password\" = [] } }",
        )
        .await;
    let token = server.token(json!({ "policies": ["p"] })).await;
    let data = json!({ "password": "hunter2hunter2", "user": "u-secret" });
    ask(&server, "value", &token, "fake/store/a", data).await;
    let path = format!("auth/token/lookup/{token}");
    ask(&server, "path", &token, &path, json!({})).await;
    ask(&server, "segment", &token, &format!("fake/{token}/x"), json!({})).await;
    for id in ["value", "path", "segment"] {
        let (status, body) = why(&server, id).await;
        assert_eq!(status, 200);
        let text = body.to_string();
        for secret in ["hunter2", "u-secret", token.as_str()] {
            assert!(!text.contains(secret), "{id}: {text}");
        }
    }
    let (_, body) = why(&server, "value").await;
    assert_eq!(body["data"]["cause"], "parameter-denied");
    assert_eq!(body["data"]["request"]["parameters"], json!(["password"]));
    assert_eq!(body["data"]["caller"]["policies"][1]["name"], "p");
    assert_eq!(body["data"]["caller"]["policies"][1]["version"], 1);
}

/// A policy that is changed afterwards does not change what was decided.
#[tokio::test]
async fn policies_are_told_as_they_were() {
    let server = Server::new().await;
    server.policy("p", "path \"fake/store/a\" { capabilities = [\"read\"] }").await;
    let token = server.token(json!({ "policies": ["p"] })).await;
    ask(&server, "then", &token, "fake/store/a", json!({ "a": "b" })).await;
    server.policy("p", "path \"elsewhere\" { capabilities = [\"read\"] }").await;
    let (_, body) = why(&server, "then").await;
    assert_eq!(body["data"]["cause"], "lacks-capability");
    assert_eq!(body["data"]["rule"]["path"], "fake/store/a");
}

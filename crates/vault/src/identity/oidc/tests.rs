use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_keys::{Jwks, SignedToken};
use serde_json::{Map, Value, json};

use crate::testing::{Server, raw_json};
use crate::wire::Verb::{Delete, List, Read, Write};

/// A server with a caller that acts for an entity `ann` of a group `ops`.
async fn server() -> (Server, String, String) {
    let server = Server::new().await;
    server.policy("ask", "path \"identity/oidc/*\" { capabilities = [\"read\"] }").await;
    let login = json!({ "name": "ann", "policies": "ask" });
    let (_, body) = server.call("", Write, "auth/fake/login", login).await;
    let text = |name: &str| body["auth"][name].as_str().unwrap().to_owned();
    let (token, entity) = (text("client_token"), text("entity_id"));
    let named = json!({ "name": "ann", "metadata": { "team": "a\",\"sub\":\"root" } });
    server.ok(Write, &format!("identity/entity/id/{entity}"), named).await;
    let group = json!({ "name": "ops", "member_entity_ids": [entity] });
    server.ok(Write, "identity/group", group).await;
    (server, token, entity)
}

/// The claims of a fresh token, once its signature was checked against the published keys.
async fn issued(server: &Server, caller: &str, role: &str) -> (String, Map<String, Value>) {
    let path = format!("identity/oidc/token/{role}");
    let (status, body) = server.call(caller, Read, &path, json!({})).await;
    assert_eq!(status, 200, "{body}");
    let token = body["data"]["token"].as_str().unwrap().to_owned();
    assert!(verifies(server, &token).await);
    let claims = SignedToken::parse(&token).unwrap().claims().unwrap();
    (token, claims)
}

/// Whether a verifier that has only the published keys takes a token's signature.
async fn verifies(server: &Server, token: &str) -> bool {
    let keys = raw_json(server, "identity/oidc/.well-known/keys").await.to_string();
    let keys = Jwks::parse(keys.as_bytes()).unwrap();
    let signed = SignedToken::parse(token).unwrap();
    keys.candidates(signed.key_id.as_deref()).any(|key| signed.is_signed_by(key))
}

#[tokio::test]
async fn a_token_says_who_asks_and_what_a_template_makes_of_it_and_no_more() {
    let (server, caller, entity) = server().await;
    let key = json!({ "algorithm": "ES256", "allowed_client_ids": "app" });
    server.ok(Write, "identity/oidc/key/k", key).await;
    let template = r#"{ "name": {{identity.entity.name}}, "all": {{identity.entity.metadata}},
        "team": {{identity.entity.metadata.team}}, "none": {{identity.entity.metadata.none}},
        "groups": {{identity.entity.groups.names}}, "later": {{time.now.plus.1h}} }"#;
    let role = json!({ "key": "k", "client_id": "app", "ttl": "10m", "template": template });
    server.ok(Write, "identity/oidc/role/r", role).await;
    let (_, claims) = issued(&server, &caller, "r").await;
    let now = crate::testing::START;
    // What a value holds stays in it: nobody is `root` because of a name for a team.
    let team = "a\",\"sub\":\"root";
    let want = json!({
        "iss": "https://holdfast.test/v1/identity/oidc", "namespace": "root", "sub": entity,
        "aud": "app", "iat": now, "exp": now + 600, "name": "ann", "team": team,
        "all": { "team": team }, "none": "", "groups": ["ops"], "later": now + 3600,
    });
    assert_eq!(Value::Object(claims), want);
}

#[tokio::test]
async fn a_rotated_key_verifies_for_as_long_as_it_said_and_no_longer() {
    let (server, caller, _) = server().await;
    let key = json!({ "algorithm": "EdDSA", "allowed_client_ids": "*", "rotation_period": "1h",
        "verification_ttl": "2h" });
    server.ok(Write, "identity/oidc/key/k", key).await;
    server.ok(Write, "identity/oidc/role/r", json!({ "key": "k", "ttl": "2h" })).await;
    let (first, _) = issued(&server, &caller, "r").await;
    let tick = || async { server.core.vault().identity.oidc.tick().await.unwrap() };
    tick().await;
    let (same, _) = issued(&server, &caller, "r").await;
    let id = |token: &str| SignedToken::parse(token).unwrap().key_id.unwrap();
    assert_eq!(id(&first), id(&same));
    server.clock.advance(Duration::from_secs(3601));
    tick().await;
    let (second, _) = issued(&server, &caller, "r").await;
    assert_ne!(id(&first), id(&second));
    assert!(verifies(&server, &first).await);
    server.clock.advance(Duration::from_secs(7201));
    assert!(!verifies(&server, &first).await);
    assert!(verifies(&server, &second).await);
    server.ok(Write, "identity/oidc/key/k/rotate", json!({ "verification_ttl": 0 })).await;
    assert!(!verifies(&server, &second).await);
    let (third, _) = issued(&server, &caller, "r").await;
    let server = server.crash().await;
    assert!(verifies(&server, &third).await);
}

#[tokio::test]
async fn introspection_knows_what_became_of_the_entity() {
    let (server, caller, entity) = server().await;
    let key = json!({ "algorithm": "ES384", "allowed_client_ids": "*" });
    server.ok(Write, "identity/oidc/key/k", key).await;
    server.ok(Write, "identity/oidc/role/r", json!({ "key": "k", "ttl": "1h" })).await;
    let (token, _) = issued(&server, &caller, "r").await;
    let path = format!("identity/entity/id/{entity}");
    let active = || async {
        let root = server.root.clone();
        let shown = json!({ "token": token });
        let body = server.raw(&root, Write, "identity/oidc/introspect", shown).await;
        body["active"].as_bool().unwrap()
    };
    assert!(active().await);
    server.ok(Write, &path, json!({ "disabled": true })).await;
    assert!(!active().await);
    let got = server.call(&caller, Read, "identity/oidc/token/r", json!({})).await;
    assert_eq!(got.0, 403);
    server.ok(Write, &path, json!({ "disabled": false })).await;
    assert!(active().await);
    server.ok(Delete, &path, json!({})).await;
    assert!(!active().await);
}

#[tokio::test]
async fn no_name_has_another_spelling_with_a_slash() {
    let (server, caller, _) = server().await;
    server.ok(Write, "identity/oidc/role/r", json!({ "key": "default" })).await;
    server.ok(Write, "identity/oidc/client/r", json!({ "key": "default" })).await;
    let root = server.root.clone();
    for (token, verb, path, want) in [
        (&caller, Read, "token/r", 200),
        (&root, Read, "token/r/", 404),
        (&root, Read, "client/r/", 404),
        (&root, Delete, "client/r/", 404),
        (&root, Delete, "role/r/", 404),
        (&root, Read, "client/r", 200),
        (&root, Read, "role/r", 200),
        (&root, List, "role/", 200),
        (&root, List, "client", 200),
    ] {
        let path = format!("identity/oidc/{path}");
        assert_eq!(server.call(token, verb, &path, json!({})).await.0, want, "{verb:?} {path}");
    }
}

#[tokio::test]
async fn private_keys_are_shown_nowhere() {
    let (server, caller, _) = server().await;
    server.ok(Write, "identity/oidc/role/r", json!({ "key": "default" })).await;
    issued(&server, &caller, "r").await;
    let stored = crate::identity::tests::stored(&server, "sys/identity/oidc/key/default").await;
    let private = stored["current"]["pkcs8"].as_str().unwrap();
    let mut shown = BTreeMap::new();
    for path in ["key/default", "role/r"] {
        shown.insert(path, server.ok(Read, &format!("identity/oidc/{path}"), json!({})).await);
    }
    for path in [".well-known/keys", ".well-known/openid-configuration"] {
        shown.insert(path, raw_json(&server, &format!("identity/oidc/{path}")).await);
    }
    for (path, body) in shown {
        assert!(!body.to_string().contains(private), "{path}");
        assert!(!body.to_string().contains("\"d\""), "{path}");
    }
}

use std::net::IpAddr;
use std::time::Duration;

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::testing::Mount;
use holdfast_logical::{Auth, Connection, Error};
use serde_json::{Value, json};

use super::backend;

/// `pw`, at the least cost that is taken.
const HASH_OF_PW: &str = "$2b$05$cJ8SCeV1AeC2/CiDVj8RwOsDFHC0dlVX.LwdCGmnTdoBGdZtAQS0i";

async fn mount() -> Mount {
    let mount = Mount::new(&[], backend).await;
    let bob = json!({ "password_hash": HASH_OF_PW, "token_policies": "p", "token_ttl": "10m" });
    mount.walk(&[(Create, "users/bob", bob, 204)]).await;
    mount
}

async fn log_in(mount: &Mount, name: &str, password: &str) -> Result<Auth, Error> {
    let data = json!({ "password": password });
    let mut request = mount.request(Update, &format!("login/{name}"), &data);
    request.caller = None;
    let answer = mount.put(&request).await?;
    answer.and_then(|response| response.auth).ok_or(Error::NotFound)
}

#[tokio::test]
async fn a_login_carries_what_the_user_says() {
    let mount = mount().await;
    for name in ["bob", "BOB"] {
        let auth = log_in(&mount, name, "pw").await.unwrap();
        assert_eq!((auth.display_name.as_str(), auth.alias.unwrap().name.as_str()), ("bob", "bob"));
        assert_eq!(json!(auth.metadata), json!({ "username": "bob" }));
        assert_eq!(auth.params.token_policies, ["p"]);
        assert_eq!(auth.params.token_ttl, Duration::from_secs(600));
        assert!(auth.renewable);
    }
}

#[tokio::test]
async fn a_known_user_and_an_unknown_one_are_refused_alike_but_only_the_known_is_counted() {
    let mount = mount().await;
    let known = log_in(&mount, "bob", "PW").await.unwrap_err();
    let unknown = log_in(&mount, "eve", "pw").await.unwrap_err();
    assert_eq!(known.to_string(), unknown.to_string());
    assert!(matches!(known, Error::Credentials(_)), "{known:?}");
    assert!(matches!(unknown, Error::Invalid(_)), "{unknown:?}");
    let empty = log_in(&mount, "bob", "").await.unwrap_err();
    assert_eq!(empty.to_string(), "missing password");
}

#[tokio::test]
async fn passwords_are_set_as_text_or_as_a_hash() {
    let mount = mount().await;
    let long = "x".repeat(73);
    let not_a_hash = "password_hash is not a valid bcrypt hash";
    for (data, want) in [
        (
            json!({ "password": "a", "password_hash": HASH_OF_PW }),
            "only one of password or password_hash may be provided",
        ),
        (json!({ "password": long }), "bcrypt: password length exceeds 72 bytes"),
        (json!({ "password_hash": "x" }), not_a_hash),
        (json!({ "password_hash": HASH_OF_PW.replace("$05$", "$99$") }), not_a_hash),
        (json!({ "password_hash": format!("{HASH_OF_PW}x") }), not_a_hash),
        (
            json!({ "password_hash": HASH_OF_PW.replace("$05$", "$04$") }),
            "bcrypt cost of 4 is too low, want 5 at minimum",
        ),
        (
            json!({ "password_hash": HASH_OF_PW.replace("$05$", "$31$") }),
            "bcrypt cost of 31 exceeds maximum cost of 12",
        ),
    ] {
        for path in ["users/bob", "users/bob/password"] {
            let got = mount.ask(Update, path, data.clone()).await;
            assert_eq!(got, (400, want.into()), "{path} {data}");
        }
    }
    log_in(&mount, "bob", "pw").await.expect("a refused password changes nothing");

    mount
        .walk(&[
            (Update, "users/bob/password", json!({ "password": "new" }), 204),
            (Update, "users/bob/password", json!({}), 400),
            (Update, "users/eve/password", json!({ "password": "new" }), 400),
            (Create, "users/eve", json!({ "password": "" }), 400),
            (Update, "users/bob", json!({ "token_ttl": 60 }), 204),
        ])
        .await;
    log_in(&mount, "bob", "pw").await.unwrap_err();
    log_in(&mount, "bob", "new").await.unwrap();
    let stored = mount.storage.get("user/bob").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored).contains("new"));
}

#[tokio::test]
async fn users_are_written_read_listed_and_deleted() {
    let mount = mount().await;
    let (_, read) = mount.ask(Read, "users/BOB", json!({})).await;
    assert_eq!(read["token_policies"], json!(["p"]));
    assert_eq!((read.get("password"), read.get("password_hash")), (None, None));
    mount
        .walk(&[
            (Create, "users/a.b", json!({ "password": "x" }), 204),
            (Update, "users/bob/policies", json!({ "policies": "B,a" }), 204),
            (Update, "users/none/policies", json!({ "policies": "a" }), 400),
            (Read, "users/none", json!({}), 404),
            (Read, "users/-a", json!({}), 404),
            (Read, "users/bob/password", json!({}), 405),
            (Read, "login/bob", json!({}), 405),
            (Update, "users/bob", json!({ "token_type": "default-batch" }), 400),
        ])
        .await;
    assert_eq!(mount.ask(List, "users/", json!({})).await.1["keys"], json!(["a.b", "bob"]));
    assert_eq!(mount.ask(Read, "users/bob", json!({})).await.1["policies"], json!(["a", "b"]));
    mount.walk(&[(Delete, "users/bob", json!({}), 204), (Read, "users/bob", json!({}), 404)]).await;
    log_in(&mount, "bob", "pw").await.unwrap_err();
}

#[tokio::test]
async fn addresses_are_checked_after_the_password() {
    let mount = mount().await;
    let bound = json!({ "token_bound_cidrs": "10.0.0.0/8" });
    mount.walk(&[(Update, "users/bob", bound, 204)]).await;
    assert!(matches!(log_in(&mount, "bob", "no").await, Err(Error::Credentials(_))));
    assert!(matches!(log_in(&mount, "bob", "pw").await, Err(Error::Denied)));
    let mut request = mount.request(Update, "login/bob", &json!({ "password": "pw" }));
    request.connection.remote_address = Some(IpAddr::from([10, 1, 2, 3]));
    mount.put(&request).await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_while_its_user_has_the_same_policies() {
    let mount = mount().await;
    let auth = log_in(&mount, "bob", "pw").await.unwrap();
    let change = |data: Value| [(Update, "users/bob", data, 204)];
    mount.walk(&change(json!({ "token_ttl": "20m", "token_policies": "default,p" }))).await;
    let renewed = mount.backend.renew_login(auth.clone(), &Connection::default()).await.unwrap();
    assert_eq!(renewed.params.token_ttl, Duration::from_secs(1200));
    mount.walk(&change(json!({ "token_policies": "q" }))).await;
    let error = mount.backend.renew_login(auth.clone(), &Connection::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "policies have changed, not renewing");
    mount.walk(&[(Delete, "users/bob", json!({}), 204)]).await;
    mount.backend.renew_login(auth, &Connection::default()).await.unwrap_err();
}

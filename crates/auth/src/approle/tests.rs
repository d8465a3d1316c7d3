use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_barrier::{Batch, View};
use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::testing::Mount;
use holdfast_logical::{Auth, Connection, TokenKind};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::backend;

const LIVES: Duration = Duration::from_secs(3600);

/// A mount with one role `app`, whose role id is `app-id`.
async fn mount(role: Value) -> Mount {
    let mount = Mount::new(&[], backend).await;
    let mut data = json!({ "role_id": "app-id" });
    data.as_object_mut().unwrap().append(&mut role.as_object().unwrap().clone());
    mount.walk(&[(Create, "role/app", data, 204)]).await;
    mount
}

/// Registers the secret id `secret`.
async fn register(mount: &Mount, secret: &str, order: Value) -> Value {
    let mut data = json!({ "secret_id": secret });
    data.as_object_mut().unwrap().append(&mut order.as_object().unwrap().clone());
    let (status, answer) = mount.ask(Update, "role/app/custom-secret-id", data).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Logs in from `address`, and commits what the login settles, as the core does.
async fn log_in_from(mount: &Mount, secret: &str, address: [u8; 4]) -> Result<Auth, String> {
    let credentials = json!({ "role_id": "app-id", "secret_id": secret });
    let mut request = mount.request(Update, "login", &credentials);
    request.caller = None;
    request.connection.remote_address = Some(IpAddr::from(address));
    let answer = mount.put(&request).await.map_err(|error| error.to_string())?;
    let mut auth = answer.and_then(|response| response.auth).ok_or("no token asked for")?;
    commit(mount, std::mem::take(&mut auth.settles.0)).await;
    Ok(auth)
}

async fn log_in(mount: &Mount, secret: &str) -> Result<Auth, String> {
    log_in_from(mount, secret, [127, 0, 0, 1]).await
}

/// `batch` has full keys.
async fn commit(mount: &Mount, batch: Batch) {
    let prefix = mount.storage.key("");
    let relative = |key: String| key.strip_prefix(&prefix).unwrap().to_owned();
    let mut own = Batch::new();
    for change in batch.0 {
        match change {
            holdfast_barrier::Change::Put(key, value) => own.put(relative(key), value),
            holdfast_barrier::Change::Delete(key) => own.delete(relative(key)),
        }
    }
    mount.storage.commit(own).await.unwrap();
}

fn refused<T: std::fmt::Debug>(result: Result<T, String>) -> String {
    result.unwrap_err()
}

const INVALID: &str = "invalid role or secret ID";

#[tokio::test]
async fn a_login_carries_what_the_role_says() {
    let mount = mount(json!({
        "token_policies": "p", "token_ttl": "10m", "token_max_ttl": "1h", "token_num_uses": 7,
        "token_type": "service", "token_bound_cidrs": "127.0.0.0/8",
    }))
    .await;
    register(&mount, "s", json!({ "metadata": r#"{"team":"a"}"# })).await;
    let auth = log_in(&mount, "s").await.unwrap();
    assert_eq!(auth.params.token_policies, ["p"]);
    assert_eq!(auth.params.token_ttl, Duration::from_secs(600));
    assert_eq!(auth.params.token_max_ttl, LIVES);
    assert_eq!(auth.params.token_num_uses, 7);
    assert_eq!(auth.params.token_type, TokenKind::Service);
    assert_eq!(auth.params.token_bound_cidrs, ["127.0.0.0/8".parse().unwrap()]);
    assert_eq!(auth.metadata, [("role_name", "app"), ("team", "a")].map(own).into());
    assert_eq!(auth.alias.unwrap().name, "app-id");
    assert!(auth.renewable);

    register(&mount, "narrow", json!({ "token_bound_cidrs": "127.0.0.1/32" })).await;
    let auth = log_in(&mount, "narrow").await.unwrap();
    assert_eq!(auth.params.token_bound_cidrs, ["127.0.0.1/32".parse().unwrap()]);
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn which_of_the_two_ids_is_wrong_is_not_told() {
    let mount = mount(json!({})).await;
    register(&mount, "s", json!({})).await;
    for (role_id, secret_id, want) in [
        ("app-id", "wrong", INVALID),
        ("wrong", "s", INVALID),
        ("APP-ID", "s", INVALID),
        ("app-id", "", "missing secret_id"),
        ("", "s", "missing role_id"),
    ] {
        let data = json!({ "role_id": role_id, "secret_id": secret_id });
        assert_eq!(mount.ask(Update, "login", data).await, (400, want.into()), "{role_id}");
    }
    let long = "x".repeat(5000);
    let data = json!({ "role_id": "app-id", "secret_id": long });
    assert_eq!(mount.ask(Update, "login", data).await.0, 400);
}

#[tokio::test]
async fn a_secret_id_is_used_up() {
    let mount = mount(json!({ "secret_id_num_uses": 2 })).await;
    register(&mount, "s", json!({})).await;
    log_in(&mount, "s").await.unwrap();
    let (_, known) =
        mount.ask(Update, "role/app/secret-id/lookup", json!({ "secret_id": "s" })).await;
    assert_eq!(known["secret_id_num_uses"], 1);
    log_in(&mount, "s").await.unwrap();
    assert_eq!(refused(log_in(&mount, "s").await), INVALID);
    mount
        .walk(&[
            (Update, "role/app/secret-id/lookup", json!({ "secret_id": "s" }), 204),
            (List, "role/app/secret-id/", json!({}), 404),
        ])
        .await;
    assert_eq!(mount.storage.scan("accessor/").await.unwrap(), [""; 0]);
}

/// What a login settles is committed by the core, after the backend has answered. Between the two
/// another login must not see the use that is being spent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_use_is_spent_once() {
    let mount = Arc::new(mount(json!({})).await);
    register(&mount, "s", json!({ "num_uses": 5 })).await;
    let mut logins = JoinSet::new();
    for _ in 0..50 {
        let mount = mount.clone();
        logins.spawn(async move { log_in(&mount, "s").await.is_ok() });
    }
    let logins = logins.join_all().await;
    assert_eq!(logins.iter().filter(|ok| **ok).count(), 5);
}

#[tokio::test]
async fn a_login_that_is_given_up_spends_nothing() {
    let mount = mount(json!({})).await;
    register(&mount, "s", json!({ "num_uses": 1 })).await;
    let data = json!({ "role_id": "app-id", "secret_id": "s" });
    let given_up = mount.put(&mount.request(Update, "login", &data)).await.unwrap();
    drop(given_up);
    log_in(&mount, "s").await.unwrap();
}

#[tokio::test]
async fn a_secret_id_expires() {
    let mount = mount(json!({ "secret_id_ttl": "1m" })).await;
    let answer = register(&mount, "s", json!({})).await;
    assert_eq!(answer["secret_id_ttl"], 60);
    mount.clock.advance(Duration::from_secs(59));
    log_in(&mount, "s").await.unwrap();
    mount.clock.advance(Duration::from_secs(1));
    assert_eq!(refused(log_in(&mount, "s").await), INVALID);
    mount.walk(&[(Update, "tidy/secret-id", json!({}), 202)]).await;
    // It goes on after the answer.
    let left = || async { mount.storage.scan("").await.unwrap() };
    let is_secret = |key: &String| key.starts_with("secret-id/") || key.starts_with("accessor/");
    for _ in 0..1000 {
        if !left().await.iter().any(is_secret) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!left().await.iter().any(is_secret), "{:?}", left().await);
}

#[tokio::test]
async fn addresses_are_checked_before_a_use_is_spent() {
    let mount = mount(json!({ "secret_id_bound_cidrs": "127.0.0.0/8,10.0.0.0/8" })).await;
    register(&mount, "s", json!({ "cidr_list": "10.1.0.0/16", "num_uses": 1 })).await;
    assert_eq!(
        refused(log_in(&mount, "s").await),
        "source address \"127.0.0.1\" unauthorized through CIDR restrictions on the secret ID"
    );
    log_in_from(&mount, "s", [10, 1, 2, 3]).await.unwrap();

    register(&mount, "t", json!({})).await;
    assert_eq!(
        refused(log_in_from(&mount, "t", [192, 0, 2, 1]).await),
        "source address \"192.0.2.1\" unauthorized by CIDR restrictions on the role"
    );
    let credentials = json!({ "role_id": "app-id", "secret_id": "t" });
    let mut request = mount.request(Update, "login", &credentials);
    request.connection.remote_address = None;
    assert!(mount.put(&request).await.is_err(), "a Unix socket has no address");
}

#[tokio::test]
async fn a_role_may_do_without_a_secret_id_if_it_is_bound_otherwise() {
    let mount = mount(json!({})).await;
    mount
        .walk(&[
            (Update, "role/app", json!({ "bind_secret_id": false }), 400),
            (
                Update,
                "role/app",
                json!({ "bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.0/8" }),
                204,
            ),
            (Update, "login", json!({ "role_id": "app-id" }), 200),
            (Update, "role/app/secret-id", json!({}), 400),
            (Update, "role/app", json!({ "secret_id_bound_cidrs": "" }), 400),
            (Delete, "role/app/secret-id-bound-cidrs", json!({}), 400),
        ])
        .await;
    assert!(log_in_from(&mount, "", [192, 0, 2, 1]).await.is_err());
}

#[tokio::test]
async fn a_secret_id_keeps_within_its_role() {
    let mount = mount(json!({
        "secret_id_num_uses": 3, "secret_id_ttl": "1h", "secret_id_bound_cidrs": "127.0.0.0/8",
    }))
    .await;
    for (order, want) in [
        (json!({ "num_uses": 4 }), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({ "num_uses": 0 }), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({ "num_uses": -1 }), "num_uses cannot be negative"),
        (json!({ "ttl": "2h" }), "ttl cannot be longer than the role's secret_id_ttl"),
        (json!({ "ttl": 0 }), "ttl cannot be longer than the role's secret_id_ttl"),
        (
            json!({ "cidr_list": "10.0.0.0/8" }),
            "failed to verify subset relationship between CIDR blocks on the role \
             [\"127.0.0.0/8\"] and CIDR blocks on the secret ID [\"10.0.0.0/8\"]",
        ),
        (
            json!({ "cidr_list": "127.0.0.1" }),
            "failed to validate CIDR blocks: invalid CIDR address: 127.0.0.1",
        ),
        (
            json!({ "metadata": "bogus" }),
            "failed to parse metadata: failed to parse the input: invalid <key,value> format",
        ),
    ] {
        let got = mount.ask(Update, "role/app/secret-id", order.clone()).await;
        assert_eq!(got, (400, want.into()), "{order}");
    }
}

#[tokio::test]
async fn a_role_is_written_read_listed_and_deleted_with_all_it_has() {
    let mount = mount(json!({ "token_policies": "p" })).await;
    let want = json!({
        "bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null,
        "secret_id_num_uses": 0, "secret_id_ttl": 0, "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
        "token_num_uses": 0, "token_period": 0, "token_policies": ["p"],
        "token_strictly_bind_ip": false, "token_ttl": 0, "token_type": "default",
    });
    assert_eq!(mount.ask(Read, "role/APP", json!({})).await, (200, want));
    let accessor = register(&mount, "s", json!({})).await["secret_id_accessor"].clone();
    mount
        .walk(&[
            (Create, "role/b", json!({ "role_id": "app-id" }), 400),
            (Create, "role/b", json!({ "token_type": "default-batch" }), 200),
            (Update, "role/b/role-id", json!({ "role_id": "app-id" }), 400),
            (Update, "role/b/role-id", json!({ "role_id": "b-id" }), 204),
            (Update, "role/none/role-id", json!({ "role_id": "x" }), 404),
            (Update, "role/b", json!({ "local_secret_ids": true }), 400),
            (Update, "role/a b", json!({}), 404),
            (Update, "role/none/secret-id", json!({}), 404),
            (Update, "role/none/secret-id/lookup", json!({ "secret_id": "s" }), 400),
        ])
        .await;
    assert_eq!(mount.ask(List, "role/", json!({})).await.1["keys"], json!(["app", "b"]));
    assert_eq!(
        mount.ask(List, "role/app/secret-id/", json!({})).await.1["keys"],
        json!([accessor])
    );
    mount.walk(&[(Delete, "role/app", json!({}), 204), (Delete, "role/app", json!({}), 204)]).await;
    assert_eq!(refused(log_in(&mount, "s").await), INVALID);
    mount.walk(&[(Create, "role/app", json!({ "role_id": "app-id" }), 204)]).await;
    assert_eq!(refused(log_in(&mount, "s").await), INVALID, "a new role has none of the old ids");
    assert_eq!(mount.storage.scan("accessor/").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_old_role_id_ends_with_the_new() {
    let mount = mount(json!({})).await;
    register(&mount, "s", json!({})).await;
    mount.walk(&[(Update, "role/app/role-id", json!({ "role_id": "new" }), 204)]).await;
    assert_eq!(refused(log_in(&mount, "s").await), INVALID);
    let data = json!({ "role_id": "new", "secret_id": "s" });
    mount.walk(&[(Update, "login", data, 200)]).await;
}

#[tokio::test]
async fn accessors_are_listed_page_by_page() {
    let mount = mount(json!({})).await;
    let mut known = Vec::new();
    for number in 0..25 {
        let answer = register(&mount, &format!("s{number}"), json!({})).await;
        known.push(answer["secret_id_accessor"].as_str().unwrap().to_owned());
    }
    let mut listed = Vec::new();
    let mut query = json!({ "limit": 10 });
    loop {
        let (status, page) = mount.ask(List, "role/app/secret-id/", query).await;
        if status == 404 {
            break;
        }
        let page: Vec<String> = serde_json::from_value(page["keys"].clone()).unwrap();
        assert!(page.len() <= 10);
        query = json!({ "limit": 10, "after": page.last() });
        listed.extend(page);
    }
    assert_eq!(listed.len(), 25);
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[tokio::test]
async fn a_secret_id_is_known_by_its_accessor_to_its_role_alone() {
    let mount = mount(json!({})).await;
    let accessor = register(&mount, "s", json!({})).await["secret_id_accessor"].clone();
    let named = json!({ "secret_id_accessor": accessor });
    let unknown = json!({ "secret_id_accessor": "nope" });
    mount
        .walk(&[
            (Create, "role/b", json!({}), 204),
            (Update, "role/app/secret-id-accessor/lookup", named.clone(), 200),
            (Update, "role/app/secret-id-accessor/lookup", unknown.clone(), 404),
            (Update, "role/app/secret-id-accessor/lookup", json!({}), 400),
            (Update, "role/b/secret-id-accessor/lookup", named.clone(), 204),
            (Update, "role/b/secret-id-accessor/destroy", named.clone(), 403),
            (Update, "role/app/secret-id-accessor/destroy", named.clone(), 204),
            (Update, "role/app/secret-id-accessor/destroy", named, 404),
        ])
        .await;
    assert_eq!(refused(log_in(&mount, "s").await), INVALID);
}

#[tokio::test]
async fn settings_have_paths_of_their_own() {
    let mount = mount(json!({})).await;
    for (setting, written, read, reset) in [
        (
            "policies",
            json!({ "policies": "a" }),
            json!({ "policies": ["a"], "token_policies": ["a"] }),
            json!({ "token_policies": [] }),
        ),
        (
            "period",
            json!({ "token_period": 70 }),
            json!({ "token_period": 70 }),
            json!({ "token_period": 0 }),
        ),
        (
            "token-ttl",
            json!({ "token_ttl": "1m" }),
            json!({ "token_ttl": 60 }),
            json!({ "token_ttl": 0 }),
        ),
        (
            "token-bound-cidrs",
            json!({ "token_bound_cidrs": "127.0.0.1" }),
            json!({ "token_bound_cidrs": ["127.0.0.1"] }),
            json!({ "token_bound_cidrs": null }),
        ),
        (
            "secret-id-num-uses",
            json!({ "secret_id_num_uses": 4 }),
            json!({ "secret_id_num_uses": 4 }),
            json!({ "secret_id_num_uses": 0 }),
        ),
    ] {
        let path = format!("role/app/{setting}");
        assert_eq!(mount.ask(Update, &path, written).await.0, 204, "{setting}");
        assert_eq!(mount.ask(Read, &path, json!({})).await, (200, read), "{setting}");
        assert_eq!(mount.ask(Delete, &path, json!({})).await.0, 204, "{setting}");
        assert_eq!(mount.ask(Read, &path, json!({})).await, (200, reset), "{setting}");
    }
    for (setting, data, want) in [
        ("token-ttl", json!({}), "missing token_ttl"),
        ("period", json!({ "token_ttl": 1 }), "missing period"),
        (
            "secret-id-num-uses",
            json!({ "secret_id_num_uses": -1 }),
            "secret_id_num_uses cannot be negative",
        ),
    ] {
        let got = mount.ask(Update, &format!("role/app/{setting}"), data).await;
        assert_eq!(got, (400, want.into()), "{setting}");
    }
    mount
        .walk(&[
            (Update, "role/app/token-ttl", json!({ "token_ttl": "2h" }), 204),
            (Update, "role/app/token-max-ttl", json!({ "token_max_ttl": "1h" }), 400),
            (Update, "role/app/local-secret-ids", json!({ "local_secret_ids": true }), 405),
            (Update, "role/none/token-ttl", json!({ "token_ttl": 1 }), 404),
            (Delete, "role/none/token-ttl", json!({}), 204),
            (Read, "role/app/frob", json!({}), 404),
        ])
        .await;
}

#[tokio::test]
async fn a_token_is_renewed_while_its_role_exists() {
    let mount = mount(json!({ "token_ttl": "10m" })).await;
    register(&mount, "s", json!({})).await;
    let auth = log_in(&mount, "s").await.unwrap();
    mount.walk(&[(Update, "role/app", json!({ "token_ttl": "20m" }), 204)]).await;
    let renewed = mount.backend.renew_login(auth.clone(), &Connection::default()).await.unwrap();
    assert_eq!(renewed.params.token_ttl, Duration::from_secs(1200));
    mount.walk(&[(Delete, "role/app", json!({}), 204)]).await;
    let error = mount.backend.renew_login(auth, &Connection::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "role \"app\" does not exist during renewal");
}

#[tokio::test]
async fn ids_are_not_kept_in_the_clear() {
    let mount = mount(json!({})).await;
    let answer = register(&mount, "hush-secret-id", json!({})).await;
    let accessor = answer["secret_id_accessor"].as_str().unwrap();
    let root: &View = &mount.storage;
    for key in root.scan("").await.unwrap() {
        let value = root.get(&key).await.unwrap().unwrap();
        let value = String::from_utf8_lossy(&value).into_owned();
        assert!(!key.contains("hush") && !value.contains("hush"), "{key}");
        assert!(!key.contains(accessor), "{key}");
    }
}

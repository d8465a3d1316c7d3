//! The password of a config's own user.

use super::*;

/// A superuser of the test's own, and a config that logs in as it.
async fn fixture(name: &str) -> Fixture {
    let server = server();
    make_database(server, name);
    sql(server, "postgres", &format!("CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'first'"));
    let fixture = Fixture::new().await;
    let mut config = config(server, name);
    config["username"] = name.into();
    config["password"] = "first".into();
    fixture.ok("config/pg", config).await;
    fixture.ok("roles/app", role(&[CREATE])).await;
    fixture
}

/// The password that the config has now.
async fn password(fixture: &Fixture) -> String {
    let config = fixture.backend.config("pg").await.unwrap().unwrap();
    config.password.unwrap().expose().clone()
}

fn opens(name: &str, password: &str) -> bool {
    server().psql_as(name, password, name, "SELECT 1").is_ok()
}

#[tokio::test]
async fn the_old_password_ends_and_nobody_has_seen_the_new_one() {
    let fixture = fixture("rotate_root").await;
    fixture.user("app").await;
    fixture.ok("rotate-root/pg", json!({})).await;
    let new = password(&fixture).await;
    assert!(!opens("rotate_root", "first"));
    assert!(opens("rotate_root", &new));
    assert!(!server().log().contains(&new));
    let shown = fixture.read("config/pg").await.unwrap().to_string();
    assert!(!shown.contains(&new) && !shown.contains("first"));
    fixture.user("app").await;
    assert_eq!(fixture.records().await, 0);

    let own = "ALTER USER \"{{username}}\" WITH PASSWORD '{{password}}'";
    fixture.ok("config/pg", json!({ "root_rotation_statements": [own] })).await;
    fixture.ok("rotate-root/pg", json!({})).await;
    assert!(!opens("rotate_root", &new));
    fixture.user("app").await;
}

#[tokio::test]
async fn a_crash_on_either_side_of_the_change_loses_nothing() {
    let fixture = fixture("rotate_crash").await;
    // Recorded, and the server was never told.
    let record = json!({ "password": "second", "begun_at": "2026-11-22T12:00:00Z" });
    let storage = View::new(fixture.entries.clone(), "logical/database/");
    storage.put_json("rotation/pg", &record).await.unwrap();
    let fixture = fixture.restarted().await;
    assert_eq!(password(&fixture).await, "second");
    assert!(opens("rotate_crash", "second") && !opens("rotate_crash", "first"));
    assert_eq!(fixture.records().await, 0);
    fixture.user("app").await;

    // Recorded, and the server was told; the config still has the old password.
    let record = json!({ "password": "third", "begun_at": "2026-11-22T12:00:00Z" });
    storage.put_json("rotation/pg", &record).await.unwrap();
    sql(server(), "postgres", "ALTER ROLE rotate_crash PASSWORD 'third'");
    let fixture = fixture.restarted().await;
    assert_eq!(password(&fixture).await, "third");
    fixture.user("app").await;

    // The same without a restart: the next login that is refused settles it.
    fixture.ok("reset/pg", json!({})).await;
    let record = json!({ "password": "fourth", "begun_at": "2026-11-22T12:00:00Z" });
    storage.put_json("rotation/pg", &record).await.unwrap();
    sql(server(), "postgres", "ALTER ROLE rotate_crash PASSWORD 'fourth'");
    fixture.user("app").await;
    assert_eq!(password(&fixture).await, "fourth");
    assert_eq!(fixture.records().await, 0);

    // An operator who brings the password knows better than an old record.
    storage.put_json("rotation/pg", &record).await.unwrap();
    sql(server(), "postgres", "ALTER ROLE rotate_crash PASSWORD 'fifth'");
    fixture.ok("config/pg", json!({ "password": "fifth" })).await;
    assert_eq!(fixture.records().await, 0);
    fixture.user("app").await;
}

#[tokio::test]
async fn where_any_password_opens_the_new_one_is_set_all_the_same() {
    let server = server();
    sql(server, "postgres", "CREATE DATABASE trusting");
    sql(server, "postgres", "CREATE ROLE rotate_trust SUPERUSER LOGIN PASSWORD 'first'");
    let fixture = Fixture::new().await;
    let mut config = config(server, "trusting");
    config["username"] = "rotate_trust".into();
    config["password"] = "first".into();
    fixture.ok("config/pg", config).await;
    let record = json!({ "password": "second", "begun_at": "2026-11-22T12:00:00Z" });
    let storage = View::new(fixture.entries.clone(), "logical/database/");
    storage.put_json("rotation/pg", &record).await.unwrap();
    let fixture = fixture.restarted().await;
    assert_eq!(password(&fixture).await, "second");
    assert!(server.psql_as("rotate_trust", "second", "postgres", "SELECT 1").is_ok());
}

#[tokio::test]
async fn what_cannot_be_rotated_is_refused_and_unchanged() {
    let server = server();
    let fixture = fixture("rotate_not").await;
    let refusal = fixture.refusal(Operation::Update, "rotate-root/none", json!({})).await;
    assert!(refusal.contains("failed to find entry for connection with name: \"none\""));

    fixture.ok("config/pg", json!({ "root_rotation_statements": ["frob"] })).await;
    let refusal = fixture.refusal(Operation::Update, "rotate-root/pg", json!({})).await;
    assert!(refusal.contains("failed to update user: ERROR: syntax error"), "{refusal}");
    assert_eq!(fixture.records().await, 0);
    assert!(opens("rotate_not", "first"));

    // A string with a password of its own would go on with the old one.
    let own = url(server, "rotate_not", "verify-full")
        .replace("{{username}}", "rotate_not")
        .replace("{{password}}", "first");
    fixture.ok("config/pg", json!({ "connection_url": own })).await;
    let refusal = fixture.refusal(Operation::Update, "rotate-root/pg", json!({})).await;
    assert!(
        refusal.contains("connection_url must hold {{username}} and {{password}}"),
        "{refusal}"
    );
    fixture.ok("config/pg", json!({ "username": "" })).await;
    let refusal = fixture.refusal(Operation::Update, "rotate-root/pg", json!({})).await;
    assert!(refusal.contains("no username in configuration"), "{refusal}");
}

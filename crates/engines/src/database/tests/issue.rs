//! Users: what they are called, what they may do, for how long.

use super::*;

#[tokio::test]
async fn a_user_logs_in_until_its_lease_ends_and_its_password_is_never_sent() {
    let server = server();
    make_database(server, "issue_basic");
    let fixture = Fixture::with_role(server, "issue_basic", role(&[CREATE])).await;
    let user = fixture.user("app").await;

    assert!(user.name.starts_with("v-token-ci-app-"), "{}", user.name);
    assert_eq!(user.password.len(), 32);
    assert!(user.password.chars().all(|c| c.is_ascii_alphanumeric()));
    let who = server.psql_as(&user.name, &user.password, "issue_basic", "SELECT current_user");
    assert_eq!(who.unwrap(), user.name);
    assert!(server.psql_as(&user.name, "wrong", "issue_basic", "SELECT 1").is_err());

    let ends = user.lease.expires_at.as_second();
    let query = format!(
        "SELECT abs(extract(epoch FROM rolvaliduntil) - {ends}) < 5, rolpassword \
         FROM pg_authid WHERE rolname = '{}'",
        user.name
    );
    let stored = sql(server, "postgres", &query);
    assert!(stored.starts_with("t|SCRAM-SHA-256$4096:"), "{stored}");
    assert!(!server.log().contains(&user.password), "the password is in the server's log");
    assert!(server.log().contains(&format!("CREATE ROLE \"{}\"", user.name)));
    assert_eq!(fixture.records().await, 0);

    let mut lease = user.lease.clone();
    lease.expires_at += Duration::from_secs(1800);
    assert!(fixture.backend.renew(&lease).await.unwrap().is_none());
    let query = format!(
        "SELECT abs(extract(epoch FROM rolvaliduntil) - {}) < 5 FROM pg_authid WHERE rolname = '{}'",
        lease.expires_at.as_second(),
        user.name
    );
    assert_eq!(sql(server, "postgres", &query), "t");
    fixture.revoke(&user).await;
    assert!(!role_exists(server, &user.name));
}

#[tokio::test]
async fn renewal_takes_the_roles_own_statements() {
    let server = server();
    make_database(server, "issue_renew");
    let mut role = role(&[CREATE]);
    role["renew_statements"] = json!([
        "COMMENT ON ROLE \"{{name}}\" IS 'until {{expiration}}'",
        "ALTER ROLE \"{{username}}\" VALID UNTIL '{{expiration}}'"
    ]);
    let fixture = Fixture::with_role(server, "issue_renew", role).await;
    let user = fixture.user("app").await;
    fixture.backend.renew(&user.lease).await.unwrap();
    let query = format!(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '{}'",
        user.name
    );
    let year = user.lease.expires_at.strftime("until %Y-").to_string();
    assert!(sql(server, "postgres", &query).starts_with(&year));

    // A user that is gone, and a role that is gone.
    fixture.revoke(&user).await;
    let gone = chain(&fixture.backend.renew(&user.lease).await.unwrap_err());
    assert!(gone.contains("does not exist (SQLSTATE 42704)"), "{gone}");
    fixture.request(Operation::Delete, "roles/app", Value::Null).await.unwrap();
    let gone = chain(&fixture.backend.renew(&user.lease).await.unwrap_err());
    assert_eq!(gone, "error during renew: could not find role with name \"app\"");
}

#[tokio::test]
async fn a_group_gives_tables_sequences_and_what_comes_later() {
    let server = server();
    make_database(server, "issue_group");
    sql(
        server,
        "issue_group",
        "CREATE ROLE issue_owner NOLOGIN; CREATE ROLE issue_app NOLOGIN; \
         GRANT ALL ON SCHEMA public TO issue_owner; GRANT USAGE ON SCHEMA public TO issue_app; \
         ALTER DEFAULT PRIVILEGES FOR ROLE issue_owner IN SCHEMA public \
             GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO issue_app; \
         ALTER DEFAULT PRIVILEGES FOR ROLE issue_owner IN SCHEMA public \
             GRANT USAGE, SELECT ON SEQUENCES TO issue_app; \
         SET ROLE issue_owner; CREATE TABLE users (id serial PRIMARY KEY, name text)",
    );
    let creation = format!("{CREATE} IN ROLE issue_app");
    let fixture = Fixture::with_role(server, "issue_group", role(&[&creation])).await;
    let user = fixture.user("app").await;
    let run = |sql: &str| server.psql_as(&user.name, &user.password, "issue_group", sql);

    assert_eq!(run("INSERT INTO users (name) VALUES ('a') RETURNING id").unwrap(), "1");
    sql(server, "issue_group", "SET ROLE issue_owner; CREATE TABLE later (id serial, note text)");
    assert_eq!(run("INSERT INTO later (note) VALUES ('b') RETURNING id").unwrap(), "1");
    for refused in [
        "CREATE TABLE mine (id int)",
        "DROP TABLE users",
        "SELECT pg_read_file('/etc/passwd')",
        "CREATE ROLE another",
    ] {
        let refusal = run(refused).unwrap_err().to_string();
        assert!(
            refusal.contains("permission denied") || refusal.contains("must be owner"),
            "{refusal}"
        );
    }
    fixture.revoke(&user).await;
    assert!(!role_exists(server, &user.name));
    assert_eq!(sql(server, "issue_group", "SELECT count(*) FROM users"), "1");
}

#[tokio::test]
async fn creation_is_one_transaction_and_its_failure_leaves_nothing() {
    let server = server();
    make_database(server, "issue_fail");
    let statements = [CREATE, "GRANT no_such_group TO \"{{name}}\""];
    let fixture = Fixture::with_role(server, "issue_fail", role(&statements)).await;
    let before = sql(
        server,
        "postgres",
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-token-ci-broken%'",
    );
    fixture.ok("roles/broken", role(&statements)).await;
    let refusal = fixture.refusal(Operation::Read, "creds/broken", Value::Null).await;
    assert_eq!(
        refusal,
        "failed to execute query: ERROR: role \"no_such_group\" does not exist (SQLSTATE 42704)"
    );
    let after = sql(
        server,
        "postgres",
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-token-ci-broken%'",
    );
    assert_eq!((before.as_str(), after.as_str()), ("0", "0"));
    assert_eq!(fixture.records().await, 0);

    // The server quotes what it does not understand; a verifier is not shown even so.
    let garbled = "CREATE ROLE \"{{name}}\" LOGIN LOGIN PASSWORD PASSWORD '{{password}}'";
    fixture.ok("roles/garbled", role(&[garbled])).await;
    let refusal = fixture.refusal(Operation::Read, "creds/garbled", Value::Null).await;
    assert!(refusal.contains("syntax error") && !refusal.contains("SCRAM"), "{refusal}");
}

#[tokio::test]
async fn a_role_that_is_not_ours_is_neither_used_nor_dropped() {
    let server = server();
    make_database(server, "issue_names");
    let fixture = Fixture::with_role(server, "issue_names", role(&[CREATE])).await;
    fixture.ok("config/pg", json!({ "username_template": "taken_{{.RoleName}}" })).await;
    let user = fixture.user("app").await;
    assert_eq!(user.name, "taken_app");
    let refusal = fixture.refusal(Operation::Read, "creds/app", Value::Null).await;
    assert!(refusal.contains("a role named \"taken_app\" exists already"), "{refusal}");
    assert_eq!(fixture.records().await, 0);
    let fixture = fixture.restarted().await;
    assert!(role_exists(server, &user.name), "the first user lives on");
    fixture.revoke(&user).await;

    // The config's own user is the one that nobody could ever bring back.
    fixture.ok("config/pg", json!({ "username_template": "postgres" })).await;
    let refusal = fixture.refusal(Operation::Read, "creds/app", Value::Null).await;
    assert!(refusal.contains("exists already"), "{refusal}");
    let mut lease = user.lease.clone();
    lease.internal["username"] = "postgres".into();
    let refusal = chain(&fixture.backend.revoke(&lease).await.unwrap_err());
    assert!(refusal.contains("the user that this config logs in as"), "{refusal}");
}

#[tokio::test]
async fn many_at_once_share_few_connections() {
    let server = server();
    make_database(server, "issue_many");
    let fixture = Arc::new(Fixture::with_role(server, "issue_many", role(&[CREATE])).await);
    fixture.ok("config/pg", json!({ "max_open_connections": 2 })).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let fixture = fixture.clone();
        tasks.spawn(async move { fixture.user("app").await.name });
    }
    let mut names = tasks.join_all().await;
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 12);
    let query = "SELECT count(*) <= 2 FROM pg_stat_activity \
                 WHERE datname = 'issue_many' AND application_name = 'holdfast'";
    assert_eq!(sql(server, "postgres", query), "t");
    fixture.backend.stop().await;
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'issue_many'";
    eventually(server, query, "0").await;
}

#[tokio::test]
async fn a_user_of_a_batch_token_ends_with_it() {
    let server = server();
    make_database(server, "issue_batch");
    let fixture = Fixture::with_role(server, "issue_batch", role(&[CREATE])).await;
    let mut request = fixture.of_a_token(Operation::Read, "creds/app", &Value::Null);
    let ends = SystemClock.now() + Duration::from_secs(60);
    let caller = request.caller.as_mut().unwrap();
    caller.kind = TokenKind::Batch;
    caller.expires_at = Some(ends);
    let response = fixture.backend.handle(&request).await.unwrap().unwrap();
    let name = response.data.unwrap()["username"].as_str().unwrap().to_owned();
    let query = format!(
        "SELECT abs(extract(epoch FROM rolvaliduntil) - {}) < 5 FROM pg_authid \
         WHERE rolname = '{name}'",
        ends.as_second()
    );
    assert_eq!(sql(server, "postgres", &query), "t");
}

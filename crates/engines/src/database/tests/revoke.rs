//! The end of a user, and of all it could do.

use std::process::Stdio;

use super::*;

#[tokio::test]
async fn open_sessions_end_with_their_user() {
    let server = server();
    make_database(server, "revoke_open");
    sql(server, "postgres", "CREATE ROLE revoke_group NOLOGIN");
    let creation = format!("{CREATE} IN ROLE revoke_group");
    let fixture = Fixture::with_role(server, "revoke_open", role(&[&creation])).await;
    let user = fixture.user("app").await;
    // A session that took on the group's role: it would outlive a bare DROP ROLE.
    let mut psql = server.psql_command(&user.name, &user.password, "revoke_open");
    psql.args(["-c", "SET ROLE revoke_group", "-c", "SELECT pg_sleep(60)"]);
    let open = psql.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND query LIKE '%sleep%'",
        user.name
    );
    eventually(server, &query, "1").await;

    fixture.revoke(&user).await;
    let ended = open.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&ended.stderr);
    assert!(words.contains("terminating connection due to administrator command"), "{words}");
    assert!(!role_exists(server, &user.name));
    // What is done is done.
    fixture.revoke(&user).await;
}

#[tokio::test]
async fn what_it_owned_and_was_granted_is_settled_in_every_database() {
    let server = server();
    for database in ["revoke_one", "revoke_two", "revoke \"odd\" three", "revoke_four"] {
        make_database(server, database);
    }
    sql(
        server,
        "revoke_two",
        "CREATE ROLE \"revoke \"\"odd\"\" owner\" NOLOGIN; \
         ALTER DATABASE revoke_two OWNER TO \"revoke \"\"odd\"\" owner\"; \
         CREATE TABLE given (id serial); GRANT CREATE ON SCHEMA public TO public",
    );
    let odd = "revoke \"odd\" three";
    sql(server, odd, "CREATE TABLE given (id int)");
    let creation = format!(
        "{CREATE} CREATEDB; GRANT CREATE ON SCHEMA public TO \"{{{{name}}}}\"; \
         ALTER DATABASE revoke_four OWNER TO \"{{{{name}}}}\""
    );
    let fixture = Fixture::with_role(server, "revoke_one", role(&[&creation])).await;
    let user = fixture.user("app").await;
    let name = &user.name;
    sql(
        server,
        "revoke_two",
        &format!("GRANT ALL ON given, given_id_seq TO \"{name}\" WITH GRANT OPTION"),
    );
    sql(server, odd, &format!("GRANT SELECT ON given TO \"{name}\""));
    sql(server, "postgres", &format!("GRANT CONNECT ON DATABASE revoke_two TO \"{name}\""));
    let run =
        |database: &str, sql: &str| server.psql_as(name, &user.password, database, sql).unwrap();
    run(
        "revoke_one",
        "CREATE TABLE \"a \"\"b\" (id serial); CREATE SEQUENCE s; CREATE VIEW v AS SELECT 1",
    );
    run(
        "revoke_two",
        "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    run(
        "revoke_two",
        "GRANT SELECT ON given TO public; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public",
    );

    fixture.revoke(&user).await;
    assert!(!role_exists(server, name));
    let owners = "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class c \
                  JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'";
    assert_eq!(sql(server, "revoke_one", owners), "postgres");
    assert_eq!(
        sql(server, "revoke_two", "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'"),
        "revoke \"odd\" owner"
    );
    assert_eq!(sql(server, "revoke_two", "SELECT id FROM kept"), "7", "nothing is lost");
    let query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'revoke_four'";
    assert_eq!(sql(server, "postgres", query), "postgres");
}

#[tokio::test]
async fn an_administrator_who_is_no_superuser_can_do_it_too() {
    let server = server();
    sql(
        server,
        "postgres",
        "CREATE ROLE \"revoke ad\"\"min\" LOGIN CREATEROLE CREATEDB PASSWORD 'secret'",
    );
    sql(server, "postgres", "CREATE DATABASE revoke_plain OWNER \"revoke ad\"\"min\"");
    let fixture = Fixture::new().await;
    let mut config = config(server, "revoke_plain");
    config["username"] = "revoke ad\"min".into();
    config["password"] = "secret".into();
    fixture.ok("config/pg", config).await;
    let creation = format!("{CREATE}; GRANT CREATE ON DATABASE revoke_plain TO \"{{{{name}}}}\"");
    fixture.ok("roles/app", role(&[&creation])).await;
    let user = fixture.user("app").await;
    let run = |sql: &str| server.psql_as(&user.name, &user.password, "revoke_plain", sql).unwrap();
    run("CREATE SCHEMA own; CREATE TABLE own.kept (id int)");
    let mut psql = server.psql_command(&user.name, &user.password, "revoke_plain");
    let open = psql.args(["-c", "SELECT pg_sleep(60)"]).stderr(Stdio::null()).spawn().unwrap();
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", user.name);
    eventually(server, &query, "1").await;

    fixture.revoke(&user).await;
    assert!(!open.wait_with_output().unwrap().status.success());
    assert!(!role_exists(server, &user.name));
    let query = "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'";
    assert_eq!(sql(server, "revoke_plain", query), "revoke ad\"min");
}

#[tokio::test]
async fn the_operators_statements_go_first_and_what_they_leave_is_done() {
    let server = server();
    make_database(server, "revoke_own");
    sql(server, "revoke_own", "CREATE TABLE ended (name text); CREATE TABLE given (id int)");
    let mut role = role(&[CREATE, "GRANT SELECT ON given TO \"{{name}}\""]);
    role["revocation_statements"] = json!(["INSERT INTO ended VALUES ('{{name}}')"]);
    let fixture = Fixture::with_role(server, "revoke_own", role).await;
    let user = fixture.user("app").await;
    fixture.revoke(&user).await;
    assert_eq!(sql(server, "revoke_own", "SELECT name FROM ended"), user.name);
    assert!(!role_exists(server, &user.name));

    // Statements that do it all, as an operator may have them from a guide.
    let all = json!([
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM \"{{name}}\"",
        "DROP ROLE \"{{name}}\""
    ]);
    fixture.ok("roles/app", json!({ "revocation_statements": all })).await;
    let user = fixture.user("app").await;
    fixture.revoke(&user).await;
    fixture.revoke(&user).await;
    assert!(!role_exists(server, &user.name));

    // A mistake in them is told, and the user is locked out meanwhile.
    fixture.ok("roles/app", json!({ "revocation_statements": ["frob"] })).await;
    let user = fixture.user("app").await;
    let refusal = chain(&fixture.backend.revoke(&user.lease).await.unwrap_err());
    assert!(refusal.contains("syntax error"), "{refusal}");
    let login = server.psql_as(&user.name, &user.password, "revoke_own", "SELECT 1").unwrap_err();
    assert!(login.to_string().contains("is not permitted to log in"), "{login}");
    // Without its role a lease goes by what it was made with.
    fixture.request(Operation::Delete, "roles/app", Value::Null).await.unwrap();
    let mut lease = user.lease.clone();
    lease.internal["revocation_statements"] = json!([]);
    fixture.backend.revoke(&lease).await.unwrap();
    assert!(!role_exists(server, &user.name));
}

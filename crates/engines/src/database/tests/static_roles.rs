//! Users that were there before, whose passwords rotate.

use holdfast_testkit::FakeClock;

use super::*;

const START: i64 = 1_795_346_236;

/// A mount with a config `pg`, a clock of its own, and users called `<name>0`, `<name>1`, ...
struct Rotating {
    fixture: Fixture,
    clock: Arc<FakeClock>,
}

impl Rotating {
    async fn new(server: &Postgres, name: &str, users: usize) -> Self {
        let make = format!(
            "DO $$ BEGIN FOR i IN 0..{} LOOP EXECUTE 'CREATE ROLE {name}' || i || \
             ' LOGIN PASSWORD ''first'''; END LOOP; END $$",
            users - 1
        );
        sql(server, "postgres", &make);
        let clock = Arc::new(FakeClock::at(START));
        let fixture = Fixture::at(Arc::default(), clock.clone()).await;
        fixture.ok("config/pg", config(server, "postgres")).await;
        Self { fixture, clock }
    }

    /// The same store under a new mount, as after a restart.
    async fn restarted(self) -> Self {
        self.fixture.backend.stop().await;
        let fixture = Fixture::at(self.fixture.entries, self.clock.clone()).await;
        fixture.backend.rotate_due().await.unwrap();
        Self { fixture, clock: self.clock }
    }

    async fn role(&self, name: &str, user: &str, period: &str) {
        let role = json!({ "db_name": "pg", "username": user, "rotation_period": period });
        self.fixture.ok(&format!("static-roles/{name}"), role).await;
    }

    async fn credentials(&self, name: &str) -> (String, u64, Vec<String>) {
        let path = format!("static-creds/{name}");
        let reply = self.fixture.request(Operation::Read, &path, Value::Null).await;
        let response = reply.unwrap_or_else(|error| panic!("{}", chain(&error))).unwrap();
        let data = response.data.unwrap();
        let password = data["password"].as_str().unwrap().to_owned();
        (password, data["ttl"].as_u64().unwrap(), response.warnings)
    }

    async fn password(&self, name: &str) -> String {
        self.credentials(name).await.0
    }

    fn storage(&self) -> View {
        View::new(self.fixture.entries.clone(), "logical/database/")
    }
}

fn opens(server: &Postgres, user: &str, password: &str) -> bool {
    server.psql_as(user, password, "postgres", "SELECT 1").is_ok()
}

#[tokio::test]
async fn passwords_change_when_it_is_time_and_nobody_sees_them() {
    let server = server();
    let rotating = Rotating::new(server, "static_due", 1).await;
    rotating.role("app", "static_due0", "1h").await;
    let (first, ttl, warnings) = rotating.credentials("app").await;
    assert_eq!((ttl, warnings.len()), (3600, 0));
    assert!(opens(server, "static_due0", &first) && !opens(server, "static_due0", "first"));

    rotating.clock.advance(Duration::from_secs(3599));
    rotating.fixture.backend.rotate_due().await.unwrap();
    assert_eq!(rotating.password("app").await, first);
    rotating.clock.advance(Duration::from_secs(1));
    rotating.fixture.backend.rotate_due().await.unwrap();
    let second = rotating.password("app").await;
    assert_ne!(second, first);
    assert!(opens(server, "static_due0", &second) && !opens(server, "static_due0", &first));
    rotating.fixture.ok("rotate-role/app", json!({})).await;
    let third = rotating.password("app").await;
    assert!(opens(server, "static_due0", &third));

    let log = server.log();
    assert!([first, second, third].iter().all(|password| !log.contains(password)));
    assert_eq!(rotating.fixture.records().await, 0);
    let due = rotating.storage().list("static-due/").await.unwrap();
    assert_eq!(due.len(), 1, "{due:?}");
}

/// Without anybody asking: the mount looks at the clock itself.
#[tokio::test]
async fn the_mount_rotates_by_itself_also_after_a_restart() {
    let server = server();
    let mut rotating = Rotating::new(server, "static_self", 1).await;
    rotating.role("app", "static_self0", "1h").await;
    for _ in 0..2 {
        let before = rotating.password("app").await;
        rotating.clock.advance(Duration::from_secs(3600));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while rotating.password("app").await == before {
            assert!(std::time::Instant::now() < deadline, "it does not rotate");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(opens(server, "static_self0", &rotating.password("app").await));
        rotating = rotating.restarted().await;
    }
}

#[tokio::test]
async fn many_that_are_due_at_once_are_all_changed() {
    let server = server();
    let rotating = Rotating::new(server, "static_many", 70).await;
    for index in 0..70 {
        let name = format!("app{index}");
        rotating.role(&name, &format!("static_many{index}"), "1h").await;
    }
    let before = rotating.password("app69").await;
    rotating.clock.advance(Duration::from_secs(3600));
    rotating.fixture.backend.rotate_due().await.unwrap();
    for index in 0..70 {
        let (password, ttl, _) = rotating.credentials(&format!("app{index}")).await;
        assert_eq!(ttl, 3600);
        assert!(opens(server, &format!("static_many{index}"), &password), "app{index}");
    }
    assert_ne!(rotating.password("app69").await, before);
}

#[tokio::test]
async fn a_crash_on_either_side_of_the_change_loses_no_password() {
    let server = server();
    let mut rotating = Rotating::new(server, "static_crash", 1).await;
    rotating.role("app", "static_crash0", "1h").await;
    // Recorded, and the server was not told, or was told: the store knows no difference.
    for (new, told) in [("second", false), ("third", true)] {
        let storage = rotating.storage();
        let mut role = storage.get_json::<Value>("static-role/app").await.unwrap().unwrap();
        role["password"] = new.into();
        let due_at = rotating.clock.now();
        let begun = json!({ "role": role, "is_new": false, "due_at": due_at, "failures": 0 });
        storage.put_json("static-rotation/app", &begun).await.unwrap();
        let key = format!("static-due/{:016x}-app", due_at.as_millisecond());
        storage.put(&key, Vec::new()).await.unwrap();
        if told {
            sql(server, "postgres", &format!("ALTER ROLE static_crash0 PASSWORD '{new}'"));
        }
        rotating = rotating.restarted().await;
        assert_eq!(rotating.password("app").await, new);
        assert!(opens(server, "static_crash0", new));
        assert_eq!(rotating.fixture.records().await, 0);
        assert_eq!(rotating.storage().list("static-due/").await.unwrap().len(), 1);
    }
}

/// The role itself was being made: the server may know a password that no role tells of.
#[tokio::test]
async fn a_role_that_was_being_made_is_made() {
    let server = server();
    let rotating = Rotating::new(server, "static_new", 1).await;
    rotating.role("app", "static_new0", "1h").await;
    let storage = rotating.storage();
    let mut role = storage.get_json::<Value>("static-role/app").await.unwrap().unwrap();
    rotating.fixture.request(Operation::Delete, "static-roles/app", json!({})).await.unwrap();
    assert_eq!(storage.scan("static-").await.unwrap(), [""; 0]);
    role["password"] = "brand new".into();
    let due_at = rotating.clock.now();
    let begun = json!({ "role": role, "is_new": true, "due_at": due_at, "failures": 0 });
    storage.put_json("static-rotation/app", &begun).await.unwrap();
    let key = format!("static-due/{:016x}-app", due_at.as_millisecond());
    storage.put(&key, Vec::new()).await.unwrap();
    let rotating = rotating.restarted().await;
    assert_eq!(rotating.password("app").await, "brand new");
    assert!(opens(server, "static_new0", "brand new"));
    assert_eq!(rotating.fixture.records().await, 0);
}

#[tokio::test]
async fn while_the_database_is_away_it_is_tried_ever_more_slowly_and_everybody_is_told() {
    let mut server = Postgres::start();
    let rotating = Rotating::new(&server, "away", 1).await;
    rotating.role("app", "away0", "1h").await;
    let before = rotating.password("app").await;
    server.stop().unwrap();
    rotating.clock.advance(Duration::from_secs(3600));
    let mut tried = Vec::new();
    for _ in 0..40 {
        rotating.fixture.backend.rotate_due().await.unwrap();
        let role = rotating.fixture.backend.static_role("app").await.unwrap().unwrap();
        if tried.last() != Some(&role.failures) {
            tried.push(role.failures);
        }
        rotating.clock.advance(Duration::from_secs(5));
    }
    // 200 seconds: at 0, 10, 30, 70 and 150.
    assert_eq!(tried, [1, 2, 3, 4, 5]);
    let (password, ttl, warnings) = rotating.credentials("app").await;
    assert_eq!((password, ttl), (before.clone(), 0));
    assert!(warnings[0].contains("tried 5 times") && warnings[0].contains("failed to connect"));
    let role = rotating.fixture.request(Operation::Read, "static-roles/app", Value::Null).await;
    assert_eq!(role.unwrap().unwrap().warnings, warnings);
    let refusal = rotating.fixture.refusal(Operation::Update, "rotate-role/app", json!({})).await;
    assert!(refusal.contains("retries will continue in the background"), "{refusal}");
    assert_eq!(rotating.fixture.records().await, 0, "what was never sent needs no record");

    server.resume().unwrap();
    assert!(opens(&server, "away0", &before));
    rotating.clock.advance(Duration::from_secs(300));
    rotating.fixture.backend.rotate_due().await.unwrap();
    let (after, ttl, warnings) = rotating.credentials("app").await;
    assert_eq!((ttl, warnings.len()), (3600, 0));
    assert!(after != before && opens(&server, "away0", &after));
}

/// A reader is never given the password that a change under way has just made invalid.
#[tokio::test]
async fn who_reads_during_a_change_waits_for_the_new_password() {
    let server = server();
    let rotating = Rotating::new(server, "static_read", 1).await;
    rotating.role("app", "static_read0", "1h").await;
    let before = rotating.password("app").await;
    // Somebody else holds the table of all roles: the change has to wait for that.
    let work =
        "BEGIN; LOCK TABLE pg_authid IN SHARE MODE; SELECT pg_sleep(1), 'static_read0'; COMMIT";
    let mut psql = server.psql_command(Postgres::ADMIN, server.admin_password(), "postgres");
    let mut other = psql.args(["-c", work]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND \
                  query LIKE '%static_read0%'";
    eventually(server, sleeps, "1").await;
    let rotate = rotating.fixture.ok("rotate-role/app", json!({}));
    let read = async {
        while rotating.fixture.records().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rotating.password("app").await
    };
    let ((), read) = tokio::join!(rotate, read);
    assert!(other.wait().unwrap().success());
    assert_ne!(read, before);
    assert!(opens(server, "static_read0", &read));
}

#[tokio::test]
async fn what_the_database_refuses_changes_nothing() {
    let server = server();
    let rotating = Rotating::new(server, "static_no", 2).await;
    let fixture = &rotating.fixture;
    rotating.role("app", "static_no0", "1h").await;
    let before = rotating.password("app").await;
    for (name, role, want) in [
        ("new", json!({ "username": "no such user" }), "does not exist"),
        ("new", json!({ "username": Postgres::ADMIN }), "its password is rotated by rotate-root"),
        (
            "new",
            json!({ "username": "static_no1", "rotation_statements": "frob;" }),
            "syntax error",
        ),
        (
            "new",
            json!({ "username": "static_no1", "rotation_statements": "SELECT '{{password}}'" }),
            "may only stand as PASSWORD",
        ),
        (
            "new",
            json!({ "username": "static_no1", "credential_config": { "password_policy": "none" } }),
            "no password policy found",
        ),
        ("new", json!({ "username": "static_no1", "db_name": "none" }), "failed to find entry"),
    ] {
        let mut role = role;
        role["rotation_period"] = "1h".into();
        if role.get("db_name").is_none() {
            role["db_name"] = "pg".into();
        }
        let path = format!("static-roles/{name}");
        let refusal = fixture.refusal(Operation::Create, &path, role).await;
        assert!(refusal.contains(want), "{refusal}");
    }
    assert_eq!(fixture.read("static-roles/new").await, None);
    assert_eq!(fixture.records().await, 0);
    assert!(opens(server, "static_no1", "first"), "nobody's password was touched");

    let bad = json!({ "username": "static_no0", "rotation_statements": "frob;" });
    fixture.ok("static-roles/app", bad).await;
    let refusal = fixture.refusal(Operation::Update, "rotate-role/app", json!({})).await;
    assert!(refusal.contains("syntax error"), "{refusal}");
    assert_eq!(rotating.password("app").await, before);
    assert!(opens(server, "static_no0", &before));
    assert_eq!(rotating.credentials("app").await.2.len(), 1);
    // Who mends the role need not wait for the next try.
    let good = "ALTER USER \"{{username}}\" WITH PASSWORD '{{password}}'";
    let mended = json!({ "username": "static_no0", "rotation_statements": [good] });
    fixture.ok("static-roles/app", mended).await;
    fixture.ok("rotate-role/app", json!({})).await;
    assert_ne!(rotating.password("app").await, before);
    assert_eq!(rotating.credentials("app").await.2.len(), 0);
}

#[tokio::test]
async fn policies_make_the_passwords_of_all_kinds_of_users() {
    let server = server();
    let rotating = Rotating::new(server, "static_policy", 1).await;
    let fixture = &rotating.fixture;
    fixture.ok("config/pg", json!({ "password_policy": "one" })).await;
    rotating.role("app", "static_policy0", "1h").await;
    assert_eq!(rotating.password("app").await, "the one password");
    assert!(opens(server, "static_policy0", "the one password"));
    fixture.ok("roles/web", role(&[CREATE])).await;
    assert_eq!(fixture.user("web").await.password, "the one password");
    let none = json!({ "credential_config": { "password_policy": "none" } });
    fixture.ok("roles/web", none).await;
    let refusal = fixture.refusal(Operation::Read, "creds/web", Value::Null).await;
    assert!(refusal.contains("no password policy found"), "{refusal}");
    assert_eq!(fixture.records().await, 0);
}

/// A thousandfold in other people's hands: the statements that drop a user are refused because
/// it owns something, or has a session, and nobody notices until nothing can be granted any more.
#[tokio::test]
async fn of_many_users_who_own_things_and_are_logged_in_none_is_left() {
    let server = server();
    make_database(server, "static_none_left");
    let create = format!("{CREATE}; GRANT ALL ON SCHEMA public TO \"{{{{name}}}}\"");
    let fixture = Fixture::with_role(server, "static_none_left", role(&[&create])).await;
    let drop_only = json!({ "db_name": "pg", "revocation_statements": ["SELECT 1"] });
    fixture.ok("roles/app", drop_only).await;
    let mut users = Vec::new();
    for index in 0..40 {
        let user = fixture.user("app").await;
        let owns = format!("CREATE TABLE t{index} (); GRANT SELECT ON t{index} TO PUBLIC");
        server.psql_as(&user.name, &user.password, "static_none_left", &owns).unwrap();
        users.push(user);
    }
    let mut session = server.psql_command(&users[0].name, &users[0].password, "static_none_left");
    let mut session = session
        .args(["-c", "SELECT pg_sleep(60)"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let sleeps = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND wait_event = 'PgSleep'",
        users[0].name
    );
    eventually(server, &sleeps, "1").await;
    for user in &users {
        fixture.revoke(user).await;
    }
    assert!(!session.wait().unwrap().success(), "its session was ended");
    let left = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-token-ci-app-%'";
    let of_ours = users.iter().filter(|user| role_exists(server, &user.name)).count();
    assert_eq!(of_ours, 0, "{left}: {}", sql(server, "postgres", left));
}

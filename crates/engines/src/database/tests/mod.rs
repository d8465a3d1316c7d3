//! The engine against a real PostgreSQL.
//!
//! The tests share a server, with databases and users of their own, unless they stop it. A mount's
//! leases live in a [`Fixture`], which does the core's part.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_barrier::{Entries, MemoryEntries, View};
use holdfast_logical::{Caller, Connection, MountInfo, TokenKind};
use holdfast_testkit::{Postgres, PostgresSettings};
use holdfast_types::{Clock, SystemClock, SystemRandom};
use serde_json::json;

use super::*;

mod configs;
mod faults;
mod garbage;
mod issue;
mod kill;
mod revoke;
mod rotate;
mod static_roles;

/// The server that most tests share. It logs every statement.
fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| {
        Postgres::start_with(&PostgresSettings {
            settings: vec![("log_statement", "all"), ("log_min_error_statement", "error")],
            hba: vec![
                // One database that asks for a client's certificate too, and one for nothing.
                "hostssl certified all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca",
                "host trusting all 127.0.0.1/32 trust",
            ],
            ..PostgresSettings::default()
        })
    })
}

/// Runs `sql` as the superuser, for what a test needs to be there.
fn sql(server: &Postgres, database: &str, sql: &str) -> String {
    server.psql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// A database of the test's own. The superuser owns it.
fn make_database(server: &Postgres, name: &str) {
    sql(server, "postgres", &format!("CREATE DATABASE {}", statements::quote_identifier(name)));
}

const CREATE: &str =
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";

/// A mount, with the store that outlives it.
struct Fixture {
    entries: Arc<MemoryEntries>,
    backend: Arc<Database>,
    mount: Arc<MountInfo>,
}

/// A user and the lease on it.
struct User {
    name: String,
    password: String,
    lease: Lease,
    settles: Option<Batch>,
}

impl Fixture {
    async fn new() -> Self {
        Self::over(Arc::default()).await
    }

    /// A mount over the store of an earlier one, as after a restart.
    async fn over(entries: Arc<MemoryEntries>) -> Self {
        Self::at(entries, Arc::new(SystemClock)).await
    }

    /// The same with another clock.
    async fn at(entries: Arc<MemoryEntries>, clock: Arc<dyn Clock>) -> Self {
        let mount = Arc::new(MountInfo {
            path: "database/".to_owned(),
            default_ttl: Duration::from_secs(3600),
            max_ttl: Duration::from_secs(7200),
            ..MountInfo::default()
        });
        let backend = Database::new(Context {
            storage: View::new(entries.clone(), "logical/database/"),
            clock,
            random: Arc::new(SystemRandom),
            passwords: Arc::new(holdfast_logical::testing::OnePassword),
            mount: mount.clone(),
        });
        backend.start().await.unwrap();
        Self { entries, backend, mount }
    }

    /// The same store under a new mount.
    async fn restarted(self) -> Self {
        self.backend.stop().await;
        let fixture = Self::over(self.entries).await;
        // What a start had no time for on a busy machine, and what it may not fail for.
        let _ = fixture.backend.tick().await;
        fixture
    }

    /// A mount with a config `pg` that reaches `database` as the superuser, and a role `app`.
    async fn with_role(server: &Postgres, database: &str, role: Value) -> Self {
        let fixture = Self::new().await;
        fixture.ok("config/pg", config(server, database)).await;
        fixture.ok("roles/app", role).await;
        fixture
    }

    async fn request(&self, operation: Operation, path: &str, data: Value) -> Reply {
        self.backend.handle(&self.of_a_token(operation, path, &data)).await
    }

    /// A request as the core hands it over.
    fn of_a_token(&self, operation: Operation, path: &str, data: &Value) -> Request {
        Request {
            id: "test".to_owned(),
            operation,
            path: path.to_owned(),
            mount: self.mount.clone(),
            data: data.as_object().cloned().unwrap_or_default(),
            caller: Some(Caller {
                accessor: String::new(),
                token_hash: String::new(),
                display_name: "token-ci".to_owned(),
                policies: Vec::new(),
                entity_id: String::new(),
                metadata: Default::default(),
                is_root: false,
                kind: TokenKind::Service,
                expires_at: None,
            }),
            connection: Connection::default(),
            headers: Default::default(),
            wrap_ttl: None,
            looked_at: Default::default(),
        }
    }

    /// A write that must succeed.
    async fn ok(&self, path: &str, data: Value) {
        let reply = self.request(Operation::Update, path, data).await;
        reply.unwrap_or_else(|error| panic!("{path}: {}", chain(&error)));
    }

    /// A write or read that must fail, and what it says.
    async fn refusal(&self, operation: Operation, path: &str, data: Value) -> String {
        match self.request(operation, path, data).await {
            Ok(_) => panic!("{path} succeeded"),
            Err(error) => chain(&error),
        }
    }

    /// The data of a read.
    async fn read(&self, path: &str) -> Option<Value> {
        let response = self.request(Operation::Read, path, Value::Null).await.unwrap()?;
        response.data.map(Value::Object)
    }

    /// A user of `role`, with a lease that is stored.
    async fn user(&self, role: &str) -> User {
        let mut user = self.unsettled_user(role).await;
        let settles = user.settles.take().expect("settled once");
        self.entries.commit(settles).await.unwrap();
        user
    }

    /// A user whose lease is not stored: the process died in between.
    async fn unsettled_user(&self, role: &str) -> User {
        let path = format!("creds/{role}");
        let reply = self.request(Operation::Read, &path, Value::Null).await;
        let response = reply.unwrap_or_else(|error| panic!("{}", chain(&error))).unwrap();
        let data = response.data.unwrap();
        let spec = response.lease.unwrap();
        let now = SystemClock.now();
        let lease = Lease {
            id: format!("database/{path}/test"),
            path,
            internal: spec.internal,
            issued_at: now,
            expires_at: now + spec.ttl.unwrap(),
        };
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        User {
            name: text("username"),
            password: text("password"),
            lease,
            settles: Some(spec.settles),
        }
    }

    async fn revoke(&self, user: &User) {
        let revoked = self.backend.revoke(&user.lease).await;
        revoked.unwrap_or_else(|error| panic!("{}", chain(&error)));
    }

    /// The write-ahead records in the store.
    async fn records(&self) -> usize {
        let scanned = self.entries.scan("logical/database/").await.unwrap();
        let records = scanned.iter().filter(|key| {
            key.starts_with("wal/")
                || key.starts_with("rotation/")
                || key.starts_with("static-rotation/")
        });
        records.count()
    }
}

/// A config that reaches `database` as the superuser, by TCP with verified TLS.
fn config(server: &Postgres, database: &str) -> Value {
    json!({
        "plugin_name": "postgresql-database-plugin",
        "connection_url": url(server, database, "verify-full"),
        "username": Postgres::ADMIN,
        "password": server.admin_password(),
        "allowed_roles": "*",
    })
}

fn url(server: &Postgres, database: &str, sslmode: &str) -> String {
    let (port, ca) = (server.port(), server.ca_file());
    format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{port}/{database}\
         ?sslmode={sslmode}&sslrootcert={}",
        ca.display()
    )
}

fn role(creation: &[&str]) -> Value {
    json!({ "db_name": "pg", "creation_statements": creation })
}

fn role_exists(server: &Postgres, name: &str) -> bool {
    let query = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{name}'");
    sql(server, "postgres", &query) == "1"
}

/// Waits until `sql` gives `want`.
async fn eventually(server: &Postgres, query: &str, want: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let got = sql(server, "postgres", query);
        if got == want {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{query}: {got}, not {want}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

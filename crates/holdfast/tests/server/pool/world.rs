//! A database whose users come from a secrets server, and a login for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_client::postgres::{
    AppRoleLogin, Connection, Database, PoolSettings, RotatingPool, SecretFile,
};
use holdfast_client::vault::{VaultClient, VaultConfig};
use holdfast_testkit::Postgres;
use holdfast_types::SecretString;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::delivery::world::PATIENCE;

/// What the service's token may do.
const POLICY: &str = r#"
    path "database/creds/app" { capabilities = ["read"] }
    path "sys/leases/revoke"  { capabilities = ["update"] }
"#;
/// Users are members of a group that owns what there is.
const CREATION: &str = r#"
    CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE app;
"#;
/// By a policy that leaves no choice every user has this password, so that the test can log in, too.
const PASSWORD: &str = "kkkkkkkkkkkkkkkkkkkkkkkk";

/// PostgreSQL, and the secrets server's view of it.
pub(crate) struct World {
    pub(crate) postgres: Postgres,
    /// Without a token.
    pub(crate) vault: VaultClient,
    pub(crate) folder: TempDir,
    role_id: String,
}

impl World {
    /// Sets all up by `root`, at a server that is reached by `address`; users live for `lease`
    /// seconds.
    pub(crate) async fn new(root: &VaultClient, address: &str, lease: u64) -> Self {
        let postgres = Postgres::start();
        postgres
            .psql(
                "postgres",
                "CREATE ROLE app NOLOGIN;
                 CREATE TABLE ledger (who int, at timestamptz DEFAULT now());
                 GRANT SELECT, INSERT ON ledger TO app;",
            )
            .unwrap();
        let write = async |path: &str, body| root.write(path, &body).await.expect(path);
        write("sys/mounts/database", json!({ "type": "database" })).await;
        let policy = json!({ "policy": "length = 24\nrule \"charset\" { charset = \"k\" }" });
        write("sys/policies/password/known", policy).await;
        let url = format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
            postgres.port(),
            postgres.ca_file().display()
        );
        let config = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
            "connection_url": url, "password_policy": "known",
            "username": Postgres::ADMIN, "password": postgres.admin_password(),
        });
        write("database/config/main", config).await;
        let role = json!({
            "db_name": "main", "creation_statements": [CREATION],
            "default_ttl": lease, "max_ttl": lease,
        });
        write("database/roles/app", role).await;
        write("sys/policies/acl/service", json!({ "policy": POLICY })).await;
        write("sys/auth/approle", json!({ "type": "approle" })).await;
        let role = json!({ "token_policies": "service", "token_ttl": "1h" });
        write("auth/approle/role/service", role).await;
        let read = root.read("auth/approle/role/service/role-id", &[]).await.unwrap().unwrap();
        let role_id = read.data.unwrap()["role_id"].as_str().unwrap().to_owned();
        let made = write("auth/approle/role/service/secret-id", json!({})).await;
        let secret_id = made.data.unwrap()["secret_id"].as_str().unwrap().to_owned();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret-id"), secret_id + "\n").unwrap();
        let mut config = VaultConfig::new(address.parse().unwrap());
        config.max_retries = 0;
        Self { postgres, vault: VaultClient::new(&config).unwrap(), folder, role_id }
    }

    pub(crate) fn login(&self) -> AppRoleLogin {
        let secret_id = SecretFile(self.folder.path().join("secret-id"));
        AppRoleLogin::new("approle", self.role_id.clone()).secret_id(secret_id)
    }

    pub(crate) fn settings(&self) -> PoolSettings {
        let connection = format!("postgresql://localhost:{}/postgres", self.postgres.port());
        let database = Database::new(&connection, self.postgres.ca_file()).unwrap();
        let mut settings = PoolSettings::new(database, "database/creds/app");
        settings.min_backoff = Duration::from_millis(100);
        settings.max_backoff = Duration::from_secs(1);
        settings
    }

    /// Whether PostgreSQL lets a user in with the password that it was made with.
    pub(crate) async fn admits(&self, user: &str) -> bool {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.postgres.socket_directory()).port(self.postgres.port());
        config.dbname("postgres").user(user).password(PASSWORD);
        match config.connect(NoTls).await {
            Ok(_) => true,
            Err(error) => {
                let refusals =
                    [&SqlState::INVALID_PASSWORD, &SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
                let code = error.code().unwrap_or_else(|| panic!("{error:?}"));
                assert!(refusals.contains(&code), "{error:?}");
                false
            }
        }
    }

    /// The users that the secrets server made and has not dropped.
    pub(crate) fn users(&self) -> String {
        let sql = "SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname LIKE 'v-%'";
        self.postgres.psql("postgres", sql).unwrap()
    }

    /// Ends the sessions of users that are gone.
    pub(crate) fn end_orphans(&self) {
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                   WHERE usename IS NULL AND backend_type = 'client backend'";
        self.postgres.psql("postgres", sql).unwrap();
    }

    /// How many sessions they have.
    pub(crate) fn sessions(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'v-%'";
        self.postgres.psql("postgres", sql).unwrap().parse().unwrap()
    }

    /// How much was committed.
    pub(crate) fn ledger(&self) -> u64 {
        let sql = "SELECT count(*) FROM ledger";
        self.postgres.psql("postgres", sql).unwrap().parse().unwrap()
    }
}

/// Requests that never rest, each a transaction of its own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    tasks: JoinSet<Result<(), String>>,
}

impl Load {
    /// `quick` loops with requests of some milliseconds, and `long` ones with requests of `length`.
    pub(crate) fn start(pool: &RotatingPool, quick: i32, long: i32, length: Duration) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for who in 0..quick + long {
            let (stop, served, pool) = (stop.clone(), served.clone(), pool.clone());
            let length = if who < quick { Duration::from_millis(4) } else { length };
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let connection = pool.get().await.map_err(|error| format!("{error:?}"))?;
                    let generation = connection.generation();
                    let done = transact(connection, who, length).await;
                    done.map_err(|error| format!("generation {generation}: {error:?}"))?;
                    served.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { stop, served, tasks }
    }

    /// Ends it. Gives how many requests were served, and what failed.
    pub(crate) async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.tasks.join_all().await;
        (self.served.load(Ordering::Relaxed), ended.into_iter().filter_map(Result::err).collect())
    }
}

/// One request: writes, takes its time, commits.
async fn transact(
    mut connection: Connection,
    who: i32,
    length: Duration,
) -> Result<(), tokio_postgres::Error> {
    let transaction = connection.transaction().await?;
    let insert = transaction.prepare_cached("INSERT INTO ledger (who) VALUES ($1)").await?;
    transaction.execute(&insert, &[&who]).await?;
    let sleep = transaction.prepare_cached("SELECT pg_sleep($1)").await?;
    transaction.execute(&sleep, &[&length.as_secs_f64()]).await?;
    transaction.commit().await
}

/// Waits for something. Gives how long that took.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// A fixed secret as a source of one.
pub(crate) fn fixed(text: &str) -> SecretString {
    SecretString::from(text)
}

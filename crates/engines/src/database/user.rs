//! The SQL that makes, prolongs and ends a database user.

use deadpool_postgres::Object;
use tokio_postgres::Client;
use tracing::debug;

use super::error::DatabaseError;
use super::pool::{Server, answered};
use super::statements::{Values, quote_identifier, render};

/// How long a session may take to end once it is told to, in milliseconds.
const END_LIMIT: i64 = 5_000;

/// Whether there is a role called `name`.
pub(crate) async fn exists(client: &Client, name: &str) -> Result<bool, DatabaseError> {
    Ok(oid(client, name).await?.is_some())
}

async fn oid(client: &Client, name: &str) -> Result<Option<u32>, DatabaseError> {
    let sql = "SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1";
    answered(async { Ok(client.query_opt_scalar(sql, &[&name]).await?) }).await
}

/// Runs `statements` in one transaction.
pub(crate) async fn run(
    client: &mut Client,
    statements: &[String],
    values: &Values<'_>,
) -> Result<(), DatabaseError> {
    run_locked(client, None, statements, values).await
}

/// Runs `statements` in one transaction, which holds the lock `lock` until its end.
pub(crate) async fn run_locked(
    client: &mut Client,
    lock: Option<i64>,
    statements: &[String],
    values: &Values<'_>,
) -> Result<(), DatabaseError> {
    let work = async {
        let transaction = client.transaction().await?;
        if let Some(lock) = lock {
            transaction.batch_execute(&lock_statement(lock)).await?;
        }
        for statement in statements {
            transaction.batch_execute(&render(statement, values)).await?;
        }
        transaction.commit().await?;
        Ok(())
    };
    let result = answered(work).await;
    result.map_err(|error: DatabaseError| error.without(&[values.verifier.unwrap_or_default()]))
}

fn lock_statement(lock: i64) -> String {
    format!("SELECT pg_catalog.pg_advisory_xact_lock({lock})")
}

/// Waits until the transaction that held `lock` has come to its end, one way or the other: a
/// server goes on with a commit whose sender has died.
pub(crate) async fn await_end(client: &mut Client, lock: i64) -> Result<(), DatabaseError> {
    run_locked(client, Some(lock), &[], &Values::default()).await
}

/// Ends the user `name` and all it can do. What is gone already is a success, and so it can be
/// repeated from any point.
///
/// The order matters. First it cannot log in, then its sessions end: a session outlives its role,
/// and goes on reading through a group it was in. Then what it owns goes to the owner of the
/// database, and what it was granted is taken back, in every database that knows it: until then
/// it cannot be dropped. `statements` are the operator's own way to do this last part; what they
/// leave of the user is then done our way.
pub(crate) async fn drop_user(
    server: &Server,
    session: &mut Object,
    name: &str,
    statements: &[String],
) -> Result<(), DatabaseError> {
    if name == server.user() {
        return Err(DatabaseError::OwnUser(name.to_owned()));
    }
    let Some(oid) = oid(session, name).await? else { return Ok(()) };
    let role = quote_identifier(name);
    execute(session, &format!("ALTER ROLE {role} NOLOGIN")).await?;
    if !is_superuser(session).await? {
        // Whoever may alter a role may join it, and only a member may end its sessions and give
        // away what it owns.
        execute(session, &format!("GRANT {role} TO CURRENT_USER")).await?;
    }
    end_sessions(session, oid).await?;
    if !statements.is_empty() {
        run(session, statements, &Values { name, ..Values::default() }).await?;
    }
    if exists(session, name).await? {
        for database in databases_with(session, oid).await? {
            match database {
                Some(database) => disown(&mut *server.connect_to(&database).await?, name).await?,
                None => disown(session, name).await?,
            }
        }
        execute(session, &format!("DROP ROLE IF EXISTS {role}")).await?;
    }
    // A login that had passed the check before NOLOGIN took hold has a session by now.
    end_sessions(session, oid).await?;
    debug!(username = name, "database user dropped");
    Ok(())
}

async fn execute(client: &Client, sql: &str) -> Result<(), DatabaseError> {
    answered(async { Ok(client.batch_execute(sql).await?) }).await
}

async fn is_superuser(client: &Client) -> Result<bool, DatabaseError> {
    let sql = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    answered(async { Ok(client.query_one_scalar(sql, &[]).await?) }).await
}

/// Ends the sessions of the user, and sees that they are gone.
async fn end_sessions(client: &Client, oid: u32) -> Result<(), DatabaseError> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid, $2) \
               FROM pg_catalog.pg_stat_activity WHERE usesysid = $1";
    let rows =
        answered(async { Ok(client.query_scalar::<bool, _>(sql, &[&oid, &END_LIMIT]).await?) })
            .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usesysid = $1";
    let left: i64 = answered(async { Ok(client.query_one_scalar(sql, &[&oid]).await?) }).await?;
    match usize::try_from(left) {
        Ok(0) => Ok(()),
        left => Err(DatabaseError::Sessions(left.unwrap_or_default())),
    }
}

/// The databases where something belongs or is granted to the user. None stands for the one that
/// we are connected to, which also answers for what is in no database: the databases themselves.
async fn databases_with(client: &Client, oid: u32) -> Result<Vec<Option<String>>, DatabaseError> {
    let sql = "SELECT DISTINCT nullif(d.datname, current_database())::text \
               FROM pg_catalog.pg_shdepend s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
               WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = $1";
    answered(async { Ok(client.query_scalar(sql, &[&oid]).await?) }).await
}

/// Gives what the role owns in this database to the database's owner, or to us where we may not,
/// and takes back what it was granted.
async fn disown(client: &mut Client, name: &str) -> Result<(), DatabaseError> {
    let work = async {
        let transaction = client.transaction().await?;
        let sql = "SELECT CASE WHEN pg_catalog.pg_has_role(d.datdba, 'MEMBER') \
                     AND r.rolname <> $1 \
                   THEN r.rolname ELSE current_user END::text \
                   FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba \
                   WHERE d.datname = current_database()";
        let owner: String = transaction.query_one(sql, &[&name]).await?.try_get(0)?;
        let (role, owner) = (quote_identifier(name), quote_identifier(&owner));
        let sql = format!("REASSIGN OWNED BY {role} TO {owner}; DROP OWNED BY {role}");
        transaction.batch_execute(&sql).await?;
        transaction.commit().await?;
        Ok(())
    };
    answered(work).await
}

//! Roles of PostgreSQL: their passwords, who may log in, who is logged in.
//!
//! Only verifiers are sent, never a password: statements can end up in logs. Connections are TLS
//! with the server's name verified, or a Unix socket.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use holdfast_types::SecretString;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::trouble::{Step, Trouble};

/// How long connecting may take, and how long a statement.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const STATEMENT_LIMIT: Duration = Duration::from_secs(20);
/// How long a session may take to end once it is told to, in milliseconds.
const END_LIMIT: i64 = 5_000;
/// How our own sessions are known.
const OWN_NAME: &str = "holdfast rotate";
/// The largest file of certificates, in bytes.
const LARGEST: u64 = 1 << 20;

/// A server of PostgreSQL, as far as it is known before anybody logs in.
pub(crate) struct Server {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
}

/// A user and the password.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: SecretString,
}

/// A session of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) pid: i32,
    /// What it says it is, and from where: `psql at 10.0.0.3`.
    pub(crate) whence: String,
}

impl Server {
    /// Reads where a server is; connects to nothing yet.
    ///
    /// # Errors
    /// A connection string with a password or that is none; no authority to trust.
    pub(crate) fn new(connection: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut config: tokio_postgres::Config = connection.parse().map_err(|_| {
            anyhow::anyhow!(
                "rotate_connection is no connection string, such as postgresql://db.local:5432/app"
            )
        })?;
        ensure!(
            config.get_password().is_none(),
            "rotate_connection holds a password, which metadata is no place for: leave it out"
        );
        ensure!(!config.get_hosts().is_empty(), "rotate_connection names no host");
        config.connect_timeout(CONNECT_LIMIT);
        if config.get_application_name().is_none() {
            config.application_name(OWN_NAME);
        }
        if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) {
            return Ok(Self { config, tls: None });
        }
        config.ssl_mode(SslMode::Require);
        let file = ca_file.context(
            "PostgreSQL's certificate is always verified: name the PEM file of its authority by \
             rotate_ca_file in the metadata, --postgres-ca or PGSSLROOTCERT",
        )?;
        let tls = ClientConfig::builder().with_root_certificates(roots(file)?);
        Ok(Self { config, tls: Some(MakeRustlsConnect::new(tls.with_no_client_auth())) })
    }

    /// Logs in.
    pub(crate) async fn connect(&self, login: &Login) -> Step<Client> {
        let mut config = self.config.clone();
        config.user(&login.username).password(login.password.expose());
        let connecting = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = config.connect(tls.clone()).await?;
                    tokio::spawn(connection);
                    Ok(client)
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    tokio::spawn(connection);
                    Ok(client)
                }
            }
        };
        answered(format!("log in to PostgreSQL as {}", login.username), connecting).await
    }

    /// Whether a login is let in. Trouble where nobody can say.
    pub(crate) async fn admits(&self, login: &Login) -> Step<bool> {
        match self.connect(login).await {
            Ok(client) => {
                answered("ask PostgreSQL", client.batch_execute("SELECT 1")).await?;
                Ok(true)
            }
            Err(Trouble::Failed(error)) if is_refusal(&error) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }
}

/// Gives a role another password, by its verifier. `login` lets it log in where it may not.
pub(crate) async fn set_password(
    client: &Client,
    role: &str,
    password: &SecretString,
    login: bool,
) -> Step {
    let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    let login = if login { "LOGIN " } else { "" };
    let role_name = quote(role);
    let statement =
        SecretString::new(format!("ALTER ROLE {role_name} WITH {login}PASSWORD '{verifier}'"));
    answered(format!("change the password of {role}"), client.batch_execute(statement.expose()))
        .await
}

/// Lets nobody log in as a role any more, and ends its sessions.
pub(crate) async fn end(client: &Client, role: &str) -> Step {
    let statement = format!("ALTER ROLE {} WITH NOLOGIN PASSWORD NULL", quote(role));
    answered(format!("end the password of {role}"), client.batch_execute(&statement)).await?;
    let sql = "SELECT count(*) FILTER (WHERE NOT pg_catalog.pg_terminate_backend(pid, $2)) \
               FROM pg_catalog.pg_stat_activity WHERE usename = $1";
    let what = format!("end the sessions of {role}");
    let left = answered(what, client.query_one(sql, &[&role, &END_LIMIT])).await?;
    match left.get::<_, i64>(0) {
        0 => Ok(()),
        left => Err(Trouble::passing(format!("{left} sessions of {role} do not end"))),
    }
}

/// The sessions of a role, but for those of rotations; with `after`, those that began after that
/// moment of PostgreSQL's clock.
pub(crate) async fn sessions(
    client: &Client,
    role: &str,
    after: Option<&str>,
) -> Step<Vec<Session>> {
    let sql = "SELECT pid, coalesce(nullif(application_name, ''), 'a client') || ' at ' || \
                      coalesce(host(client_addr), 'this machine'), backend_start IS NULL \
               FROM pg_catalog.pg_stat_activity \
               WHERE usename = $1 AND application_name IS DISTINCT FROM $3 \
                 AND (backend_start IS NULL \
                      OR backend_start > coalesce($2::text::timestamptz, '-infinity'))";
    let what = format!("look for sessions of {role}");
    let rows = answered(what, client.query(sql, &[&role, &after, &OWN_NAME])).await?;
    if rows.iter().any(|row| row.get(2)) {
        return Err(blind(role, "pg_read_all_stats"));
    }
    Ok(rows.iter().map(|row| Session { pid: row.get(0), whence: row.get(1) }).collect())
}

/// Sees that sessions of a role can be looked for and ended: to others PostgreSQL shows them as if
/// they had never begun.
pub(crate) async fn watches(client: &Client, role: &str) -> Step {
    let sql = "SELECT pg_catalog.pg_has_role($1, 'USAGE'), \
                      pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), \
                      pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')";
    let what = format!("ask whether sessions of {role} can be seen");
    let row = answered(what, client.query_one(sql, &[&role])).await?;
    let (is_member, sees, ends) = (row.get(0), row.get(1), row.get(2));
    match (is_member, sees, ends) {
        (true, _, _) | (_, true, true) => Ok(()),
        (_, false, _) => Err(blind(role, "pg_read_all_stats")),
        (_, true, false) => Err(blind(role, "pg_signal_backend")),
    }
}

fn blind(role: &str, needed: &str) -> Trouble {
    Trouble::failed(format!(
        "the credential of rotate_admin cannot see or end sessions of {role}, so that a consumer \
         which nobody knows would be locked out: GRANT {needed} to it"
    ))
}

/// PostgreSQL's clock.
pub(crate) async fn now(client: &Client) -> Step<String> {
    let sql = "SELECT pg_catalog.clock_timestamp()::text";
    let row = answered("ask PostgreSQL for the time", client.query_one(sql, &[])).await?;
    Ok(row.get(0))
}

/// Whether there is such a role.
pub(crate) async fn exists(client: &Client, role: &str) -> Step<bool> {
    let sql = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1";
    let row = answered("look for the role", client.query_opt(sql, &[&role])).await?;
    Ok(row.is_some())
}

async fn answered<T>(
    what: impl Into<String>,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Step<T> {
    match timeout(STATEMENT_LIMIT, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(trouble(error).doing(what)),
        Err(_) => Err(Trouble::passing("PostgreSQL does not answer").doing(what)),
    }
}

/// Refusals are final, but for those of a server that starts, ends or is full.
fn trouble(error: tokio_postgres::Error) -> Trouble {
    let passes = match error.code() {
        Some(state) => {
            let class = &state.code()[..2];
            matches!(class, "08" | "53" | "57" | "40" | "55")
        }
        None => error.is_closed() || is_io(&error),
    };
    let error = anyhow::Error::new(error);
    if passes { Trouble::Passing(error) } else { Trouble::Failed(error) }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // A certificate that is not trusted comes as malformed data.
            return error.kind() != std::io::ErrorKind::InvalidData;
        }
        next = error.source();
    }
    false
}

/// Whether PostgreSQL let nobody in, for who they say they are.
fn is_refusal(error: &anyhow::Error) -> bool {
    let states = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
    let error = error.chain().find_map(|error| error.downcast_ref::<tokio_postgres::Error>());
    error.and_then(tokio_postgres::Error::code).is_some_and(|state| states.contains(state))
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let doing = || format!("read {}", file.display());
    ensure!(
        fs::metadata(file).with_context(doing)?.len() <= LARGEST,
        "{} is too large",
        file.display()
    );
    let pem = fs::read(file).with_context(doing)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.map_err(|_| anyhow::anyhow!("{} is not PEM", file.display()))?;
        roots.add(certificate).with_context(doing)?;
    }
    if roots.is_empty() {
        bail!("{} holds no certificate", file.display());
    }
    Ok(roots)
}

/// A name as SQL writes it.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;

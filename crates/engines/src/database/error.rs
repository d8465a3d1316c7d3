//! What goes wrong between us and a database.

use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

use super::dsn::DsnError;
use super::template::TemplateError;
use super::tls::TlsError;
use super::username::UsernameError;

/// Why a database did not do as it was told. No message holds a password, a verifier or a
/// connection string.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// No connection came about.
    #[error("failed to connect to `user={user} database={database}`: {reason}")]
    Connect {
        user: String,
        database: String,
        reason: String,
        /// The server knows the user by another password, or not at all.
        denied: bool,
    },
    /// The server refused a statement; what the transaction did is undone.
    #[error("{severity}: {message} (SQLSTATE {code})")]
    Refused { severity: String, message: String, code: String },
    /// The connection broke, so nobody knows whether the last statement was carried out.
    #[error("connection to the database lost: {0}")]
    Lost(String),
    /// As [`DatabaseError::Lost`]: it may still be carried out.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// Every connection of the config was in use for too long.
    #[error("no connection to the database became free in time: max_open_connections is reached")]
    Exhausted,
    /// The pool was closed: the config changed, or the mount stops.
    #[error("the connections of this config are closed")]
    Closed,
    /// Sessions of a user would not end.
    #[error("{0} sessions of the user did not end in time")]
    Sessions(usize),
    #[error("a role named {0:?} exists already, and is not ours to use")]
    Exists(String),
    #[error("{0:?} is the user that this config logs in as: it is not dropped")]
    OwnUser(String),
    #[error(transparent)]
    Dsn(#[from] DsnError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("unable to initialize username template")]
    Template(#[from] TemplateError),
    #[error("invalid username template")]
    Username(#[from] UsernameError),
}

impl DatabaseError {
    /// Whether nothing was changed for certain, so that there is nothing to undo.
    pub(crate) fn changed_nothing(&self) -> bool {
        !matches!(self, Self::Lost(_) | Self::Timeout(_))
    }

    /// Whether the server refused the login.
    pub(crate) fn denied(&self) -> bool {
        matches!(self, Self::Connect { denied: true, .. })
    }

    /// The same without any of `secrets`: the server quotes a statement where it makes no sense
    /// to it.
    pub(crate) fn without(self, secrets: &[&str]) -> Self {
        let Self::Refused { severity, message, code } = self else { return self };
        let mut message = message;
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            message = message.replace(secret, "***");
        }
        Self::Refused { severity, message, code }
    }

    /// Why `config` did not connect.
    pub(crate) fn connect(config: &tokio_postgres::Config, error: &tokio_postgres::Error) -> Self {
        let addresses = addresses(config);
        let denied = error.code().is_some_and(|code| {
            *code == SqlState::INVALID_PASSWORD
                || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        });
        Self::Connect {
            user: config.get_user().unwrap_or_default().to_owned(),
            database: config.get_dbname().unwrap_or_default().to_owned(),
            reason: format!("{addresses}: {}", reason(error)),
            denied,
        }
    }

    /// `config` did not connect in time.
    pub(crate) fn slow(config: &tokio_postgres::Config) -> Self {
        Self::unreachable(config, "timed out")
    }

    /// Why a pool with this `config` gave no connection.
    pub(crate) fn pool(config: &tokio_postgres::Config, error: &PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::connect(config, error),
            PoolError::Closed => Self::Closed,
            PoolError::Timeout(TimeoutType::Wait) => Self::Exhausted,
            PoolError::Timeout(_) => Self::slow(config),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::unreachable(config, &error.to_string())
            }
        }
    }

    fn unreachable(config: &tokio_postgres::Config, reason: &str) -> Self {
        Self::Connect {
            user: config.get_user().unwrap_or_default().to_owned(),
            database: config.get_dbname().unwrap_or_default().to_owned(),
            reason: format!("{}: {reason}", addresses(config)),
            denied: false,
        }
    }
}

/// Where a config looks for its server: `db.example:5432`, or a socket's directory.
fn addresses(config: &tokio_postgres::Config) -> String {
    let ports = config.get_ports();
    let names = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    // An address is where the connection really goes, whatever name is expected there.
    let names: Vec<_> = match config.get_hostaddrs() {
        [] => names.collect(),
        addresses => addresses.iter().map(ToString::to_string).collect(),
    };
    let addresses = names.iter().enumerate().map(|(index, name)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        format!("{name}:{port}")
    });
    addresses.collect::<Vec<_>>().join(", ")
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // The server goes away and says so: as good as a broken connection.
            Some(refusal) if refusal.severity() != "ERROR" => Self::Lost(reason(&error)),
            Some(refusal) => Self::Refused {
                severity: refusal.severity().to_owned(),
                message: refusal.message().to_owned(),
                code: refusal.code().code().to_owned(),
            },
            None => Self::Lost(reason(&error)),
        }
    }
}

/// An error with all its causes, in a line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Why, in a line; the server's own words as pgx writes them.
fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        let (severity, message) = (refusal.severity(), refusal.message());
        return format!("{severity}: {message} (SQLSTATE {})", refusal.code().code());
    }
    chain(error)
}

//! Where PostgreSQL is, and whom its certificate has to be from.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::Connect;
use holdfast_types::SecretString;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

use super::login::{FileError, read};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Where PostgreSQL is. Whoever connects gets TLS, with the server's certificate and its name
/// verified (`verify-full`), or a Unix socket.
#[derive(Debug, Clone)]
pub struct Database {
    config: Config,
    authority: Option<Authority>,
}

#[derive(Debug, Clone)]
enum Authority {
    Pem(Vec<u8>),
    File(PathBuf),
}

/// What is wrong with a [`Database`].
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Not like `postgresql://db.local:5432/app`.
    #[error("this is no connection string, such as postgresql://db.local:5432/app")]
    Malformed,
    /// A user or a password, which come from the secrets server.
    #[error("the connection string holds a user or a password: leave them out")]
    Credential,
    /// No host, or hosts and sockets mixed.
    #[error("the connection string has to name hosts, or the folders of sockets, and not both")]
    Hosts,
    /// Sockets have no TLS, and hosts nothing else.
    #[error("hosts need a certificate authority, and sockets have none")]
    Authority,
    /// The authority's file cannot be read.
    #[error("read the certificate authority")]
    File(#[from] FileError),
    /// No certificate is in it, or one that cannot be used.
    #[error("the certificate authority's PEM holds no certificate that can be used")]
    Certificate,
    /// The TLS library refuses.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

impl Database {
    /// Reached as `connection` says (`postgresql://db.local:5432/app`, without user and password),
    /// with a certificate by an authority in this PEM file. It is read anew for each credential, so
    /// that authorities can be replaced.
    ///
    /// # Errors
    /// What is wrong with the connection string.
    pub fn new(connection: &str, ca_file: impl Into<PathBuf>) -> Result<Self, DatabaseError> {
        Self::with(connection, Some(Authority::File(ca_file.into())))
    }

    /// The same, with the authorities in this PEM text.
    ///
    /// # Errors
    /// What is wrong with the connection string.
    pub fn with_ca_pem(connection: &str, pem: impl Into<Vec<u8>>) -> Result<Self, DatabaseError> {
        Self::with(connection, Some(Authority::Pem(pem.into())))
    }

    /// On a Unix socket in a folder: `postgresql:///app?host=/run/postgresql`.
    ///
    /// # Errors
    /// What is wrong with the connection string.
    pub fn on_socket(connection: &str) -> Result<Self, DatabaseError> {
        Self::with(connection, None)
    }

    fn with(connection: &str, authority: Option<Authority>) -> Result<Self, DatabaseError> {
        let mut config: Config = connection.parse().map_err(|_| DatabaseError::Malformed)?;
        if config.get_user().is_some() || config.get_password().is_some() {
            return Err(DatabaseError::Credential);
        }
        let sockets =
            config.get_hosts().iter().filter(|host| matches!(host, Host::Unix(_))).count();
        if config.get_hosts().is_empty() || (sockets > 0 && sockets < config.get_hosts().len()) {
            return Err(DatabaseError::Hosts);
        }
        if (sockets > 0) != authority.is_none() {
            return Err(DatabaseError::Authority);
        }
        config.ssl_mode(if sockets > 0 { SslMode::Disable } else { SslMode::Require });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_LIMIT);
        }
        Ok(Self { config, authority })
    }

    /// What opens connections as this user.
    pub(super) async fn connector(
        &self,
        user: &str,
        password: &SecretString,
        session: Option<&str>,
    ) -> Result<Connector, DatabaseError> {
        let mut config = self.config.clone();
        config.user(user).password(password.expose());
        let tls = match &self.authority {
            None => None,
            Some(Authority::Pem(pem)) => Some(tls(pem)?),
            Some(Authority::File(path)) => Some(tls(read(path).await?.as_bytes())?),
        };
        Ok(Connector { config, tls, session: session.map(str::to_owned) })
    }

    /// The authority's file, where there is one.
    pub fn ca_file(&self) -> Option<&Path> {
        match &self.authority {
            Some(Authority::File(path)) => Some(path),
            _ => None,
        }
    }
}

fn tls(pem: &[u8]) -> Result<MakeRustlsConnect, DatabaseError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| DatabaseError::Certificate)?;
        roots.add(certificate).map_err(|_| DatabaseError::Certificate)?;
    }
    if roots.is_empty() {
        return Err(DatabaseError::Certificate);
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Opens connections as one user.
pub(super) struct Connector {
    pub(super) config: Config,
    tls: Option<MakeRustlsConnect>,
    session: Option<String>,
}

type Started = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connector {
    async fn start(&self) -> Started {
        let (client, task) = match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                (client, tokio::spawn(ended(connection)))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                (client, tokio::spawn(ended(connection)))
            }
        };
        if let Some(session) = &self.session {
            client.batch_execute(session).await?;
        }
        Ok((client, task))
    }
}

/// Whoever uses the connection is told as well, and that is where it is logged.
async fn ended(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        debug!(%error, "database connection ended");
    }
}

impl Connect for Connector {
    fn connect(&self, _config: &Config) -> Pin<Box<dyn Future<Output = Started> + Send + '_>> {
        Box::pin(self.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_reached_verified_or_not_at_all() {
        type Wrong = DatabaseError;
        let tcp = |text| Database::with_ca_pem(text, "PEM");
        assert!(tcp("postgresql://db.local:5432/app").is_ok());
        assert!(Database::on_socket("postgresql:///app?host=/run/postgresql").is_ok());
        for (text, is) in [
            ("db.local", (|wrong| matches!(wrong, Wrong::Malformed)) as fn(&Wrong) -> bool),
            ("postgresql://app@db.local/app", |wrong| matches!(wrong, Wrong::Credential)),
            ("postgresql://:secret@db.local/app", |wrong| matches!(wrong, Wrong::Credential)),
            ("postgresql:///app", |wrong| matches!(wrong, Wrong::Hosts)),
            ("host=db.local,/run/postgresql", |wrong| matches!(wrong, Wrong::Hosts)),
            ("host=/run/postgresql", |wrong| matches!(wrong, Wrong::Authority)),
        ] {
            let wrong = tcp(text).expect_err(text);
            assert!(is(&wrong), "{text}: {wrong}");
            assert!(!format!("{wrong:?}{wrong}").contains("secret"));
        }
        assert!(matches!(
            Database::on_socket("postgresql://db.local/app"),
            Err(DatabaseError::Authority)
        ));
        // Whatever the string says about TLS.
        let plain = tcp("postgresql://db.local/app?sslmode=disable").unwrap();
        assert_eq!(plain.config.get_ssl_mode(), SslMode::Require);
    }
}

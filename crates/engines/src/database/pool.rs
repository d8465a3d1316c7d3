//! Connections to the databases: one bounded pool for each config.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod,
    Runtime,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

use super::config::Config;
use super::dsn::{Dsn, Login};
use super::error::DatabaseError;
use super::tls::{self, Pem};

/// How long a connection may take to come about, name resolution and login included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a request waits for a free connection.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// A connection that nobody used for this long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// What every session is told first. The server ends a statement after half a minute, and one that
/// waits for a lock sooner; ours to repeat. We wait somewhat longer for its answer, so that it is
/// the server who decides what became of a statement.
const SESSION_SETTINGS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '60s'";
/// See [`SESSION_SETTINGS`].
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// One database server as one config reaches it.
pub(crate) struct Server {
    connector: Connector,
    pool: Pool,
    max_idle: Option<usize>,
}

impl Server {
    /// Reads the settings of `config`; connects to nothing yet.
    pub(crate) fn new(config: &Config) -> Result<Self, DatabaseError> {
        let connector = Connector::new(config)?;
        let manager = Manager::from_connect(
            connector.config.clone(),
            connector.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Verified },
        );
        let mut builder = Pool::builder(manager)
            .max_size(config.max_open_connections())
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT_LIMIT))
            .create_timeout(Some(CONNECT_LIMIT))
            .recycle_timeout(Some(Duration::from_secs(5)));
        if let Some(lifetime) = config.max_connection_lifetime() {
            builder = builder.pre_recycle(Hook::sync_fn(move |_, metrics| {
                if metrics.age() < lifetime {
                    return Ok(());
                }
                Err(HookError::message("max_connection_lifetime is over"))
            }));
        }
        let pool = builder.build().map_err(|_| DatabaseError::Closed)?;
        Ok(Self { connector, pool, max_idle: config.max_idle_connections() })
    }

    /// A connection from the pool.
    pub(crate) async fn session(&self) -> Result<Object, DatabaseError> {
        let session = self.pool.get().await;
        session.map_err(|error| DatabaseError::pool(&self.connector.config, &error))
    }

    /// A connection of its own, to another database of the same server.
    pub(crate) async fn connect_to(&self, database: &str) -> Result<ClientWrapper, DatabaseError> {
        let mut connector = self.connector.clone();
        connector.config.dbname(database);
        connector.open().await
    }

    /// The user that the config logs in as.
    pub(crate) fn user(&self) -> &str {
        self.connector.config.get_user().unwrap_or_default()
    }

    /// Closes connections that are idle for long, or beyond `max_idle_connections`.
    fn tidy(&self) {
        let mut kept = 0;
        self.pool.retain(|_, metrics| {
            let keep = metrics.last_used() < IDLE_LIMIT
                && self.max_idle.is_none_or(|max_idle| kept < max_idle);
            kept += usize::from(keep);
            keep
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// Waits for the server's answer, but not for ever. When the time is over the statement may still
/// be carried out; a transaction that is dropped with `work` is rolled back.
pub(crate) async fn answered<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    timeout(ANSWER_LIMIT, work).await.unwrap_or(Err(DatabaseError::Timeout(ANSWER_LIMIT)))
}

/// Opens connections as one config says.
#[derive(Clone)]
pub(crate) struct Connector {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Result<Self, DatabaseError> {
        let login = Login {
            username: config.username(),
            password: config.password.as_ref().map_or("", |password| password.expose()),
            escaped: config.disable_escaping(),
        };
        let mut dsn = Dsn::parse(config.connection_url(), login)?;
        let pem = Pem {
            ca: config.tls_ca(),
            certificate: config.tls_certificate(),
            key: config.private_key.as_ref().map(|key| key.expose().as_str()),
        };
        let tls = tls::connector(&dsn, pem)?;
        if dsn.config.get_connect_timeout().is_none() {
            dsn.config.connect_timeout(CONNECT_LIMIT);
        }
        Ok(Self { config: dsn.config, tls })
    }

    /// A connection outside any pool.
    pub(crate) async fn open(&self) -> Result<ClientWrapper, DatabaseError> {
        match timeout(CONNECT_LIMIT, self.start()).await {
            Ok(Ok((client, task))) => Ok(ClientWrapper::new(client, task)),
            Ok(Err(error)) => Err(DatabaseError::connect(&self.config, &error)),
            Err(_) => Err(DatabaseError::slow(&self.config)),
        }
    }

    async fn start(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Whoever uses the connection is told as well, and that is where it is logged.
                debug!(%error, "database connection ended");
            }
        });
        client.batch_execute(SESSION_SETTINGS).await?;
        Ok((client, task))
    }
}

type Started = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connect for Connector {
    fn connect(
        &self,
        _config: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Started> + Send + '_>> {
        Box::pin(self.start())
    }
}

/// The servers in use, by the name of their config.
#[derive(Default)]
pub(crate) struct Servers(Mutex<HashMap<String, (String, Arc<Server>)>>);

impl Servers {
    /// The server of a config as it is stored now. One that was made of an older revision is
    /// closed once its last user is done with it.
    pub(crate) fn get(&self, name: &str, config: &Config) -> Result<Arc<Server>, DatabaseError> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, server)) = servers.get(name)
            && *revision == config.revision
        {
            return Ok(server.clone());
        }
        let server = Arc::new(Server::new(config)?);
        servers.insert(name.to_owned(), (config.revision.clone(), server.clone()));
        Ok(server)
    }

    /// Lets go of a config's connections; the next use makes new ones.
    pub(crate) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Closes all connections, those in use too once they are given back.
    pub(crate) fn close(&self) {
        for (_, (_, server)) in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            server.pool.close();
        }
    }

    /// Closes connections that nobody needs any more.
    pub(crate) fn tidy(&self) {
        for (_, server) in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            server.tidy();
        }
    }
}

//! A pool of PostgreSQL connections whose credential is replaced while it is in use.
//!
//! The secrets server makes a database user for each credential, with a lease of an hour, say.
//! [`RotatingPool`] logs in, reads one, opens connections, and hands them out. Before the lease ends
//! it does so again with another user, hands out the new connections, waits until the old ones are
//! given back, and ends the old lease. Getters notice nothing; what fails is tried again while the
//! old connections go on.
//!
//! - At five sixths of the lease (or up to a fiftieth of it earlier, so that services that were
//!   started together do not come together), and never so late that the old connections could not
//!   drain, **another login** is made: a lease ends with the token that made it.
//! - The new pool is opened and tried before anybody gets a connection of it.
//! - The old pool takes no more getters; whoever waited there waits at the new one. What is checked
//!   out may go on for [`drain_limit`](PoolSettings::drain_limit), or half the lease where that is
//!   shorter.
//! - Only then is the old lease revoked, by its own token, and that token after it; again and again
//!   until the server says so, or the lease's time is over.
//! - Time is counted by the wall clock and by timers, whichever is further: after a machine's sleep
//!   everything is due at once, and a clock that is set back delays nothing.
//! - A credential that PostgreSQL does not take any more, because somebody revoked its lease, is
//!   replaced at once, and getters wait for that.
//!
//! # Example
//!
//! ```no_run
//! use holdfast_client::postgres::{
//!     AppRoleLogin, Database, PoolSettings, RotatingPool, SecretFile,
//! };
//! use holdfast_client::vault::{Trust, VaultClient, VaultConfig};
//!
//! # async fn service() -> Result<(), Box<dyn std::error::Error>> {
//! // The pool has its own patience: one attempt for each request is enough.
//! let mut config = VaultConfig::new("https://vault.local:8200".parse()?);
//! config.trust = Trust::File("/etc/app/ca.pem".into());
//! config.max_retries = 0;
//! let vault = VaultClient::new(&config)?;
//!
//! let login = AppRoleLogin::new("approle", "backend")
//!     .secret_id(SecretFile("/run/app/secret-id".into()));
//! let database = Database::new("postgresql://db.local:5432/app", "/etc/app/ca.pem")?;
//! let settings = PoolSettings::new(database, "database/creds/backend-role");
//! let pool = RotatingPool::start(settings, vault, login).await?;
//!
//! // For each request: a connection, given back when it is dropped.
//! let mut connection = pool.get().await?;
//! let transaction = connection.transaction().await?;
//! let statement = transaction.prepare_cached("INSERT INTO visits (path) VALUES ($1)").await?;
//! transaction.execute(&statement, &[&"/"]).await?;
//! transaction.commit().await?;
//! drop(connection);
//!
//! // For a health page, or metrics.
//! let snapshot = pool.snapshot();
//! println!("{} rotations, {} connections in use", snapshot.rotations, snapshot.in_use);
//!
//! // In the end: connections are given back, the lease is revoked.
//! pool.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The token's policies have to allow reading the credential, and should allow it to end the lease:
//!
//! ```hcl
//! path "database/creds/backend-role" { capabilities = ["read"] }
//! path "sys/leases/revoke"           { capabilities = ["update"] }
//! ```
//!
//! Without the second rule the token itself is revoked, which every token may do by the usual
//! `default` policy; the server then ends the lease when it comes to it.

mod counters;
mod database;
mod driver;
mod effects;
mod elapsed;
mod generation;
mod lifecycle;
mod login;
mod pool;
mod settings;

pub use counters::PoolSnapshot;
pub use database::{Database, DatabaseError};
pub use effects::RotationError;
pub use login::{
    AppRoleLogin, CertificateLogin, FileError, IdentityFiles, JwtLogin, Login, LoginError,
    SecretFile, SecretSource,
};
pub use pool::{Connection, GetError, RotatingPool, StartError};
pub use settings::PoolSettings;

pub use deadpool_postgres::{ClientWrapper, Transaction};
pub use tokio_postgres;

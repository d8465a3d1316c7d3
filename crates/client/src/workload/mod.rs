//! A service's own identity from the SPIFFE Workload API, and what is done with it: TLS in which
//! both sides are known by their SPIFFE IDs, and logging in to the secrets server.
//!
//! [`Workload`] follows the agent. Its certificate, the authorities that it trusts and its tokens
//! are always the ones of now: a TLS configuration is made once, and each handshake takes what is
//! current then. While the agent does not answer, what it gave last stays in use until it ends.
//! Nothing that has ended is shown to anyone, and nothing that the agent took back.
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use holdfast_client::postgres::{Database, PoolSettings, RotatingPool};
//! use holdfast_client::vault::{Trust, VaultClient, VaultConfig};
//! use holdfast_client::workload::{SvidLogin, Workload, WorkloadSettings, exact};
//!
//! # async fn service() -> Result<(), Box<dyn std::error::Error>> {
//! // The agent is where SPIFFE_ENDPOINT_SOCKET says.
//! let workload = Workload::connect(WorkloadSettings::default()).await?;
//!
//! // A server that lets the frontend in, and nobody else.
//! let frontend = exact(["spiffe://demo.local/ns/apps/sa/frontend"])?;
//! let server = Arc::new(workload.server_tls(frontend, &[])?);
//!
//! // The secrets server, known by its SPIFFE ID, whatever certificate it has at the moment.
//! let vault_id = exact(["spiffe://demo.local/vault"])?;
//! let mut config = VaultConfig::new("https://vault.local:8200".parse()?);
//! config.trust = Trust::Tls(Arc::new(workload.client_tls(vault_id, &[])?));
//! config.max_retries = 0;
//! let vault = VaultClient::new(&config)?;
//!
//! // A pool whose every credential comes from a login with the SVID of that moment.
//! let login = SvidLogin::jwt(workload, "spiffe", "backend", "vault");
//! let database = Database::new("postgresql://db.local:5432/app", "/etc/app/ca.pem")?;
//! let settings = PoolSettings::new(database, "database/creds/backend-role");
//! let pool = RotatingPool::start(settings, vault, login).await?;
//! # drop((server, pool));
//! # Ok(())
//! # }
//! ```

mod login;
mod source;
mod tls;

pub use login::SvidLogin;
pub use source::{Svid, Workload, WorkloadError, WorkloadSettings};
pub use tls::WorkloadTlsError;

pub use spiffe::{SpiffeId, TrustDomain};
pub use spiffe_rustls::authorizer::{Authorizer, any, exact, trust_domains};

//! What the lifecycle orders, with a secrets server and PostgreSQL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::PoolError;
use holdfast_types::{Chain, SecretString};
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::driver::Effects;
use super::generation::Connections;
use super::lifecycle::{Do, Event, Generation};
use super::login::{Login, LoginError};
use super::pool::Shared;
use super::{DatabaseError, PoolSettings};
use crate::vault::{Auth, Reply, VaultClient, VaultError};

/// Why no credential came to serve.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// No token.
    #[error("log in")]
    Login(#[from] LoginError),
    /// The token is good for one request, and ends with it, and the lease with the token.
    #[error("the token is good for one request only, so its credential ends at once")]
    OneUse,
    /// No answer, or a refusal, to the credential's path.
    #[error("read {path}")]
    Read {
        /// The path.
        path: String,
        /// Why not.
        #[source]
        source: VaultError,
    },
    /// What the path gave is no database user with a lease.
    #[error("{path} gave no {missing}")]
    NoUser {
        /// The path.
        path: String,
        /// What is not there.
        missing: &'static str,
    },
    /// The database cannot be reached as it is described.
    #[error("set up connections")]
    Database(#[from] DatabaseError),
    /// PostgreSQL does not take the user, or is not there.
    #[error("open connections as {user}")]
    Probe {
        /// The user.
        user: String,
        /// Why not.
        #[source]
        source: PoolError,
    },
    /// The lease or the token is not ended yet.
    #[error("revoke the credential")]
    Revoke(#[source] VaultError),
    /// It took longer than [`PoolSettings::step_limit`].
    #[error("{step} took longer than {} s", limit.as_secs_f32())]
    Slow {
        /// What took so long.
        step: &'static str,
        /// The limit.
        limit: Duration,
    },
}

/// What is known of each credential, from its login to its end.
pub(super) struct Credentials {
    settings: PoolSettings,
    vault: VaultClient,
    login: Box<dyn Login>,
    shared: Arc<Shared>,
    held: Mutex<HashMap<Generation, Held>>,
}

/// One credential.
#[derive(Clone)]
struct Held {
    /// With its token.
    vault: VaultClient,
    /// Names the token.
    accessor: String,
    /// Batch tokens cannot be revoked; what hangs on them can.
    is_batch: bool,
    /// When the token ends, from its login.
    token_life: Option<Duration>,
    lease_id: Option<String>,
    connections: Option<Arc<Connections>>,
}

impl Credentials {
    pub(super) fn new(
        settings: PoolSettings,
        vault: VaultClient,
        login: Box<dyn Login>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { settings, vault, login, shared, held: Mutex::default() }
    }

    async fn log_in(&self, generation: Generation) -> Result<Option<Duration>, RotationError> {
        let auth = self.within("the login", self.login.log_in(&self.vault)).await??;
        let Auth { client_token, accessor, lease_duration, num_uses, token_type, .. } = auth;
        if num_uses == 1 {
            return Err(RotationError::OneUse);
        }
        let token_life = (lease_duration > 0).then(|| Duration::from_secs(lease_duration));
        debug!(generation = generation.0, %accessor, ttl.s = lease_duration, "pool logged in");
        let vault = self.vault.with_token(Some(client_token));
        let is_batch = token_type == "batch";
        let (lease_id, connections) = (None, None);
        let held = Held { vault, accessor, is_batch, token_life, lease_id, connections };
        self.held().insert(generation, held);
        self.shared.leaving(self.held().len());
        Ok(token_life)
    }

    async fn read(&self, generation: Generation, held: &Held) -> Result<Duration, RotationError> {
        let path = self.settings.credential.as_str();
        let failed = |source| RotationError::Read { path: path.to_owned(), source };
        let missing = |missing| RotationError::NoUser { path: path.to_owned(), missing };
        let reply = self.within("reading the credential", held.vault.read(path, &[])).await?;
        let reply = reply.map_err(failed)?.ok_or_else(|| missing("answer"))?;
        if reply.lease_id.is_empty() || reply.lease_duration == 0 {
            return Err(missing("lease"));
        }
        let life = Duration::from_secs(reply.lease_duration);
        let (user, password) = user(&reply).ok_or_else(|| missing("username and password"))?;
        debug!(generation = generation.0, %user, lease = %reply.lease_id, "pool read a credential");
        if held.token_life.is_some_and(|token| token < life) {
            self.shared.counters.short_tokens.add();
            warn!(generation = generation.0, accessor = %held.accessor,
                token.s = held.token_life.map(|life| life.as_secs()), lease.s = life.as_secs(),
                "the token ends before the lease, and takes it along: the pool rotates sooner");
        }
        let session = self.settings.session.as_deref();
        let connector = self.settings.database.connector(&user, &password, session).await?;
        let (_, most) = self.settings.sizes();
        let connections = Connections::new(generation, connector, user.clone(), most);
        let failed = |_| RotationError::Probe { user, source: PoolError::NoRuntimeSpecified };
        let connections = connections.map_err(failed)?;
        if let Some(held) = self.held().get_mut(&generation) {
            held.lease_id = Some(reply.lease_id);
            held.connections = Some(Arc::new(connections));
        }
        Ok(life)
    }

    async fn probe(&self, connections: &Connections) -> Result<(), RotationError> {
        let (least, _) = self.settings.sizes();
        let opened = self.within("opening connections", connections.open(least)).await?;
        let user = || connections.user.clone();
        opened.map_err(|source| RotationError::Probe { user: user(), source })
    }

    /// Ends the lease, then its token. Whatever was done already, or by somebody else, is no
    /// failure.
    async fn revoke(&self, held: &Held) -> Result<Ended, RotationError> {
        let mut ended = Ended::Revoked;
        if let Some(connections) = &held.connections {
            connections.close();
        }
        if let Some(lease_id) = &held.lease_id {
            // The answer comes when the user is gone.
            let body = json!({ "lease_id": lease_id, "sync": true });
            let asked = held.vault.write("sys/leases/revoke", &body);
            match self.within("revoking the lease", asked).await? {
                Ok(_) => {}
                Err(VaultError::Denied(_)) => ended = Ended::Refused,
                Err(error) => return Err(RotationError::Revoke(error)),
            }
        }
        if held.is_batch {
            return Ok(ended);
        }
        match self.within("revoking the token", held.vault.token_revoke_self()).await? {
            Ok(()) => Ok(Ended::Revoked),
            Err(VaultError::Denied(_)) => Ok(ended),
            Err(error) => Err(RotationError::Revoke(error)),
        }
    }

    async fn within<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, RotationError> {
        let limit = self.settings.step_limit;
        timeout(limit, work).await.map_err(|_| RotationError::Slow { step, limit })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Generation, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, generation: Generation) -> Option<Held> {
        self.held().get(&generation).cloned()
    }

    fn connections(&self, generation: Generation) -> Option<Arc<Connections>> {
        self.of(generation)?.connections
    }

    fn forget(&self, generation: Generation) {
        let held = self.held().remove(&generation);
        if let Some(connections) = held.and_then(|held| held.connections) {
            connections.close();
        }
        self.shared.leaving(self.held().len());
    }

    fn failed(&self, generation: Generation, error: RotationError) {
        warn!(generation = generation.0, error = %Chain(&error), "pool rotation failed");
        self.shared.failed(error);
    }
}

/// What became of a credential at the secrets server.
enum Ended {
    Revoked,
    /// Its token is not known there any more, or may not.
    Refused,
}

#[async_trait]
impl Effects for Credentials {
    async fn carry_out(&self, order: Do) -> Event {
        let counters = &self.shared.counters;
        match order {
            Do::LogIn(generation) => match self.log_in(generation).await {
                Ok(life) => Event::LoggedIn(generation, life),
                Err(error) => {
                    counters.login_failures.add();
                    self.failed(generation, error);
                    Event::LoginFailed(generation)
                }
            },
            Do::Read(generation) => {
                let Some(held) = self.of(generation) else { return Event::ReadFailed(generation) };
                match self.read(generation, &held).await {
                    Ok(life) => Event::Read(generation, life),
                    Err(error) => {
                        counters.read_failures.add();
                        self.failed(generation, error);
                        Event::ReadFailed(generation)
                    }
                }
            }
            Do::Probe(generation) => {
                let Some(connections) = self.connections(generation) else {
                    return Event::ProbeFailed(generation);
                };
                match self.probe(&connections).await {
                    Ok(()) => Event::Probed(generation),
                    Err(error) => {
                        counters.probe_failures.add();
                        self.failed(generation, error);
                        Event::ProbeFailed(generation)
                    }
                }
            }
            Do::Drain(generation) => {
                if let Some(connections) = self.connections(generation) {
                    connections.unused().await;
                    counters.drains.add();
                    debug!(generation = generation.0, "pool drained");
                }
                Event::Drained(generation)
            }
            Do::Revoke(generation) => {
                let Some(held) = self.of(generation) else { return Event::Revoked(generation) };
                match self.revoke(&held).await {
                    Ok(Ended::Revoked) => {
                        counters.revocations.add();
                        info!(
                            generation = generation.0,
                            lease = held.lease_id,
                            "pool revoked a credential"
                        );
                        self.forget(generation);
                        Event::Revoked(generation)
                    }
                    Ok(Ended::Refused) => {
                        counters.revocations_left.add();
                        warn!(generation = generation.0, lease = held.lease_id, accessor = %held.accessor,
                            "the secrets server refuses to revoke a credential: it ends with its lease");
                        self.forget(generation);
                        Event::RevokeRefused(generation)
                    }
                    Err(error) => {
                        counters.revocation_failures.add();
                        warn!(generation = generation.0, lease = held.lease_id, error = %Chain(&error),
                            "pool could not revoke a credential yet");
                        Event::RevokeFailed(generation)
                    }
                }
            }
            Do::Serve(..) | Do::Cut(_) | Do::Forget(_) | Do::Finish => Event::Time,
        }
    }

    fn carry_out_now(&self, order: Do) {
        match order {
            Do::Serve(generation, left) => {
                let Some(connections) = self.connections(generation) else { return };
                info!(generation = generation.0, user = %connections.user, left.s = left.as_secs(),
                    "pool serves with a new credential");
                self.shared.serve(connections, left);
            }
            Do::Drain(generation) => {
                self.shared.retire(generation);
                if let Some(connections) = self.connections(generation) {
                    connections.close();
                }
            }
            Do::Cut(generation) => {
                self.shared.counters.drains_cut.add();
                let in_use = self.connections(generation).map(|connections| connections.in_use());
                warn!(
                    generation = generation.0,
                    in_use,
                    "connections of a replaced credential \
                    are still in use: they end with its lease"
                );
            }
            Do::Forget(generation) => {
                self.shared.counters.revocations_left.add();
                warn!(generation = generation.0, "a credential was not revoked in its time");
                self.forget(generation);
            }
            Do::Finish => {
                let left = self.held().len();
                if left > 0 {
                    warn!(left, "pool closed; credentials are left to end with their leases");
                }
                self.shared.finish();
            }
            Do::LogIn(_) | Do::Read(_) | Do::Probe(_) | Do::Revoke(_) => {}
        }
    }
}

/// The user and the password of an answer.
fn user(reply: &Reply) -> Option<(String, SecretString)> {
    let data = reply.data.as_ref()?;
    let text = |name: &str| data.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some((text("username")?.to_owned(), SecretString::from(text("password")?)))
}

//! Does what the lifecycle decides, and tells everybody.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_client::vault::{ConfigError, VaultClient, VaultError};
use holdfast_types::{Clock, Random, SecretString, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::lifecycle::{Lifecycle, Rules, Step};
use super::{Life, Login, Session, State};
use crate::auth::LoginError;
use crate::chain;
use crate::config::ServerConfig;

/// The longest sleep. The wall clock says when a token ends, and it goes on while a machine sleeps
/// and timers do not.
const NAP: Duration = Duration::from_secs(10);
/// How many doubts wait; they are all about one token.
const DOUBTS: usize = 16;

/// A login that went well.
pub(crate) enum Granted {
    /// A token for this process.
    Token { client: VaultClient, accessor: String, life: Life },
    /// The server's `wrap_info` as JSON: a token for the sink's reader.
    Wrapped(SecretString),
}

/// Who grants tokens: the server, or a test.
#[async_trait]
pub(crate) trait Authority: Send {
    /// Logs in.
    async fn log_in(&mut self) -> Result<Granted, LoginError>;
    /// Renews the token of `client`.
    async fn renew(&mut self, client: &VaultClient) -> Result<Life, VaultError>;
    /// Whether the token of `client` is good; none where no answer came.
    async fn is_alive(&mut self, client: &VaultClient) -> Option<bool>;
    /// Waits until the credential is another. Can be dropped and called again.
    async fn changed(&mut self);
    /// Reads the server's certificates anew. Gives the client that holders of the login get, without
    /// a token.
    fn reload(&mut self, server: &ServerConfig) -> Result<VaultClient, ConfigError>;
}

/// Keeps the agent logged in.
pub struct Keeper {
    authority: Box<dyn Authority>,
    lifecycle: Lifecycle,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    states: watch::Sender<State>,
    doubts: mpsc::Receiver<u64>,
    /// The server's settings, each time that they are to be read anew.
    servers: watch::Receiver<ServerConfig>,
    generation: u64,
}

impl Keeper {
    pub(crate) fn new(
        authority: Box<dyn Authority>,
        rules: Rules,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        servers: watch::Receiver<ServerConfig>,
    ) -> (Self, Session) {
        let (states, receiver) = watch::channel(State::LoggedOut);
        let (doubt, doubts) = mpsc::channel(DOUBTS);
        let lifecycle = Lifecycle::new(rules);
        let generation = 0;
        let this =
            Self { authority, lifecycle, clock, random, states, doubts, servers, generation };
        (this, Session { states: receiver, doubts: doubt })
    }

    /// Runs until `shutdown`. The token is not revoked: others may use it, from a sink.
    ///
    /// # Errors
    /// The login failed, and `exit_on_err` is set.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), LoginError> {
        let shut = shutdown.clone();
        tokio::select! {
            biased;
            () = shut.cancelled() => Ok(()),
            ended = self.keep() => ended,
        }
    }

    async fn keep(&mut self) -> Result<(), LoginError> {
        loop {
            match self.lifecycle.step(self.clock.now()) {
                Step::LogIn => self.log_in().await?,
                Step::Renew => self.renew().await,
                Step::LookUp => self.look_up().await,
                Step::Wait(until) => self.wait(until).await,
                // Said by the login that failed.
                Step::GiveUp => return Ok(()),
            }
        }
    }

    async fn log_in(&mut self) -> Result<(), LoginError> {
        let outcome = self.authority.log_in().await;
        let (now, chance) = (self.clock.now(), self.chance());
        match outcome {
            Ok(granted) => {
                self.generation += 1;
                let generation = self.generation;
                let state = match granted {
                    Granted::Token { client, accessor, life } => {
                        self.lifecycle.logged_in(now, life, chance);
                        let expires = self.lifecycle.expires();
                        info!(generation, %accessor, ttl.s = life.ttl.map(|ttl| ttl.as_secs()),
                            renewable = life.renewable, "logged in");
                        State::LoggedIn(Login { generation, client, accessor, expires })
                    }
                    Granted::Wrapped(wrap_info) => {
                        self.lifecycle.passed_on();
                        info!(generation, "logged in; the wrapped token is passed on");
                        State::Wrapped { generation, wrap_info }
                    }
                };
                self.states.send_replace(state);
                Ok(())
            }
            Err(error) => match self.lifecycle.login_failed(now, chance) {
                Some(wait) => {
                    error!(error = %chain(&error), again.ms = wait.as_millis(), "log in");
                    self.forget();
                    Ok(())
                }
                None => Err(error),
            },
        }
    }

    async fn renew(&mut self) {
        let Some(login) = self.login() else { return };
        let outcome = self.authority.renew(&login.client).await;
        let (now, chance) = (self.clock.now(), self.chance());
        match outcome {
            Ok(life) => {
                self.lifecycle.renewed(now, life, chance);
                let expires = self.lifecycle.expires();
                info!(accessor = %login.accessor, ttl.s = life.ttl.map(|ttl| ttl.as_secs()),
                    "renewed the token");
                self.states.send_replace(State::LoggedIn(Login { expires, ..login }));
            }
            Err(error) if is_refusal(&error) => {
                warn!(error = %chain(&error), "the token is not renewed; logging in anew");
                self.lifecycle.renewal_refused(now);
            }
            Err(error) => {
                let wait = self.lifecycle.renewal_failed(now, chance);
                warn!(error = %chain(&error), again.ms = wait.as_millis(), "renew the token");
            }
        }
        self.forget();
    }

    async fn look_up(&mut self) {
        let Some(login) = self.login() else { return };
        let alive = self.authority.is_alive(&login.client).await;
        if alive == Some(false) {
            warn!(accessor = %login.accessor, "the token is dead before its time; logging in anew");
        }
        self.lifecycle.looked_up(self.clock.now(), alive);
        self.forget();
    }

    async fn wait(&mut self, until: Option<Timestamp>) {
        let now = self.clock.now();
        let left = until
            .map_or(NAP, |until| Duration::try_from(until.duration_since(now)).unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(left.min(NAP)) => {}
            // None would mean that nobody can doubt any more; then nobody will.
            Some(generation) = self.doubts.recv() => {
                if generation == self.generation {
                    self.lifecycle.doubted(self.clock.now());
                }
            }
            Ok(()) = self.servers.changed() => self.reload(),
            () = self.authority.changed() => {
                info!("the credential is another; logging in anew");
                self.lifecycle.credential_changed(self.clock.now());
            }
        }
    }

    fn reload(&mut self) {
        let server = self.servers.borrow_and_update().clone();
        match self.authority.reload(&server) {
            Ok(client) => {
                if let Some(login) = self.login() {
                    let client = client.with_token(login.client.token().cloned());
                    self.states.send_replace(State::LoggedIn(Login { client, ..login }));
                }
            }
            Err(error) => {
                error!(error = %chain(&error), "read the server's certificates; the old ones stay");
            }
        }
    }

    /// Tells everybody, once the token is gone.
    fn forget(&self) {
        if !self.lifecycle.is_in() {
            self.states.send_if_modified(|state| {
                let was_in = matches!(state, State::LoggedIn(_));
                if was_in {
                    *state = State::LoggedOut;
                }
                was_in
            });
        }
    }

    fn login(&self) -> Option<Login> {
        self.states.borrow().login().cloned()
    }

    /// A number from 0 to 1.
    fn chance(&self) -> f64 {
        let mut bytes = [0; 2];
        self.random.fill(&mut bytes);
        f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX)
    }
}

/// Whether the server said no, and will again.
pub(crate) fn is_refusal(error: &VaultError) -> bool {
    !matches!(error, VaultError::Sealed(_) | VaultError::Uninitialised(_))
        && matches!(error.status(), Some(400 | 403 | 404 | 405))
}

#[cfg(test)]
mod tests;

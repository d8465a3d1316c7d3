//! `rotate-root/<name>`: a password for the config's own user that only the config knows.
//!
//! The new password is on disk, beside the old one, before the server hears of it. After a crash
//! whichever of the two opens the door is used to carry the rotation to its end.

use deadpool_postgres::ClientWrapper;
use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply};
use holdfast_types::{SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::config::Config;
use super::dsn::{Dsn, Login};
use super::error::DatabaseError;
use super::passwords::verifier;
use super::pool::Connector;
use super::statements::{Values, quote_identifier};
use super::{Database, config_key, failed, no_config, plain, user};

/// A rotation that has begun.
#[derive(Serialize, Deserialize)]
struct Rotation {
    password: SecretString,
    /// For people.
    begun_at: Timestamp,
}

/// The write-ahead record of a config's rotation.
pub(super) fn rotation_key(config: &str) -> String {
    format!("rotation/{config}")
}

impl Database {
    /// Gives the user of a config a new password.
    pub(super) async fn rotate_root(&self, name: &str) -> Reply {
        let _configs = self.configs.lock().await;
        self.finish_rotation(name).await?;
        let config = self.config(name).await?.ok_or_else(|| no_config(name))?;
        if config.username().is_empty() {
            return Err(plain("unable to rotate root credentials: no username in configuration"));
        }
        check_templates(&config)?;
        let rotation = Rotation {
            password: self.new_password(&[&config.password_policy]).await?,
            begun_at: self.context.clock.now(),
        };
        // Before anything is recorded: a server that is away needs no record.
        let (_, mut session) = self.session(name).await?;
        self.context.storage.put_json(&rotation_key(name), &rotation).await?;
        let statements = statements(&config);
        let changed = change(&mut session, &config, &statements, &rotation.password).await?;
        match changed {
            Ok(()) => {}
            Err(error) if error.changed_nothing() => {
                self.context.storage.delete(&rotation_key(name)).await?;
                return Err(failed("failed to update user")(error));
            }
            // The record stays: the next start, tick or failed login settles it.
            Err(error) => return Err(failed("failed to update user")(error)),
        }
        self.adopt(name, config, rotation).await?;
        Ok(None)
    }

    /// Carries rotations to their end that a crash interrupted.
    pub(super) async fn finish_rotations(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for name in self.context.storage.list("rotation/").await? {
            let _configs = self.configs.lock().await;
            result = result.and(self.finish_rotation(&name).await.map(drop));
        }
        result
    }

    /// The same for one config; true where there was one. The caller holds `configs`.
    pub(super) async fn finish_rotation(&self, name: &str) -> Result<bool, Error> {
        let key = rotation_key(name);
        let Some(rotation) = self.context.storage.get_json::<Rotation>(&key).await? else {
            return Ok(false);
        };
        let Some(config) = self.config(name).await? else {
            self.context.storage.delete(&key).await?;
            return Ok(true);
        };
        let mut new = config.clone();
        new.password = Some(rotation.password.clone());
        let (mut session, is_new) = match open(&new).await {
            Ok(session) => (session, true),
            Err(error) if error.denied() => {
                (open(&config).await.map_err(failed("finish root rotation"))?, false)
            }
            Err(error) => return Err(failed("finish root rotation")(error)),
        };
        // Where the server asks for no password at all, getting in proves nothing: so the usual
        // statement, which can be repeated, is. The operator's own need not be repeatable.
        if !is_new || config.root_rotation_statements.is_empty() {
            let statements = statements(&config);
            let changed = change(&mut session, &config, &statements, &rotation.password).await?;
            changed.map_err(failed("finish root rotation"))?;
        }
        info!(config = name, begun_at = %rotation.begun_at, "interrupted root rotation finished");
        self.adopt(name, config, rotation).await?;
        Ok(true)
    }

    /// Stores the new password in one commit with the end of its record.
    async fn adopt(&self, name: &str, mut config: Config, rotation: Rotation) -> Result<(), Error> {
        config.password = Some(rotation.password);
        config.revision = self.context.random.uuid();
        let mut batch = Batch::new();
        self.context.storage.batch_json(&mut batch, &config_key(name), &config)?;
        batch.delete(rotation_key(name));
        self.context.storage.commit(batch).await?;
        self.servers.forget(name);
        Ok(())
    }
}

async fn open(config: &Config) -> Result<ClientWrapper, DatabaseError> {
    Connector::new(config)?.open().await
}

fn statements(config: &Config) -> Vec<String> {
    match config.root_rotation_statements.as_slice() {
        [] => {
            let role = quote_identifier(config.username());
            vec![format!("ALTER ROLE {role} WITH PASSWORD '{{{{password}}}}'")]
        }
        statements => statements.to_vec(),
    }
}

async fn change(
    session: &mut tokio_postgres::Client,
    config: &Config,
    statements: &[String],
    password: &SecretString,
) -> Result<Result<(), DatabaseError>, Error> {
    let verifier = verifier(password).await?;
    let values = Values { name: config.username(), verifier: Some(&verifier), expiration: None };
    Ok(user::run(session, statements, &values).await)
}

/// Whether the connection string takes its user and password from the config: one that holds its
/// own would be locked out by a rotation.
fn check_templates(config: &Config) -> Result<(), Error> {
    let login = Login { username: "probe", password: "probe", escaped: config.disable_escaping() };
    let dsn = Dsn::parse(config.connection_url(), login)
        .map_err(|error| failed("unable to rotate root credentials")(error.into()))?;
    let templated = dsn.config.get_user() == Some("probe")
        && dsn.config.get_password() == Some(b"probe".as_slice());
    if templated {
        return Ok(());
    }
    Err(plain(
        "unable to rotate root credentials: connection_url must hold {{username}} and \
         {{password}} in place of a user and password of its own",
    ))
}

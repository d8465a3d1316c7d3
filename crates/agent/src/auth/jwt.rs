//! Logging in with a JWT that somebody puts into a file.

use std::fs;
use std::io;

use holdfast_types::SecretString;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

use super::{LoginError, remove, source};
use crate::config::Jwt;

/// A JWT and the file that it comes from.
pub(super) struct JwtFile {
    config: Jwt,
    latest: Option<SecretString>,
    /// When the file is looked at next, between logins. Made at the first look.
    looks: Option<Interval>,
}

impl JwtFile {
    pub(super) fn new(config: Jwt) -> Self {
        Self { config, latest: None, looks: None }
    }

    /// The body of the login.
    pub(super) fn credential(&mut self) -> Result<Value, LoginError> {
        if let Err(source) = self.take() {
            let path = self.config.path.clone();
            if self.latest.is_none() {
                return Err(LoginError::Read { path, source });
            }
            warn!(error = %source, path = %path.display(), "read a JWT; using the one before");
        }
        let Some(jwt) = &self.latest else {
            let text = format!("no JWT: {} is missing or empty", self.config.path.display());
            return Err(LoginError::Credential(text));
        };
        Ok(json!({ "role": self.config.role, "jwt": jwt.expose() }))
    }

    /// Waits for the next look at the file, and tells whether there was another JWT in it. Can be
    /// dropped and called again.
    pub(super) async fn another(&mut self) -> bool {
        let period = self.config.read_period;
        let looks = self.looks.get_or_insert_with(|| {
            let mut looks = interval(period);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks.reset();
            looks
        });
        looks.tick().await;
        let before = self.latest.clone();
        match self.take() {
            Ok(()) => before.is_some() && before != self.latest,
            Err(error) => {
                warn!(%error, path = %self.config.path.display(), "look for another JWT");
                false
            }
        }
    }

    /// Reads the file, where there is one, and removes it where that is wanted.
    fn take(&mut self) -> io::Result<()> {
        let path = &self.config.path;
        let Some(jwt) = source::read(path)? else { return Ok(()) };
        let is_new = self.latest.as_ref() != Some(&jwt);
        self.latest = Some(jwt);
        if self.config.remove_after_reading {
            let target = match self.config.remove_follows_symlinks {
                true => fs::canonicalize(path)?,
                false => path.clone(),
            };
            remove(&target, is_new);
        }
        Ok(())
    }
}

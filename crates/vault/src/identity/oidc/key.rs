//! `oidc/key/<name>`: what signs, for whom, and for how long it verifies.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::{Algorithm, SigningKey};
use holdfast_logical::{Error, Fields, Response};
use holdfast_types::{SecretBytes, SecretString, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Oidc;
use crate::tokens::params::after;

/// What tokens can be signed with.
pub(super) const ALGORITHMS: [&str; 7] =
    ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"];
/// The key that is always there.
pub(super) const DEFAULT: &str = "default";
const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);
/// The most public halves of one key that verify at a time, beside the two that are in use.
const RETIRED: usize = 100;

/// A key as stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyRecord {
    pub(super) algorithm: String,
    pub(super) rotation_period: Duration,
    pub(super) verification_ttl: Duration,
    pub(super) allowed_client_ids: Vec<String>,
    /// Signs now. None: the default key, before anything uses it.
    pub(super) current: Option<Half>,
    /// Signs after the next rotation.
    pub(super) next: Option<Half>,
    pub(super) next_rotation: Option<Timestamp>,
    pub(super) retired: Vec<Retired>,
}

/// A private key with its public half.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Half {
    pub(super) id: String,
    /// PKCS #8, in base64.
    pkcs8: SecretString,
    pub(super) jwk: Value,
}

/// The public half of a key that signs no more.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Retired {
    pub(super) jwk: Value,
    pub(super) until: Timestamp,
}

impl KeyRecord {
    fn new() -> Self {
        Self {
            algorithm: "RS256".to_owned(),
            rotation_period: DAY,
            verification_ttl: DAY,
            allowed_client_ids: Vec::new(),
            current: None,
            next: None,
            next_rotation: None,
            retired: Vec::new(),
        }
    }

    /// Whether a role or a client of that id may use it.
    pub(super) fn allows(&self, client_id: &str) -> bool {
        self.allowed_client_ids.iter().any(|allowed| allowed == "*" || allowed == client_id)
    }

    fn retire(&mut self, now: Timestamp, ttl: Duration) {
        if let Some(old) = self.current.take() {
            self.retired.push(Retired { jwk: old.jwk, until: after(now, ttl) });
        }
        self.retired.retain(|old| old.until > now);
    }
}

impl Half {
    /// Makes one. Elsewhere than where requests are served: RSA takes its time.
    async fn make(oidc: &Oidc, algorithm: &str) -> Result<Self, Error> {
        let algorithm = known(algorithm)?;
        let id = oidc.random.uuid();
        let failed = |error| Error::internal("make a signing key", error);
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let (key, pkcs8) =
            made.map_err(|error| Error::internal("make a signing key", error))?.map_err(failed)?;
        Ok(Self {
            pkcs8: SecretString::new(STANDARD.encode(pkcs8.expose())),
            jwk: key.public_jwk(&id),
            id,
        })
    }
}

fn known(algorithm: &str) -> Result<Algorithm, Error> {
    let known = Some(algorithm).filter(|name| ALGORITHMS.contains(name));
    known
        .and_then(Algorithm::parse)
        .ok_or_else(|| Error::invalid(format!("unknown signing algorithm {algorithm:?}")))
}

impl Oidc {
    /// The key of that name.
    pub(super) async fn key(&self, name: &str) -> Result<Option<KeyRecord>, Error> {
        let stored = self.store.get_json(&format!("key/{name}")).await?;
        let default = || KeyRecord { allowed_client_ids: vec!["*".to_owned()], ..KeyRecord::new() };
        Ok(stored.or_else(|| (name == DEFAULT).then(default)))
    }

    async fn put_key(&self, name: &str, key: &KeyRecord) -> Result<(), Error> {
        let done = self.store.put_json(&format!("key/{name}"), key).await;
        self.published.store(None);
        Ok(done?)
    }

    pub(super) async fn key_names(&self) -> Result<Vec<String>, Error> {
        let mut names = self.store.list("key/").await?;
        if !names.iter().any(|name| name == DEFAULT) {
            names.push(DEFAULT.to_owned());
            names.sort();
        }
        Ok(names)
    }

    pub(super) async fn read_key(&self, name: &str) -> Result<Option<Response>, Error> {
        Ok(self.key(name).await?.map(|key| {
            Response::data(json!({
                "algorithm": key.algorithm,
                "allowed_client_ids": key.allowed_client_ids,
                "rotation_period": key.rotation_period.as_secs(),
                "verification_ttl": key.verification_ttl.as_secs(),
            }))
        }))
    }

    pub(super) async fn write_key(&self, name: &str, fields: &Fields<'_>) -> Result<(), Error> {
        let _change = self.change.lock().await;
        let mut key = self.key(name).await?.unwrap_or_else(KeyRecord::new);
        key.rotation_period = fields.duration("rotation_period")?.unwrap_or(key.rotation_period);
        if key.rotation_period < MINUTE {
            return Err(Error::invalid("rotation_period must be at least one minute"));
        }
        key.verification_ttl = fields.duration("verification_ttl")?.unwrap_or(key.verification_ttl);
        if key.verification_ttl > key.rotation_period.saturating_mul(10) {
            return Err(Error::invalid(
                "verification_ttl cannot be longer than 10x rotation_period",
            ));
        }
        let seconds = key.verification_ttl.as_secs();
        let refuse = |who: &str, ttl: &str| {
            Err(Error::invalid(format!(
                "unable to update key {name:?} because it is currently referenced by one or more \
                 {who} with {ttl} greater than {seconds} seconds"
            )))
        };
        if self.roles_of(name).await?.iter().any(|(_, role)| role.ttl > key.verification_ttl) {
            return refuse("roles", "a token ttl");
        }
        if self.clients_of(name).await?.iter().any(|(_, ttl)| *ttl > key.verification_ttl) {
            return refuse("clients", "an id_token_ttl");
        }
        key.allowed_client_ids =
            fields.strings("allowed_client_ids")?.unwrap_or(key.allowed_client_ids);
        let algorithm = fields.string("algorithm")?.unwrap_or(key.algorithm.clone());
        known(&algorithm)?;
        let now = self.clock.now();
        let next = after(now, key.rotation_period);
        key.next_rotation = Some(key.next_rotation.map_or(next, |old| old.min(next)));
        if algorithm != key.algorithm || (key.current.is_none() && name != DEFAULT) {
            key.algorithm = algorithm;
            key.retire(now, key.verification_ttl);
            self.fill(&mut key).await?;
        }
        self.put_key(name, &key).await
    }

    /// Makes both halves anew.
    async fn fill(&self, key: &mut KeyRecord) -> Result<(), Error> {
        key.current = Some(Half::make(self, &key.algorithm).await?);
        key.next = Some(Half::make(self, &key.algorithm).await?);
        key.next_rotation = Some(after(self.clock.now(), key.rotation_period));
        Ok(())
    }

    /// Makes the default key's halves, which wait for the first that uses it. The caller holds the
    /// change.
    pub(super) async fn ready_default(&self) -> Result<(), Error> {
        let Some(mut key) = self.key(DEFAULT).await? else { return Ok(()) };
        if key.current.is_none() {
            self.fill(&mut key).await?;
            self.put_key(DEFAULT, &key).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_key(&self, name: &str) -> Result<(), Error> {
        if name == DEFAULT {
            return Err(Error::invalid(format!("deletion of key {DEFAULT:?} not allowed")));
        }
        let _change = self.change.lock().await;
        let roles = self.roles_of(name).await?;
        if !roles.is_empty() {
            let names: Vec<_> = roles.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::invalid(format!(
                "unable to delete key {name:?} because it is currently referenced by these roles: \
                 {}",
                names.join(", ")
            )));
        }
        let clients = self.clients_of(name).await?;
        if !clients.is_empty() {
            let names: Vec<_> = clients.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::invalid(format!(
                "unable to delete key {name:?} because it is currently referenced by these \
                 clients: {}",
                names.join(", ")
            )));
        }
        let done = self.store.delete(&format!("key/{name}")).await;
        self.published.store(None);
        Ok(done?)
    }

    /// `oidc/key/<name>/rotate`
    pub(super) async fn rotate_key(&self, name: &str, fields: &Fields<'_>) -> Result<(), Error> {
        let ttl = fields.duration("verification_ttl")?;
        let _change = self.change.lock().await;
        let key = self.key(name).await?;
        let mut key =
            key.ok_or_else(|| Error::invalid(format!("no named key found at {name:?}")))?;
        let ttl = ttl.unwrap_or(key.verification_ttl);
        self.rotate(&mut key, ttl).await?;
        self.put_key(name, &key).await
    }

    async fn rotate(&self, key: &mut KeyRecord, ttl: Duration) -> Result<(), Error> {
        let now = self.clock.now();
        key.retired.retain(|old| old.until > now);
        if key.retired.len() >= RETIRED {
            return Err(Error::invalid(format!(
                "{RETIRED} rotated keys still verify; wait for them to expire"
            )));
        }
        key.retire(now, ttl);
        let next = match key.next.take() {
            Some(next) => next,
            None => Half::make(self, &key.algorithm).await?,
        };
        key.current = Some(next);
        key.next = Some(Half::make(self, &key.algorithm).await?);
        key.next_rotation = Some(after(now, key.rotation_period));
        Ok(())
    }

    /// Rotates the keys whose time has come, and forgets those that verify no more. Looks at all
    /// keys, once a minute.
    pub(crate) async fn tick(&self) -> Result<(), Error> {
        for name in self.store.list("key/").await? {
            let _change = self.change.lock().await;
            let Some(mut key) = self.key(&name).await? else { continue };
            let now = self.clock.now();
            let due = key.current.is_some() && key.next_rotation.is_some_and(|at| at <= now);
            let stale = key.retired.iter().any(|old| old.until <= now);
            if due {
                let ttl = key.verification_ttl;
                self.rotate(&mut key, ttl).await?;
            } else if stale {
                key.retired.retain(|old| old.until > now);
            } else {
                continue;
            }
            self.put_key(&name, &key).await?;
        }
        Ok(())
    }

    /// The private key of `half`, ready to sign.
    pub(super) fn signing_key(
        &self,
        algorithm: &str,
        half: &Half,
    ) -> Result<Arc<SigningKey>, Error> {
        if let Some(key) = self.ready.get(&half.id) {
            return Ok(key);
        }
        let failed = |_| Error::internal("read a signing key", "it does not decode");
        let pkcs8 = SecretBytes::new(STANDARD.decode(half.pkcs8.expose()).map_err(failed)?);
        let key = SigningKey::from_pkcs8(known(algorithm)?, &pkcs8)
            .map_err(|error| Error::internal("read a signing key", error))?;
        let key = Arc::new(key);
        self.ready.insert(half.id.clone(), key.clone());
        Ok(key)
    }
}

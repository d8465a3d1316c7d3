//! The authorities of a mount: keys and issuers, in memory and behind the barrier.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use holdfast_barrier::{Batch, View};
use holdfast_keys::x509::{Certificate, PrivateKey};
use holdfast_logical::{Context, Error};
use holdfast_types::{Random, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use super::chain::chains;
use super::error::{failed, fault};
use super::issuer::{Entry, Issuer};

/// The word that stands for the default issuer or key.
pub(super) const DEFAULT: &str = "default";

/// A key as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyEntry {
    pub(super) id: String,
    pub(super) name: String,
    /// PEM
    pub(super) private_key: SecretString,
}

/// A key, ready to sign.
pub(super) struct Key {
    pub(super) entry: KeyEntry,
    pub(super) pair: PrivateKey,
}

/// `config/issuers`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct IssuersConfig {
    pub(super) default: String,
    pub(super) default_follows_latest_issuer: bool,
}

/// `config/keys`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct KeysConfig {
    default: String,
}

/// All authorities at one time.
#[derive(Clone, Default)]
pub(super) struct Authorities {
    pub(super) keys: BTreeMap<String, Arc<Key>>,
    pub(super) issuers: BTreeMap<String, Arc<Issuer>>,
    pub(super) config: IssuersConfig,
    pub(super) default_key: String,
    chains: HashMap<String, Vec<String>>,
}

/// Why a reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error("no default {0} currently configured")]
    NoDefault(&'static str),
    #[error("unable to find PKI {kind} for reference: {reference}")]
    NotFound { kind: &'static str, reference: String },
    #[error("pki {kind} id {id} does not exist")]
    Gone { kind: &'static str, id: String },
}

impl Authorities {
    /// The issuer that `reference` means: an id, a name, or `default`.
    pub(super) fn issuer(&self, reference: &str) -> Result<&Arc<Issuer>, ReferenceError> {
        let kind = "issuer";
        if reference == DEFAULT {
            let id = &self.config.default;
            if id.is_empty() {
                return Err(ReferenceError::NoDefault(kind));
            }
            return self.issuers.get(id).ok_or(ReferenceError::Gone { kind, id: id.clone() });
        }
        self.issuers
            .get(reference)
            .or_else(|| self.issuers.values().find(|issuer| issuer.entry.name == reference))
            .ok_or(ReferenceError::NotFound { kind, reference: reference.to_owned() })
    }

    /// The key that `reference` means.
    pub(super) fn key(&self, reference: &str) -> Result<&Arc<Key>, ReferenceError> {
        let kind = "key";
        if reference == DEFAULT {
            let id = &self.default_key;
            if id.is_empty() {
                return Err(ReferenceError::NoDefault(kind));
            }
            return self.keys.get(id).ok_or(ReferenceError::Gone { kind, id: id.clone() });
        }
        self.keys
            .get(reference)
            .or_else(|| self.keys.values().find(|key| key.entry.name == reference))
            .ok_or(ReferenceError::NotFound { kind, reference: reference.to_owned() })
    }

    /// The key that signs for an issuer, where it is here.
    pub(super) fn key_of(&self, issuer: &Issuer) -> Option<&Arc<Key>> {
        self.keys.get(&issuer.entry.key_id)
    }

    /// The certificates from an issuer to its roots, itself first.
    pub(super) fn chain(&self, issuer: &Issuer) -> Vec<Arc<Issuer>> {
        let ids = self.chains.get(&issuer.entry.id).into_iter().flatten();
        ids.filter_map(|id| self.issuers.get(id)).cloned().collect()
    }

    /// The issuer and its key, for signing certificates.
    pub(super) fn signer(&self, reference: &str) -> Result<Signer, Error> {
        let issuer = self.issuer(reference).map_err(|error| {
            fault(format!("could not fetch the CA certificate (was one set?): {error}"))
        })?;
        let entry = &issuer.entry;
        if !entry.usage.issuing_certificates {
            let mut named = format!("id:{}", entry.id);
            if !entry.name.is_empty() {
                named.push_str(&format!(" / name:{}", entry.name));
            }
            return Err(fault(format!(
                "error fetching CA certificate: error while attempting to use issuer {}: requested \
                 usage issuing-certificates for issuer [{named}] but only had usage {}",
                entry.id,
                entry.usage.names()
            )));
        }
        let key = self.key_of(issuer).ok_or_else(|| {
            fault(format!(
                "could not fetch the CA certificate (was one set?): unable to fetch corresponding \
                 key for issuer {}; unable to use this issuer for signing",
                entry.id
            ))
        })?;
        Ok(Signer { issuer: issuer.clone(), key: key.clone(), chain: self.chain(issuer) })
    }
}

/// An issuer that can sign.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) issuer: Arc<Issuer>,
    pub(super) key: Arc<Key>,
    /// From the issuer itself to its roots.
    pub(super) chain: Vec<Arc<Issuer>>,
}

/// Where the authorities are kept. They are few and needed by every request: after the first look
/// they stay in memory, and every change goes through [`Store::change`].
pub(super) struct Store {
    storage: View,
    random: Arc<dyn Random>,
    current: ArcSwapOption<Authorities>,
    changes: Mutex<()>,
}

impl Store {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            storage: context.storage.clone(),
            random: context.random.clone(),
            current: ArcSwapOption::empty(),
            changes: Mutex::default(),
        }
    }

    /// The authorities as they are now.
    pub(super) async fn authorities(&self) -> Result<Arc<Authorities>, Error> {
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        // Loaded while no change is under way, so that what is kept is never older than the store.
        let _changes = self.changes.lock().await;
        self.load().await
    }

    async fn load(&self) -> Result<Arc<Authorities>, Error> {
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        let mut loaded = Authorities::default();
        for id in self.storage.list("key/").await? {
            let Some(entry) = self.storage.get_json::<KeyEntry>(&key_path(&id)).await? else {
                continue;
            };
            let pair = PrivateKey::from_pem(entry.private_key.expose());
            let pair = pair.map_err(failed("read the key of an issuer"))?;
            loaded.keys.insert(id, Arc::new(Key { entry, pair }));
        }
        for id in self.storage.list("issuer/").await? {
            let Some(entry) = self.storage.get_json::<Entry>(&issuer_path(&id)).await? else {
                continue;
            };
            let certificate = Certificate::from_pem(&entry.certificate);
            let certificate = certificate.map_err(failed("read the certificate of an issuer"))?;
            loaded.issuers.insert(id, Arc::new(Issuer { entry, certificate }));
        }
        loaded.config = self.storage.get_json("config/issuers").await?.unwrap_or_default();
        let keys: KeysConfig = self.storage.get_json("config/keys").await?.unwrap_or_default();
        loaded.default_key = keys.default;
        loaded.chains = chains(&loaded.issuers);
        let loaded = Arc::new(loaded);
        self.current.store(Some(loaded.clone()));
        Ok(loaded)
    }

    /// Begins a change. Nothing of it holds until it is committed, and no other begins before.
    pub(super) async fn change(&self) -> Result<Change<'_>, Error> {
        let changes = self.changes.lock().await;
        let authorities = Authorities::clone(&*self.load().await?);
        Ok(Change { store: self, _changes: changes, authorities, batch: Batch::new() })
    }
}

fn key_path(id: &str) -> String {
    format!("key/{id}")
}

fn issuer_path(id: &str) -> String {
    format!("issuer/{id}")
}

/// A change of the authorities.
pub(super) struct Change<'a> {
    store: &'a Store,
    _changes: MutexGuard<'a, ()>,
    /// As they will be.
    pub(super) authorities: Authorities,
    /// What else is committed with it.
    pub(super) batch: Batch,
}

impl Change<'_> {
    /// Puts all of it into effect.
    pub(super) async fn commit(mut self) -> Result<Arc<Authorities>, Error> {
        self.authorities.chains = chains(&self.authorities.issuers);
        self.store.storage.commit(std::mem::take(&mut self.batch)).await?;
        let authorities = Arc::new(self.authorities);
        self.store.current.store(Some(authorities.clone()));
        Ok(authorities)
    }

    /// Adds a key, unless it is here already. Returns it and whether it was here.
    pub(super) fn add_key(
        &mut self,
        pair: PrivateKey,
        name: &str,
    ) -> Result<(Arc<Key>, bool), Error> {
        let same = |key: &&Arc<Key>| key.pair.public_key() == pair.public_key();
        if let Some(key) = self.authorities.keys.values().find(same) {
            return Ok((key.clone(), true));
        }
        if !name.is_empty() && self.authorities.keys.values().any(|key| key.entry.name == name) {
            let problem = "an existing key is using the requested key name value";
            return Err(fault(format!("{problem}: {name}")));
        }
        let entry = KeyEntry {
            id: self.store.random.uuid(),
            name: name.to_owned(),
            private_key: pair.to_pem(),
        };
        let key = Arc::new(Key { entry, pair });
        self.put_key(key.clone())?;

        // Issuers that waited for their key have it now.
        let waiting: Vec<_> = self
            .authorities
            .issuers
            .values()
            .filter(|issuer| {
                issuer.entry.key_id.is_empty()
                    && issuer.certificate.public_key == *key.pair.public_key()
            })
            .cloned()
            .collect();
        for issuer in waiting {
            let mut issuer = Issuer::clone(&issuer);
            issuer.entry.key_id.clone_from(&key.entry.id);
            let id = issuer.entry.id.clone();
            self.put_issuer(issuer)?;
            if self.authorities.config.default.is_empty() {
                self.set_default_issuer(&id)?;
            }
        }
        if self.authorities.default_key.is_empty() {
            self.set_default_key(&key.entry.id)?;
        }
        Ok((key, false))
    }

    /// Adds an issuer, unless it is here already. Returns it and whether it was here.
    ///
    /// # Errors
    /// What the client reads: it is no authority's certificate, or the name is taken.
    pub(super) fn add_issuer(
        &mut self,
        certificate: Certificate,
        name: &str,
    ) -> Result<(Arc<Issuer>, bool), Error> {
        if !certificate.is_ca {
            return Err(Error::invalid("Refusing to import non-CA certificate"));
        }
        let issuers = &self.authorities.issuers;
        if let Some(issuer) = issuers.values().find(|i| i.certificate.der == certificate.der) {
            return Ok((issuer.clone(), true));
        }
        if !name.is_empty() && issuers.values().any(|issuer| issuer.entry.name == name) {
            let problem = format!("another issuer is using the requested name: {name}");
            return Err(Error::invalid(problem));
        }
        let mut issuer = Issuer::new(self.store.random.uuid(), name, certificate);
        let keys = self.authorities.keys.values();
        let key = keys.into_iter().find(|k| *k.pair.public_key() == issuer.certificate.public_key);
        if let Some(key) = key {
            issuer.entry.key_id.clone_from(&key.entry.id);
        }
        let id = issuer.entry.id.clone();
        let has_key = key.is_some();
        let issuer = self.put_issuer(issuer)?;
        if has_key && self.authorities.config.default.is_empty() {
            self.set_default_issuer(&id)?;
        }
        Ok((issuer, false))
    }

    /// Writes an issuer over what is there of it.
    pub(super) fn put_issuer(&mut self, issuer: Issuer) -> Result<Arc<Issuer>, Error> {
        let id = issuer.entry.id.clone();
        self.store.storage.batch_json(&mut self.batch, &issuer_path(&id), &issuer.entry)?;
        let issuer = Arc::new(issuer);
        self.authorities.issuers.insert(id, issuer.clone());
        Ok(issuer)
    }

    fn put_key(&mut self, key: Arc<Key>) -> Result<(), Error> {
        let path = key_path(&key.entry.id);
        self.store.storage.batch_json(&mut self.batch, &path, &key.entry)?;
        self.authorities.keys.insert(key.entry.id.clone(), key);
        Ok(())
    }

    /// Gives a key another name.
    pub(super) fn rename_key(&mut self, key: &Key, name: &str) -> Result<Arc<Key>, Error> {
        let entry = KeyEntry { name: name.to_owned(), ..key.entry.clone() };
        let pair = PrivateKey::from_pem(entry.private_key.expose());
        let pair = pair.map_err(failed("read the key of an issuer"))?;
        let key = Arc::new(Key { entry, pair });
        self.put_key(key.clone())?;
        Ok(key)
    }

    /// Removes an issuer. Returns whether it was the default.
    pub(super) fn remove_issuer(&mut self, id: &str) -> Result<bool, Error> {
        self.authorities.issuers.remove(id);
        self.batch.delete(issuer_path(id));
        let was_default = self.authorities.config.default == id;
        if was_default {
            self.set_default_issuer("")?;
        }
        Ok(was_default)
    }

    /// Removes a key. Returns whether it was the default.
    pub(super) fn remove_key(&mut self, id: &str) -> Result<bool, Error> {
        self.authorities.keys.remove(id);
        self.batch.delete(key_path(id));
        let was_default = self.authorities.default_key == id;
        if was_default {
            self.set_default_key("")?;
        }
        Ok(was_default)
    }

    pub(super) fn set_default_issuer(&mut self, id: &str) -> Result<(), Error> {
        let config = IssuersConfig { default: id.to_owned(), ..self.authorities.config.clone() };
        self.set_issuers_config(config)
    }

    pub(super) fn set_issuers_config(&mut self, config: IssuersConfig) -> Result<(), Error> {
        self.store.storage.batch_json(&mut self.batch, "config/issuers", &config)?;
        self.authorities.config = config;
        Ok(())
    }

    pub(super) fn set_default_key(&mut self, id: &str) -> Result<(), Error> {
        let config = KeysConfig { default: id.to_owned() };
        self.store.storage.batch_json(&mut self.batch, "config/keys", &config)?;
        self.authorities.default_key = config.default;
        Ok(())
    }
}

//! Building revocation lists.
//!
//! Issuers with the same key and the same subject share a list: a verifier cannot tell them apart.
//! Each list has a number that grows with every one that is made, complete or not.
//!
//! A rebuild reads every revoked certificate. Revocations that wait while one is under way are all
//! served by the next: a thousand at once cost two rebuilds or three, and not a thousand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_barrier::Batch;
use holdfast_keys::x509::{
    DistinguishedName, Extension, Hash, RevocationListTemplate, RevokedCertificate,
};
use holdfast_logical::{Error, Reply, Response};
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;
use tracing::warn;

use super::Engine;
use super::crl_config::CrlConfig;
use super::error::failed;
use super::issuer::Issuer;
use super::revoke::{Revoked, signed_by};
use super::sign_intermediate::authority_key_id;
use super::store::{Authorities, Key};

/// What is known in memory of the lists of a mount.
#[derive(Default)]
pub(super) struct Lists {
    /// How many rebuilds were asked for.
    asked: AtomicU64,
    /// Held while lists are built.
    built: Mutex<Built>,
}

#[derive(Default)]
struct Built {
    /// Every request up to this one is served.
    up_to: u64,
    /// When lists that add to the complete ones were last looked at.
    delta_at: Option<Timestamp>,
}

/// `crls/state`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// The list of each issuer.
    of_issuer: BTreeMap<String, String>,
    lists: BTreeMap<String, List>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct List {
    /// The number that the next one gets.
    next: u64,
    /// The number of the last complete one.
    complete: u64,
    expires_at: Option<Timestamp>,
}

/// Issuers that share a list.
struct Group {
    issuers: Vec<Arc<Issuer>>,
    /// Who signs it; none where none of them may.
    signer: Option<(Arc<Issuer>, Arc<Key>)>,
}

fn list_path(id: &str, delta: bool) -> String {
    if delta { format!("crls/{id}-delta") } else { format!("crls/{id}") }
}

impl Engine {
    /// Rebuilds all lists. Gives what is to be warned of. `anew` builds them even where they are
    /// disabled, and then empty.
    pub(super) async fn rebuild_lists(&self, anew: bool) -> Result<Vec<String>, Error> {
        let ticket = self.lists.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut built = self.lists.built.lock().await;
        if built.up_to >= ticket {
            return Ok(Vec::new());
        }
        let up_to = self.lists.asked.load(Ordering::SeqCst);
        let config = self.crl_config().await?;
        if config.disable && !anew {
            return Ok(Vec::new());
        }
        let marks = self.context.storage.list("delta/").await?;
        let warnings = self.build(&config, false).await?;
        let mut batch = Batch::new();
        for mark in marks {
            batch.delete(format!("delta/{mark}"));
        }
        self.context.storage.commit(batch).await?;
        self.build(&config, true).await?;
        built.up_to = up_to;
        built.delta_at = Some(self.context.clock.now());
        Ok(warnings)
    }

    /// Builds what adds to the complete lists.
    async fn rebuild_delta_lists(
        &self,
        config: &CrlConfig,
        built: &mut Built,
    ) -> Result<(), Error> {
        self.build(config, true).await?;
        built.delta_at = Some(self.context.clock.now());
        Ok(())
    }

    /// Rebuilds what is near its end, with `auto_rebuild`.
    pub(super) async fn rebuild_what_is_due(&self) -> Result<(), Error> {
        let config = self.crl_config().await?;
        if config.disable || !config.auto_rebuild {
            return Ok(());
        }
        let now = self.context.clock.now();
        let state = self.lists_state().await?;
        let is_due = |list: &List| {
            list.expires_at.is_none_or(|expires_at| now > expires_at - config.grace_period())
        };
        let authorities = self.store.authorities().await?;
        let is_missing = state.lists.is_empty()
            && groups(&authorities).iter().any(|group| group.signer.is_some());
        if is_missing || state.lists.values().any(is_due) {
            for warning in self.rebuild_lists(true).await? {
                warn!(warning, "rebuild the revocation lists");
            }
            return Ok(());
        }
        let mut built = self.lists.built.lock().await;
        let waits = built.delta_at.is_some_and(|at| now < at + config.delta_interval());
        if config.enable_delta && !waits && !self.context.storage.list("delta/").await?.is_empty() {
            self.rebuild_delta_lists(&config, &mut built).await?;
        }
        Ok(())
    }

    pub(super) async fn rotate_crl(&self) -> Reply {
        let mut response = Response::data(json!({ "success": true }));
        for (index, warning) in self.rebuild_lists(false).await?.iter().enumerate() {
            response =
                response.warn(format!("Warning {} during CRL rebuild: {warning}", index + 1));
        }
        Ok(Some(response))
    }

    pub(super) async fn rotate_delta_crl(&self) -> Reply {
        let config = self.crl_config().await?;
        let response = Response::data(json!({ "success": true }));
        if !config.enable_delta {
            return Ok(Some(response.warn(
                "requested rebuild of delta CRL when delta CRL is not enabled; this is a no-op",
            )));
        }
        let mut built = self.lists.built.lock().await;
        self.rebuild_delta_lists(&config, &mut built).await?;
        Ok(Some(response))
    }

    /// The list of an issuer in DER, or why there is none.
    pub(super) async fn list_of(
        &self,
        reference: &str,
        delta: bool,
    ) -> Result<Result<Vec<u8>, String>, Error> {
        let authorities = self.store.authorities().await?;
        let issuer = match authorities.issuer(reference) {
            Ok(issuer) => issuer,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let id = &issuer.entry.id;
        let state = self.lists_state().await?;
        let Some(list) = state.of_issuer.get(id) else {
            return Ok(Err(format!("unable to find CRL for issuer: id:{id}/ref:{reference}")));
        };
        let list = self.context.storage.get(&list_path(list, delta)).await?;
        Ok(Ok(list.map(|list| list.to_vec()).unwrap_or_default()))
    }

    async fn lists_state(&self) -> Result<State, Error> {
        Ok(self.context.storage.get_json("crls/state").await?.unwrap_or_default())
    }

    /// Builds the complete lists, or those that add to them, in one commit.
    async fn build(&self, config: &CrlConfig, delta: bool) -> Result<Vec<String>, Error> {
        let authorities = self.store.authorities().await?;
        let mut state = self.lists_state().await?;
        let mut batch = Batch::new();
        let mut warnings = Vec::new();
        let mut revoked = match config.disable {
            true => HashMap::new(),
            false => self.revoked_by_issuer(&authorities, delta, &mut batch).await?,
        };
        for group in groups(&authorities) {
            let Some((signer, key)) = &group.signer else {
                let ids: Vec<_> = group.issuers.iter().map(|i| i.entry.id.as_str()).collect();
                warnings.push(format!(
                    "warning from local CRL rebuild: Issuer equivalency set with associated keys \
                     lacked an issuer with CRL Signing KeyUsage; refusing to rebuild CRL for this \
                     group of issuers: {}",
                    ids.join(",")
                ));
                continue;
            };
            let mut entries = Vec::new();
            for issuer in &group.issuers {
                let id = &issuer.entry.id;
                if *id == authorities.config.default {
                    entries.extend(revoked.remove("").unwrap_or_default());
                }
                entries.extend(revoked.remove(id.as_str()).unwrap_or_default());
            }
            let known =
                group.issuers.iter().find_map(|issuer| state.of_issuer.get(&issuer.entry.id));
            let id = known.cloned().unwrap_or_else(|| self.context.random.uuid());
            for issuer in &group.issuers {
                state.of_issuer.insert(issuer.entry.id.clone(), id.clone());
            }
            let list = state.lists.entry(id.clone()).or_insert(List { next: 1, ..List::default() });
            let number = list.next;
            list.next += 1;
            let base = delta.then_some(list.complete);
            if !delta {
                list.complete = number;
            }
            let now = self.context.clock.now();
            let next_update = now + config.expiry();
            list.expires_at = Some(next_update);
            let urls = self.urls_of(signer.entry.urls.as_ref(), &signer.entry.id).await;
            let urls = urls.unwrap_or_default();
            let number = Extension::crl_number(number);
            let authority = authority_key_id(&signer.certificate);
            let mut extensions = vec![Extension::authority_key_id(&authority), number];
            match base {
                Some(base) => extensions.push(Extension::delta_crl_indicator(base)),
                None => {
                    extensions.extend(Extension::freshest_crl(&urls.delta_crl_distribution_points));
                }
            }
            let template = RevocationListTemplate {
                this_update: now,
                next_update,
                revoked: entries,
                extensions,
            };
            let algorithm = signer
                .revocation_algorithm()
                .unwrap_or_else(|| key.pair.signature_algorithm(Hash::Sha256, false));
            let subject = &signer.certificate.subject;
            // An algorithm that the key does not have any more is no reason to publish nothing.
            let der = template.sign(subject, &key.pair, algorithm).or_else(|_| {
                let own = key.pair.signature_algorithm(Hash::Sha256, false);
                template.sign(subject, &key.pair, own)
            });
            batch.put(list_path(&id, delta), der.map_err(failed("sign a revocation list"))?);
        }
        forget_lists(&mut state, &authorities, &mut batch);
        self.context.storage.batch_json(&mut batch, "crls/state", &state)?;
        self.context.storage.commit(batch).await?;
        Ok(warnings)
    }

    /// What is revoked, by the id of the issuer that signed it; under the empty id what is of none
    /// that is here. Notes the issuer of those that had none so far.
    async fn revoked_by_issuer(
        &self,
        authorities: &Authorities,
        delta: bool,
        batch: &mut Batch,
    ) -> Result<HashMap<String, Vec<RevokedCertificate>>, Error> {
        let own: BTreeSet<_> =
            authorities.issuers.values().map(|issuer| issuer.certificate.serial.clone()).collect();
        let mut revoked: HashMap<String, Vec<_>> = HashMap::new();
        let folder = if delta { "delta/" } else { "revoked/" };
        for name in self.context.storage.list(folder).await? {
            let path = format!("revoked/{name}");
            let Some(mut entry) = self.context.storage.get_json::<Revoked>(&path).await? else {
                continue;
            };
            let Some(serial) = bytes_of(&name) else { continue };
            // An issuer is put on lists below, and never on its own.
            if own.contains(&serial) {
                continue;
            }
            if entry.issuer.as_ref().is_none_or(|id| !authorities.issuers.contains_key(id)) {
                entry.issuer = entry.certificate().and_then(|c| signed_by(authorities, &c));
                if entry.issuer.is_some() {
                    self.context.storage.batch_json(batch, &path, &entry)?;
                }
            }
            let line = RevokedCertificate { serial, revoked_at: entry.revoked_at };
            revoked.entry(entry.issuer.unwrap_or_default()).or_default().push(line);
        }
        if delta {
            return Ok(revoked);
        }
        for issuer in authorities.issuers.values() {
            let Some(revoked_at) = issuer.entry.revoked_at else { continue };
            for (id, parent) in &authorities.issuers {
                let signed = issuer.certificate.check_signed_by(&parent.certificate).is_ok();
                if *id != issuer.entry.id && signed {
                    let serial = issuer.certificate.serial.clone();
                    let line = RevokedCertificate { serial, revoked_at };
                    revoked.entry(id.clone()).or_default().push(line);
                }
            }
        }
        Ok(revoked)
    }
}

/// The bytes of a number as it is stored.
fn bytes_of(stored: &str) -> Option<Vec<u8>> {
    stored.split('-').map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

/// The issuers with keys, by what tells them apart for a verifier.
fn groups(authorities: &Authorities) -> Vec<Group> {
    let mut sets: BTreeMap<(&str, &DistinguishedName), Vec<Arc<Issuer>>> = BTreeMap::new();
    for issuer in authorities.issuers.values() {
        if authorities.key_of(issuer).is_some() {
            let set = (issuer.entry.key_id.as_str(), &issuer.certificate.subject);
            sets.entry(set).or_default().push(issuer.clone());
        }
    }
    let group = |issuers: Vec<Arc<Issuer>>| {
        let may = || issuers.iter().filter(|issuer| issuer.entry.usage.crl_signing);
        let default = may().find(|issuer| issuer.entry.id == authorities.config.default);
        let signer = default.or_else(|| may().next()).cloned();
        let signer = signer.and_then(|signer| {
            let key = authorities.key_of(&signer)?.clone();
            Some((signer, key))
        });
        Group { signer, issuers }
    };
    sets.into_values().map(group).collect()
}

/// Forgets the lists of issuers that are gone.
fn forget_lists(state: &mut State, authorities: &Authorities, batch: &mut Batch) {
    state.of_issuer.retain(|id, _| authorities.issuers.contains_key(id));
    let used: BTreeSet<_> = state.of_issuer.values().cloned().collect();
    let gone: Vec<_> = state.lists.keys().filter(|id| !used.contains(*id)).cloned().collect();
    for id in gone {
        state.lists.remove(&id);
        batch.delete(list_path(&id, false));
        batch.delete(list_path(&id, true));
    }
}

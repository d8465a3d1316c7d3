//! The authorities as the sealed store keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::x509::{Certificate, PrivateKey};
use holdfast_keys::{Algorithm, SigningKey};
use holdfast_types::{SecretBytes, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lifecycle::Lifecycle;
use super::upstream::SignedAuthority;
use super::{AuthoritySettings, Keys};
use crate::Bundle;
use crate::server::svid::{JwtSigner, X509Signer};

/// The one record.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) x509: Lifecycle,
    pub(super) x509_keys: BTreeMap<String, StoredX509>,
    pub(super) jwt: Lifecycle,
    pub(super) jwt_keys: BTreeMap<String, StoredJwt>,
    /// Of the bundle.
    pub(super) sequence: u64,
}

/// Why a record cannot be used: it authenticates, and makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("authority {id:?} is damaged")]
pub struct Damaged {
    id: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredX509 {
    /// PKCS #8 as PEM.
    key: SecretString,
    /// DER in base64.
    chain: Vec<String>,
    roots: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredJwt {
    algorithm: String,
    /// PKCS #8 in base64.
    key: SecretString,
}

impl StoredX509 {
    pub(super) fn new(key: &PrivateKey, signed: &SignedAuthority) -> Self {
        let encode = |list: &[Vec<u8>]| list.iter().map(|der| STANDARD.encode(der)).collect();
        Self { key: key.to_pkcs8_pem(), chain: encode(&signed.chain), roots: encode(&signed.roots) }
    }

    fn certificate(&self) -> Option<Certificate> {
        Certificate::from_der(&STANDARD.decode(self.chain.first()?).ok()?).ok()
    }

    /// What SVIDs say of who signed them.
    fn key_id(&self) -> Option<String> {
        self.certificate()?.subject_key_id.map(hex::encode)
    }

    /// What the authority's certificate says of who signed it; none where that was itself.
    pub(super) fn upstream_id(&self) -> Option<String> {
        if self.roots.contains(self.chain.first()?) {
            return None;
        }
        self.certificate()?.authority_key_id.map(hex::encode)
    }

    fn signer(&self) -> Option<X509Signer> {
        let key = PrivateKey::from_pem(self.key.expose()).ok()?;
        let certificate = self.certificate()?;
        let mut chain = decode(&self.chain)?;
        // Everybody has what is in the bundle: an authority that signed itself is not sent along.
        let roots = decode(&self.roots)?;
        chain.retain(|der| !roots.contains(der));
        (certificate.public_key == *key.public_key()).then_some(X509Signer {
            key,
            certificate,
            chain,
        })
    }
}

impl StoredJwt {
    pub(super) fn new(algorithm: Algorithm, pkcs8: &SecretBytes) -> Self {
        let key = STANDARD.encode(pkcs8.expose()).into();
        Self { algorithm: algorithm.as_str().to_owned(), key }
    }

    fn key(&self) -> Option<SigningKey> {
        let pkcs8 = SecretBytes::new(STANDARD.decode(self.key.expose()).ok()?);
        SigningKey::from_pkcs8(Algorithm::parse(&self.algorithm)?, &pkcs8).ok()
    }
}

impl Stored {
    pub(super) fn forget_x509(&mut self, id: &str) {
        self.x509.forget(id);
        self.x509_keys.remove(id);
    }

    pub(super) fn forget_jwt(&mut self, id: &str) {
        self.jwt.forget(id);
        self.jwt_keys.remove(id);
    }

    /// The keys, ready for use; those that `before` has are taken from there.
    pub(super) fn keys(&self, before: Option<&Keys>) -> Result<Keys, Damaged> {
        let mut keys = Keys { x509: self.x509.clone(), jwt: self.jwt.clone(), ..Keys::default() };
        for slot in self.x509.slots() {
            let known = before.and_then(|before| before.x509_signers.get(&slot.id)).cloned();
            let read = || Some(Arc::new(self.x509_keys.get(&slot.id)?.signer()?));
            let signer = known.or_else(read).ok_or_else(|| damaged(&slot.id))?;
            keys.x509_signers.insert(slot.id.clone(), signer);
        }
        for slot in self.jwt.slots() {
            let known = before.and_then(|before| before.jwt_signers.get(&slot.id)).cloned();
            let read = || {
                let key = self.jwt_keys.get(&slot.id)?.key()?;
                let (id, not_after) = (slot.id.clone(), slot.not_after);
                Some(Arc::new(JwtSigner { key, id, not_after }))
            };
            let signer = known.or_else(read).ok_or_else(|| damaged(&slot.id))?;
            keys.jwt_signers.insert(slot.id.clone(), signer);
        }
        Ok(keys)
    }

    /// What verifies what any of the keys signed, or will sign.
    pub(super) fn bundle(&self, settings: &AuthoritySettings) -> Result<Bundle, Damaged> {
        let mut bundle = Bundle::empty(settings.trust_domain.clone());
        bundle.sequence = self.sequence;
        bundle.refresh_hint = Some(settings.refresh_hint);
        for slot in self.x509.slots() {
            let stored = self.x509_keys.get(&slot.id);
            let roots = stored.and_then(|stored| decode(&stored.roots));
            for root in roots.ok_or_else(|| damaged(&slot.id))? {
                if !bundle.x509_authorities.contains(&root) {
                    bundle.x509_authorities.push(root);
                }
            }
            if slot.is_tainted {
                bundle.tainted.extend(stored.and_then(StoredX509::key_id));
            }
        }
        for slot in self.jwt.slots() {
            let key = self.jwt_keys.get(&slot.id).and_then(StoredJwt::key);
            let Some(Value::Object(mut jwk)) = key.map(|key| key.public_jwk(&slot.id)) else {
                return Err(damaged(&slot.id));
            };
            // What the key is for stands in the SPIFFE bundle, not in a plain set of keys.
            jwk.remove("use");
            jwk.remove("alg");
            bundle.jwt_authorities.push(jwk);
            if slot.is_tainted {
                bundle.tainted.push(slot.id.clone());
            }
        }
        Ok(bundle)
    }
}

fn decode(list: &[String]) -> Option<Vec<Vec<u8>>> {
    list.iter().map(|text| STANDARD.decode(text).ok()).collect()
}

fn damaged(id: &str) -> Damaged {
    Damaged { id: id.to_owned() }
}

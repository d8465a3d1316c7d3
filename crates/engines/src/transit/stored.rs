//! A version of a key as it is stored behind the barrier.

use holdfast_types::{Secret, SecretString, Timestamp};
use serde::{Deserialize, Serialize};

use super::encoding::{base64, from_base64};
use super::key::Version;
use super::key_type::KeyType;
use super::material::Material;
use super::refused::Refused;

/// One entry of the store. Bytes are base64.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredVersion {
    created_at: Timestamp,
    /// See [`Material::private`]. None: only the public half is known.
    private: Option<SecretString>,
    /// A `SubjectPublicKeyInfo`, where the private half is missing.
    public: Option<String>,
    hmac_key: SecretString,
    certificate_chain: Vec<String>,
}

impl StoredVersion {
    pub(super) fn new(version: &Version) -> Self {
        let private = version.material.private();
        let public = match private {
            Some(_) => None,
            None => version.material.spki(),
        };
        Self {
            created_at: version.created_at,
            private: private.map(|key| Secret::new(base64(key.expose()))),
            public: public.map(|spki| base64(&spki)),
            hmac_key: Secret::new(base64(version.hmac_key.expose())),
            certificate_chain: version.certificate_chain.iter().map(|der| base64(der)).collect(),
        }
    }

    /// # Errors
    /// What is stored is no key of that kind: the store is damaged.
    pub(super) fn load(&self, kind: KeyType) -> Result<Version, Refused> {
        let material = match (&self.private, &self.public) {
            (Some(private), _) => Material::from_private(kind, &from_base64(private.expose())?)?,
            (None, Some(public)) => Material::from_spki(&from_base64(public)?)?.0,
            (None, None) => return Err(Refused::new("neither half of the key is stored")),
        };
        let chain = self.certificate_chain.iter();
        Ok(Version {
            created_at: self.created_at,
            material: material.into(),
            hmac_key: from_base64(self.hmac_key.expose())?.to_vec().into(),
            certificate_chain: chain
                .map(|der| Ok(from_base64(der)?.to_vec()))
                .collect::<Result<_, Refused>>()?,
        })
    }
}

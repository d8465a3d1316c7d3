//! A key as the API shows it.

use holdfast_types::rfc3339;
use serde_json::{Map, Value, json};

use super::encoding::base64;
use super::key::{Copied, Key, Version};
use super::key_type::KeyType;
use super::material::Material;
use super::pem;
use super::refused::Refused;

impl Key {
    /// What reading the key answers. `context` asks for the public half that is derived for it.
    pub(super) fn describe(&self, context: &[u8]) -> Result<Value, Refused> {
        let settings = &self.settings;
        let kind = settings.kind;
        let mut data = json!({
            "name": self.name,
            "type": kind.name(),
            "derived": settings.derived,
            "deletion_allowed": settings.deletion_allowed,
            "min_available_version": settings.min_available_version,
            "min_decryption_version": settings.min_decryption_version,
            "min_encryption_version": settings.min_encryption_version,
            "latest_version": settings.latest_version,
            "exportable": settings.exportable,
            "allow_plaintext_backup": settings.allow_plaintext_backup,
            "supports_encryption": kind.encrypts(),
            "supports_decryption": kind.encrypts(),
            "supports_signing": kind.signs(),
            "supports_derivation": kind.derives(),
            "auto_rotate_period": settings.auto_rotate_period.as_secs(),
            "imported_key": settings.imported,
            "soft_deleted": settings.soft_deleted,
        });
        if settings.key_size != 0 {
            data["key_size"] = settings.key_size.into();
        }
        if settings.imported {
            data["imported_key_allow_rotation"] = settings.allow_imported_rotation.into();
        }
        for (name, copied) in
            [("backup_info", settings.backed_up), ("restore_info", settings.restored)]
        {
            if let Some(Copied { time, version }) = copied {
                data[name] = json!({ "time": rfc3339(time), "version": version });
            }
        }
        if settings.derived {
            data["kdf"] = "hkdf_sha256".into();
            data["convergent_encryption"] = settings.convergent.into();
            if settings.convergent {
                // The version is each key version's own, as this says.
                data["convergent_encryption_version"] = (-1).into();
            }
        }
        if kind != KeyType::Hmac {
            let versions = self.versions.iter().map(|(number, version)| {
                Ok((number.to_string(), self.describe_version(version, context)?))
            });
            data["keys"] = versions.collect::<Result<Map<_, _>, Refused>>()?.into();
        }
        Ok(data)
    }

    fn describe_version(&self, version: &Version, context: &[u8]) -> Result<Value, Refused> {
        let (name, public_key) = match &*version.material {
            Material::Symmetric(_) | Material::Hmac(_) => {
                return Ok(version.created_at.as_second().into());
            }
            Material::Ed25519(pair) => {
                let public = match (self.settings.derived, context) {
                    (true, []) => String::new(),
                    (true, context) => {
                        self.check_usable()?;
                        base64(pair.derive(context)?.public())
                    }
                    (false, _) => base64(pair.public()),
                };
                ("ed25519", public)
            }
            Material::Ecdsa(pair) => (pair.curve().name(), pem::encode("PUBLIC KEY", &pair.spki())),
            Material::Rsa(pair) => {
                (self.settings.kind.name(), pem::encode("PUBLIC KEY", pair.spki()))
            }
        };
        Ok(json!({
            "name": name,
            "public_key": public_key,
            "certificate_chain": version.chain_pem(),
            "creation_time": rfc3339(version.created_at),
        }))
    }
}

impl Version {
    /// The certificates, each as PEM, leaf first; empty where there are none.
    pub(super) fn chain_pem(&self) -> String {
        let blocks = self.certificate_chain.iter().map(|der| pem::encode("CERTIFICATE", der));
        blocks.collect::<String>().trim_end().to_owned()
    }
}

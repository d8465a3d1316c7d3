//! `keys/<name>/import` and `keys/<name>/import_version`: keys that come from outside, encrypted
//! with the wrapping key, or public halves as they are.

use holdfast_logical::{Error, Reply, Request};
use zeroize::Zeroizing;

use super::encoding::from_base64;
use super::key::{Key, Settings, Version};
use super::key_type::KeyType;
use super::material::Material;
use super::refused::Refused;
use super::wrapping::{oaep, unwrap};
use super::{Transit, compute};

/// A key as it came.
enum Imported {
    Private(Zeroizing<Vec<u8>>),
    Public(String),
}

impl Imported {
    fn parse(&self, kind: KeyType) -> Result<Material, Refused> {
        match self {
            Self::Private(bytes) => Material::import(kind, bytes),
            Self::Public(text) => Material::import_public(kind, text),
        }
    }

    fn is_private(&self) -> bool {
        matches!(self, Self::Private(_))
    }
}

impl Transit {
    /// `POST keys/<name>/import`: a new key.
    pub(super) async fn import_key(&self, request: &Request, name: &str) -> Reply {
        let fields = request.fields();
        let flag = |name| Ok::<_, Error>(fields.bool(name)?.unwrap_or_default());
        let kind = fields.string("type")?.unwrap_or_else(|| "aes256-gcm96".to_owned());
        let period = fields.duration("auto_rotate_period")?.unwrap_or_default();
        let allow_imported_rotation = flag("allow_rotation")?;
        if request.data.contains_key("convergent_encryption") {
            return Err(Error::invalid(
                "import cannot be used on keys with convergent encryption enabled",
            ));
        }
        if !period.is_zero() && !allow_imported_rotation {
            return Err(Error::invalid(
                "allow_rotation must be set to true if auto-rotation is enabled",
            ));
        }
        let kind = KeyType::parse(&kind.to_lowercase())?
            .ok_or_else(|| Error::invalid(format!("unknown key type: {kind}")))?;
        if self.keys.get(name).await?.is_some() {
            return Err(Error::invalid(
                "the import path cannot be used with an existing key; use import-version to \
                 rotate an existing imported key",
            ));
        }
        let settings = Settings {
            derived: flag("derived")?,
            exportable: flag("exportable")?,
            allow_plaintext_backup: flag("allow_plaintext_backup")?,
            imported: true,
            allow_imported_rotation,
            auto_rotate_period: period,
            ..Settings::new(kind, self.clock.now())
        };
        let imported = self.read_imported(request, kind).await?;
        if settings.derived && !imported.is_private() && kind == KeyType::Ed25519 {
            return Err(importing(&Refused::new(
                "unable to import only public key for derived Ed25519 key: imported key should \
                 not be an Ed25519 key pair but is instead an HKDF key",
            )));
        }
        let material =
            compute(move || imported.parse(kind)).await?.map_err(|error| importing(&error))?;
        self.add_imported(name, settings, material).await?;
        Ok(None)
    }

    /// Makes a key of what came from outside. Another key of that name stays.
    pub(super) async fn add_imported(
        &self,
        name: &str,
        mut settings: Settings,
        material: Material,
    ) -> Result<(), Error> {
        settings.check()?;
        if let Material::Hmac(key) = &material {
            settings.key_size = key.expose().len();
        }
        let version = Version::new(material, self.clock.now(), &*self.random);
        let locked = self.keys.lock(name).await;
        if locked.get().await?.is_some() {
            return Err(Error::invalid(format!("key {name:?} already exists")));
        }
        let mut key = Key { name: name.to_owned(), settings, versions: Default::default() };
        key.push(version);
        locked.put(key, &[1]).await?;
        Ok(())
    }

    /// `POST keys/<name>/import_version`: a new version of an imported key, or the private half of
    /// one whose public half is there.
    pub(super) async fn import_version(&self, request: &Request, name: &str) -> Reply {
        let before = self
            .existing(
                name,
                &format!(
                    "no key found with name {name}; to import a new key, use the import/ endpoint"
                ),
            )
            .await?;
        check_imported(&before)?;
        let kind = before.settings.kind;
        let asked = request.fields().integer("version")?;
        let imported = self.read_imported(request, kind).await?;
        let is_private = imported.is_private();
        let material = compute(move || imported.parse(kind)).await??;

        let locked = self.keys.lock(name).await;
        let key = locked.get().await?.ok_or_else(|| Error::invalid("key not found"))?;
        check_imported(&key)?;
        key.check_usable()?;
        if key.settings.kind != kind {
            return Err(Error::invalid("the key was replaced by another"));
        }
        let mut changed = Key::clone(&key);
        let latest = changed.settings.latest_version;
        let target = match asked {
            Some(asked) => {
                let number = u32::try_from(asked).unwrap_or_default();
                check_replaceable(kind, changed.version(number)?, is_private)?;
                if !material.has_public_of(&changed.version(number)?.material) {
                    return Err(Error::invalid("cannot import key, key pair does not match"));
                }
                Some(number)
            }
            None => {
                let newest = changed.latest()?;
                let completes = is_private
                    && !newest.material.has_private()
                    && material.has_public_of(&newest.material);
                completes.then_some(latest)
            }
        };
        let number = match target {
            Some(number) => {
                let old = changed.version(number)?;
                let version = Version { material: material.into(), ..old.clone() };
                changed.versions.insert(number, version.into());
                number
            }
            None => {
                if let Material::Hmac(key) = &material {
                    changed.settings.key_size = key.expose().len();
                }
                changed.push(Version::new(material, self.clock.now(), &*self.random));
                latest + 1
            }
        };
        locked.put(changed, &[number]).await?;
        Ok(None)
    }

    /// The key that a request brings: decrypted, or the public half as it is.
    async fn read_imported(&self, request: &Request, kind: KeyType) -> Result<Imported, Error> {
        let fields = request.fields();
        if !request.data.contains_key("ciphertext") {
            if !kind.signs() {
                return Err(Error::invalid("provided type does not support public_key import"));
            }
            return Ok(Imported::Public(fields.string("public_key")?.unwrap_or_default()));
        }
        let hash_function = fields.string("hash_function")?;
        let algorithm = oaep(hash_function.as_deref().unwrap_or("SHA256"))?;
        let ciphertext = from_base64(&fields.string("ciphertext")?.unwrap_or_default())?;
        let key = self.wrapping_key().await?;
        let plain = compute(move || unwrap(&key, algorithm, &ciphertext)).await??;
        Ok(Imported::Private(plain))
    }
}

fn check_imported(key: &Key) -> Result<(), Error> {
    if !key.settings.imported {
        return Err(Error::invalid(
            "the import_version endpoint can only be used with an imported key",
        ));
    }
    if key.settings.convergent {
        return Err(Error::invalid(
            "import_version cannot be used on keys with convergent encryption enabled",
        ));
    }
    Ok(())
}

/// A version can get its private half, once.
fn check_replaceable(kind: KeyType, version: &Version, is_private: bool) -> Result<(), Error> {
    if !kind.signs() {
        return Err(Error::invalid("provided type does not support importing key versions"));
    }
    if version.material.has_private() {
        return Err(Error::invalid("private key imported, key version cannot be updated"));
    }
    if !is_private {
        return Err(Error::invalid(
            "cannot add a public key to a key version that already has a public key set",
        ));
    }
    Ok(())
}

fn importing(error: &Refused) -> Error {
    Error::invalid(format!("error importing key: {error}"))
}
